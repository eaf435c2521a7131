"""Pictures for docs/augmentation.md: what each augmentation does to eight images, and each operation of RandAugment.

    python -m benchmarks.augmentation_grid

Writes docs/augmentation.webp and docs/rand_augment.webp. The images are parts of the two photographs that come with
scikit-learn (CC BY 2.0: `china.jpg` by danielbuechele, `flower.jpg` by vultilion, on Flickr).
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from karat.datasets import Preprocessing
from karat.training.augmentation.affine import affine
from karat.training.augmentation.draws import Draws
from karat.training.augmentation.mixing import Mixing
from karat.training.augmentation.pipeline import Augmentation
from karat.training.augmentation.rand_augment import OPERATIONS, TONES, argument, matrices_of
from karat.training.augmentation.settings import AugmentationConfig
from karat.training.loading.pixels import Pixels

EDGE, GAP, LABEL = 64, 2, 190  # pixels
STEPS = Preprocessing(size=EDGE, resize=EDGE, mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26))
ROWS: Mapping[str, dict[str, Any]] = {
    "none": {},
    "random_resized_crop: 0.2": {"random_resized_crop": 0.2},
    "padded_crop: 8": {"padded_crop": 8},
    "flip: 0.5": {"flip": 0.5},
    "rand_augment:\nrand-m9-n2-mstd0.5-inc1": {"rand_augment": "rand-m9-n2-mstd0.5-inc1"},
    "color_jitter: 0.4": {"color_jitter": 0.4},
    "random_erasing: 0.5": {"random_erasing": 0.5},
    "mixup: 0.8": {"mixup": 0.8},
    "cutmix: 1": {"cutmix": 1.0},
}
MAGNITUDES = (0.0, 2.5, 5.0, 7.5, 10.0)


def photographs() -> Tensor:
    """Eight parts of scikit-learn's photographs: uint8 (8, 3, EDGE, EDGE)."""
    from sklearn.datasets import load_sample_image

    found = []
    for name in ("flower.jpg", "china.jpg"):
        photograph = Image.fromarray(load_sample_image(name))
        size = photograph.height // 2
        for left, top in ((170, 100), (200, 60), (260, 90), (120, 130)):
            part = photograph.crop((left, top, left + size, top + size)).resize((EDGE, EDGE))
            found.append(torch.frombuffer(bytearray(part.tobytes()), dtype=torch.uint8))
    images = torch.stack(found).reshape(-1, EDGE, EDGE, 3).permute(0, 3, 1, 2)
    return images[[0, 4, 1, 5, 2, 6, 3, 7]]


def augmented(images: Tensor, seed: int, **settings: Any) -> Tensor:
    """Pixels after an augmentation: uint8."""
    config, pixels = AugmentationConfig(**settings), Pixels(STEPS)
    draws = Draws(seed, 0, torch.arange(len(images)))
    found = Augmentation(config, pixels)(images, draws)
    if config.mixes_images:
        mixing = Mixing(mixup=config.mixup, cutmix=config.cutmix, classes=2)
        found = mixing.mix(found, found.flip(0), *mixing.weights_and_boxes(draws, EDGE, EDGE))
    return pixels.of_input(found).round().to(torch.uint8)


def operation(image: Tensor, name: str) -> Tensor:
    """One image after an operation with each magnitude and sign 1: uint8 (5, 3, EDGE, EDGE)."""
    count = len(MAGNITUDES)
    images = image.float().expand(count, -1, -1, -1)
    values = argument(name, torch.tensor(MAGNITUDES), torch.ones(count), increasing=True)
    if name in TONES:
        return TONES[name](images, values).to(torch.uint8)
    matrices = matrices_of(name, values, EDGE, EDGE)
    return affine(images, matrices, Pixels(STEPS).mean).to(torch.uint8)


def grid(rows: Mapping[str, Tensor]) -> Image.Image:
    """Labelled rows of images."""
    step = EDGE + GAP
    columns = max(map(len, rows.values()))
    picture = Image.new("RGB", (LABEL + columns * step, len(rows) * step), "white")
    draw = ImageDraw.Draw(picture)
    for row, (label, images) in enumerate(rows.items()):
        draw.text((4, row * step + 20), label, fill="black", font_size=13)
        for column, image in enumerate(images):
            tile = Image.fromarray(image.permute(1, 2, 0).numpy())
            picture.paste(tile, (LABEL + column * step, row * step))
    return picture


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    images = photographs()
    augmentations = {label: augmented(images, given.seed, **of) for label, of in ROWS.items()}
    operations = {name: operation(images[3], name) for name in OPERATIONS}
    for name, rows in (("augmentation", augmentations), ("rand_augment", operations)):
        grid(rows).save(given.out / f"{name}.webp", quality=68, method=6)


if __name__ == "__main__":
    main()
