"""CIFAR-10: 60,000 images of 32 x 32 pixels in ten classes."""

from dataclasses import dataclass
from typing import ClassVar

from karat.datasets._cifar import Cifar
from karat.datasets._published import FromTorchvision


@dataclass(frozen=True, kw_only=True)
class Cifar10(Cifar):
    """5,000 training and 1,000 test images per class."""

    source = FromTorchvision("CIFAR10")  # not annotated: a dataclass asks for the value of what is
    base_folder: ClassVar[str] = "cifar-10-batches-py"
    title: ClassVar[str] = "CIFAR-10"
    classes: ClassVar[tuple[str, ...]] = (
        "airplane", "automobile", "bird", "cat", "deer",
        "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    train_per_class: ClassVar[int] = 5000
    test_images: ClassVar[int] = 10_000
    mean: ClassVar[tuple[float, float, float]] = (0.4914, 0.4822, 0.4465)
    std: ClassVar[tuple[float, float, float]] = (0.2470, 0.2435, 0.2616)
