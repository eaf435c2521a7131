"""JPEG compression."""

import io
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from karat.datasets._corruptions import Corruption


class Jpeg(Corruption):
    """Quality of the compression (`jpeg_compression`), by Pillow.

    Pixels may differ by a few steps of 1/255 between versions of libjpeg.
    """

    strengths: ClassVar[tuple[float, ...]] = (80, 65, 58, 50, 40)

    def apply(
        self, images_BCHW: Tensor, strength: float, draws: Sequence[torch.Generator]
    ) -> Tensor:
        bytes_BHWC = (255 * images_BCHW).round().to(torch.uint8).movedim(1, -1).numpy()
        stored = [
            _compressed(each.squeeze(-1) if each.shape[-1] == 1 else each, int(strength))
            for each in bytes_BHWC
        ]
        return torch.from_numpy(np.stack(stored)).reshape(bytes_BHWC.shape).movedim(-1, 1) / 255


def _compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    """The pixels, uint8 (H, W) or (H, W, C), after compression and decompression."""
    from PIL import Image

    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=quality)
    with Image.open(stored) as image:
        return np.asarray(image)
