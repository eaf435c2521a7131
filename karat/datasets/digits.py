"""scikit-learn's 1,797 handwritten digits of 8 x 8 pixels: real data that needs no download."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from karat.datasets import (
    Contents,
    DataInfo,
    Dataset,
    Preprocessing,
    Splits,
    images_by_class,
    stratified_split,
)
from karat.settings import fraction

IMAGES = 1797


@dataclass(frozen=True, kw_only=True)
class Digits(Dataset):
    """Optical recognition of handwritten digits (Alpaydin and Kaynak 1998), the UCI test part.

    Pixels from 0 to 16 are scaled to -1 to 1.

    Args:
        test_share: fraction of all images for the test split, stratified by class; above 0 and below 1.
    """

    test_share: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction("test_share", self.test_share)

    def info(self) -> DataInfo:
        train_size = round(IMAGES * (1 - self.test_share) * (1 - self.val_share))
        return DataInfo(
            image_size=8,
            channels=1,
            classes=tuple("0123456789"),
            train_size=train_size,
            test_size=round(IMAGES * self.test_share),
        )

    def preprocessing(self) -> Preprocessing:
        return Preprocessing(size=8, resize=8, mean=(0.5,), std=(0.5,))

    def splits(self) -> Splits:
        table = _table()
        labels, parts = self._parts(table)
        images = torch.from_numpy(table[:, :-1]).reshape(-1, 1, 8, 8) / 8 - 1
        targets = torch.tensor(labels)
        from torch.utils.data import TensorDataset  # loads torch, which `info` does not need

        train, val, test = (TensorDataset(images[part], targets[part]) for part in parts.values())
        return Splits(train=train, val=val, test=test)

    def contents(self) -> Contents:
        labels, parts = self._parts(_table())  # without torch, which a plan does not load
        of_part = {name: [labels[i] for i in part] for name, part in parts.items()}
        return Contents(
            fingerprint=self.check(), images=images_by_class(self.class_names(), of_part)
        )

    def _parts(self, table: np.ndarray) -> tuple[list[int], dict[str, list[int]]]:
        """The labels of all images, and the indices of each split."""
        labels = table[:, -1].astype(int).tolist()
        rest, test = stratified_split(labels, self.test_share, self.split_seed)
        of_rest, of_val = stratified_split(
            [labels[i] for i in rest], self.val_share, self.split_seed
        )
        return labels, {
            "train": [rest[i] for i in of_rest],
            "val": [rest[i] for i in of_val],
            "test": test,
        }

    def check(self) -> str:
        return hashlib.sha256(_file().read_bytes()).hexdigest()


def _table() -> np.ndarray:
    """Images and labels, (1797, 65): 64 pixels from 0 to 16, then the label."""
    return np.loadtxt(_file(), delimiter=",", dtype=np.float32)


def _file() -> Path:
    """The file inside scikit-learn, found without importing the package, which takes seconds."""
    package = importlib.util.find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
