"""scikit-learn's 1,797 handwritten digits of 8 x 8 pixels: real data that needs no download."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from karat.datasets import DataInfo, Dataset, Preprocessing, Splits, stratified_split
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
            image_size=8, channels=1, classes=tuple("0123456789"), train_size=train_size
        )

    def preprocessing(self) -> Preprocessing:
        return Preprocessing(size=8, resize=8, mean=(0.5,), std=(0.5,))

    def splits(self) -> Splits:
        table = np.loadtxt(_file(), delimiter=",", dtype=np.float32)
        labels = table[:, -1].astype(int).tolist()
        rest, test = stratified_split(labels, self.test_share, self.split_seed)
        of_rest, of_val = stratified_split(
            [labels[i] for i in rest], self.val_share, self.split_seed
        )
        images = torch.from_numpy(table[:, :-1]).reshape(-1, 1, 8, 8) / 8 - 1
        targets = torch.tensor(labels)
        from torch.utils.data import TensorDataset  # loads torch, which `info` does not need

        parts = ([rest[i] for i in of_rest], [rest[i] for i in of_val], test)
        train, val, held_out = (TensorDataset(images[part], targets[part]) for part in parts)
        return Splits(train=train, val=val, test=held_out)

    def check(self) -> str:
        return hashlib.sha256(_file().read_bytes()).hexdigest()


def _file() -> Path:
    """The file inside scikit-learn, found without importing the package, which takes seconds."""
    package = importlib.util.find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
