"""What the test evaluation of a trial found, image by image: part of its last report.

Plain data, so that a worker can send it, the journal keep it, and anybody compare it with the weights.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Weights = Literal["last", "best"]
WEIGHTS: Weights = "last"  # of studies whose journal does not say


@dataclass(frozen=True, kw_only=True)
class Tested:
    """The test evaluation of a trial.

    Args:
        epoch: epochs done when the weights had the tested values.
        images: number of test images.
        correct: base64 of the packed bits (`numpy.packbits`) that say, image by image in the order
            of the test split, whether the predicted class is right.
        predictions: sha256 of the predicted classes, as little-endian int32.
        labels: sha256 of the right classes, as little-endian int32: the list of images and its order.
        pixels: sha256 of the sha256 of every image, as the model gets it.
        weights: sha256 of names, types, shapes and values of the weights.
        where: conditions that may change the last bit of a result (`karat.training.evaluation`).
    """

    epoch: int
    images: int
    correct: str
    predictions: str
    labels: str
    pixels: str
    weights: str
    where: Mapping[str, Any]

    def bits(self) -> NDArray[np.bool_]:
        """Whether each test image was classified correctly: (images,).

        Raises:
            ValueError: `correct` does not hold one bit for each image.
        """
        return unpacked(self.correct, self.images)

    def accuracy(self) -> float:
        """The share of test images that were classified correctly; equals `test_accuracy` exactly."""
        return float(np.count_nonzero(self.bits()) / self.images)

    def plain(self) -> dict[str, Any]:
        """As the journal keeps it; `read` is the inverse."""
        return asdict(self)

    @classmethod
    def read(cls, data: Any) -> Self:
        """From the journal.

        Raises:
            ValueError: a field is missing, or not of its type; says which.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"the test evaluation is {type(data).__name__}, not a mapping")
        types = {"epoch": int, "images": int, "where": Mapping}
        for field in fields(cls):
            if not isinstance(data.get(field.name), types.get(field.name, str)):
                raise ValueError(
                    f"{field.name} of the test evaluation is missing or has a wrong type"
                )
        found = cls(**{field.name: data[field.name] for field in fields(cls)})
        if found.images < 1:
            raise ValueError("the test evaluation has no images")
        found.bits()
        return found


def packed(correct: NDArray[np.bool_]) -> str:
    """Base64 of the packed bits of one boolean for each image."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpacked(text: str, images: int) -> NDArray[np.bool_]:
    """One boolean for each image, from base64 of packed bits.

    Raises:
        ValueError: not base64, too short or too long, or a bit behind the last image is set.
    """
    try:
        data = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    except binascii.Error as error:
        raise ValueError(f"the bits of the test images are not base64 ({error})") from error
    if len(data) != -(-images // 8):
        raise ValueError(f"{len(data)} bytes of bits for {images} test images")
    bits = np.unpackbits(data).astype(bool)
    if bits[images:].any():
        raise ValueError(f"bits are set behind the last of {images} test images")
    return bits[:images]


def sha256_of_classes(classes: Sequence[int] | NDArray[np.integer[Any]]) -> str:
    """The sha256 of predicted or right classes, in order."""
    return hashlib.sha256(np.asarray(classes).astype("<i4").tobytes()).hexdigest()
