"""How long an image file takes to become a model's input, measured on a few."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from karat.datasets import Preprocessing
from karat.datasets._reading.decode import read_image

MOST = 16  # files that are read


def some_of(files: Sequence[Path], count: int = MOST) -> list[Path]:
    """Files at equal distances in a listing, since those of one class are alike."""
    count = min(count, len(files))
    return [files[place * len(files) // count] for place in range(count)]


def seconds_of(files: Sequence[Path], steps: Preprocessing) -> float:
    """Mean seconds of one core to decode, scale and crop an image, after one that does not count; 0 without files.

    Raises:
        DataError: a file cannot be read.
    """
    taken = []
    for path in (*files[:1], *files):
        started = time.thread_time()  # other programs do not count
        image = read_image(path)
        factor = steps.resize / min(image.size)
        width, height = (max(steps.size, round(edge * factor)) for edge in image.size)
        left, top = (width - steps.size) // 2, (height - steps.size) // 2
        scaled = image.resize((width, height)).crop(
            (left, top, left + steps.size, top + steps.size)
        )
        np.asarray(scaled, dtype=np.float32)
        taken.append(time.thread_time() - started)
    return sum(taken[1:]) / max(1, len(files))
