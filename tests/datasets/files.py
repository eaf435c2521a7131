"""Small data sets in their published formats, for tests."""

import hashlib
import io
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from karat.datasets import DATASETS


class _Python2Pickler(pickle._Pickler):
    """Writes bytes in Python 2's format, which the published files use for names and pixels."""

    def save_bytes(self, value: bytes) -> None:
        head = pickle.BINSTRING + struct.pack("<i", len(value))
        if len(value) < 256:
            head = pickle.SHORT_BINSTRING + bytes([len(value)])
        self.write(head + value)
        self.memoize(value)

    dispatch = {**pickle._Pickler.dispatch, bytes: save_bytes}  # noqa: RUF012


def write_cifar(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch, train_per_class: int, test: int
) -> None:
    """Write batches of the data set `name`, and make torchvision accept their md5 sums.

    The images are noise; `train_per_class` and `test` are the numbers of images per class.
    """
    plugin: Any = DATASETS[name]
    source, classes = plugin.source, len(plugin.classes)
    folder = root / source.base_folder
    folder.mkdir(parents=True)
    key = b"fine_labels" if name == "cifar100" else b"labels"
    draw = np.random.default_rng(0)
    train_labels = draw.permutation(np.repeat(np.arange(classes), train_per_class))
    test_labels = draw.permutation(np.repeat(np.arange(classes), test))

    def write(file: str, content: dict[bytes, Any]) -> str:
        buffer = io.BytesIO()
        _Python2Pickler(buffer, protocol=2).dump(content)
        (folder / file).write_bytes(buffer.getvalue())
        return hashlib.md5(buffer.getvalue()).hexdigest()

    def batches(listed: list[list[str]], labels: np.ndarray) -> list[list[str]]:
        parts = np.array_split(labels, len(listed))
        made = []
        for (file, _), part in zip(listed, parts, strict=True):
            data = draw.integers(0, 256, (len(part), 3072), dtype=np.uint8)
            made.append([file, write(file, {b"data": data, key: part.tolist()})])
        return made

    monkeypatch.setattr(source, "train_list", batches(source.train_list, train_labels))
    monkeypatch.setattr(source, "test_list", batches(source.test_list, test_labels))
    names = {source.meta["key"].encode(): [each.encode() for each in plugin.classes]}
    md5 = write(source.meta["filename"], names)
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": md5})
    monkeypatch.setattr(plugin, "train_per_class", train_per_class)


def read_batch(path: Path) -> tuple[np.ndarray, list[int]]:
    """Images (N, 3, 32, 32) as bytes, and labels, read as the home page of the data set describes."""
    content = pickle.loads(path.read_bytes(), encoding="bytes")
    labels = content[b"fine_labels"] if b"fine_labels" in content else content[b"labels"]
    return content[b"data"].reshape(-1, 3, 32, 32), labels


def write_images(root: Path, parts: dict[str, int], classes: tuple[str, ...], ending: str) -> None:
    """`<part>/<class>/<class>_<number><ending>` of noise, 20 x 16 pixels; `parts` maps a part to its images per class."""
    draw = np.random.default_rng(0)
    for part, count in parts.items():
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = draw.integers(0, 256, (16, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{name}_{index}{ending}")
