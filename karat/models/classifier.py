"""A model with its preprocessing inside: from images as they are read to the probabilities of classes.

Shapes: B images, C channels, H x W pixels, K classes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from karat.datasets import Preprocessing

# Above it, the pixels of an image are taken to be 0 to 255: no image with pixels from 0 to 1 reaches it, even
# where an interpolation overshoots, and a byte image below it is black.
_BRIGHTEST = 2.0
# What is below the first but nowhere above the second is no image as it was read: it was normalised. What an
# interpolation leaves below black is that dark only beside brighter pixels.
_BELOW_BLACK, _NORMALISED = -0.5, 20.0
_ABOVE_BYTES = 383.0  # half more than white: of 16 bits
REFUSAL = "pixels must be from 0 to 1 or from 0 to 255, as images are read; these look normalised already, or are of 16 bits"


class ImageClassifier(nn.Module):
    """Class probabilities of images of any size.

    Sizes are computed without a comparison, so that one exported program serves every height and width.

    Args:
        model: gives logits, for (B, C, size, size), (B, K).
        preprocessing: of the data set on which it was trained.
    """

    def __init__(self, model: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.model, self.preprocessing = model, preprocessing
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name)).reshape(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Probabilities, (B, K).

        Args:
            images_BCHW: uint8 from 0 to 255, or of any other type from 0 to 1 or from 0 to 255.

        Raises:
            RuntimeError: an image has pixels that are clearly neither.
        """
        # With `Tensor.to` an exported program would insist on the type of the example.
        x = torch.ops.aten._to_copy.default(images_BCHW, dtype=torch.float32)
        low_B111, high_B111 = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        is_wrong = ((low_B111 < _BELOW_BLACK) & (high_B111 < _NORMALISED)) | (
            high_B111 > _ABOVE_BYTES
        )
        torch._assert_async(~is_wrong.any(), REFUSAL)  # an exported program has no `if`
        bytes_B111 = high_B111 > _BRIGHTEST
        x = self._cropped(x / torch.where(bytes_B111, 255.0, 1.0))
        logits_BK: Tensor = self.model((x - self.mean) / self.std)
        return logits_BK.softmax(-1)

    def _cropped(self, x: Tensor) -> Tensor:
        """Scale the shorter edge and crop the centre, as torchvision's Resize and CenterCrop do."""
        steps = self.preprocessing
        height, width = x.shape[-2:]
        shorter: Any = torch.sym_min(height, width)  # an int; while a program is exported, a symbol
        high, wide = height * steps.resize // shorter, width * steps.resize // shorter
        x = F.interpolate(x, size=(high, wide), mode="bilinear", antialias=True)
        if steps.is_in_bytes:
            x = (255 * x).round() / 255
        # A copy of the rows and columns: for a view the exporter would fix which edge is the shorter one.
        edge = torch.arange(steps.size, device=x.device)
        x = x.index_select(-2, edge + _half(high - steps.size))
        return x.index_select(-1, edge + _half(wide - steps.size))


def _half(margin: int) -> int:
    """`round(margin / 2)`, which rounds half to even, without a comparison."""
    return margin // 2 + (margin % 2) * (margin // 2 % 2)
