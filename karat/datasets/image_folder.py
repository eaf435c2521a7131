"""A folder of pictures: `train/<class>/*` and `test/<class>/*`, as torchvision's ImageFolder reads it."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch.utils.data import Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder as TorchImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from karat.datasets import DataInfo, Dataset, Splits, stratified_split
from karat.errors import DataError
from karat.settings import above, at_least, below

_LAYOUT = "expected train/<class>/*.png and test/<class>/*.png (or .jpg, ...)"


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """Your own pictures, in a folder for each class.

    Args:
        root: the folder that holds `train` and `test`.
        image_size: pictures are scaled and cropped at the centre to this edge, in pixels.
        limit_per_class: pictures used of each class, 0 for all; in training and test alike.
        mean, std: by which each channel is normalised, for pixels of 0 to 1.
    """

    root: str
    image_size: int = 32
    limit_per_class: int = 0
    mean: float = 0.5
    std: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("image_size", self.image_size, 1)
        at_least("limit_per_class", self.limit_per_class, 0)
        above("std", self.std, 0)
        below("mean", self.mean, 1)

    def info(self) -> DataInfo:
        classes = self._classes()
        train = len(self._limited(self._part("train")))
        return DataInfo(
            image_size=self.image_size,
            channels=3,
            classes=classes,
            train_size=round(train * (1 - self.val_share)),
        )

    def splits(self) -> Splits:
        train, test = self._part("train"), self._part("test")
        chosen = self._limited(train)
        rest, val = stratified_split(
            [train.targets[i] for i in chosen], self.val_share, self.split_seed
        )
        return Splits(
            train=Subset(train, [chosen[i] for i in rest]),
            val=Subset(train, [chosen[i] for i in val]),
            test=Subset(test, self._limited(test)),
        )

    def check(self) -> str:
        self._classes()
        digest = hashlib.sha256()
        with ThreadPoolExecutor() as pool:
            for part in ("train", "test"):
                files = [Path(name) for name, _ in self._part(part).samples]
                for path, content in zip(files, pool.map(_hash_picture, files), strict=True):
                    digest.update(f"{path.relative_to(self.root)}\0{content}\n".encode())
        splits = self.splits()  # refuses what is too small to split
        assert splits is not None
        return digest.hexdigest()

    def _part(self, part: str) -> TorchImageFolder:
        size = self.image_size
        transform = transforms.Compose(
            [
                transforms.Resize(size),
                transforms.CenterCrop(size),
                transforms.ToTensor(),
                transforms.Normalize([self.mean] * 3, [self.std] * 3),
            ]
        )
        return TorchImageFolder(str(Path(self.root) / part), transform=transform)

    def _limited(self, folder: TorchImageFolder) -> list[int]:
        if not self.limit_per_class:
            return list(range(len(folder.targets)))
        seen: dict[int, int] = {}
        chosen = []
        for index, label in enumerate(folder.targets):
            seen[label] = seen.get(label, 0) + 1
            if seen[label] <= self.limit_per_class:
                chosen.append(index)
        return chosen

    def _classes(self) -> tuple[str, ...]:
        parts = {part: self._classes_of(Path(self.root) / part) for part in ("train", "test")}
        if parts["train"] != parts["test"]:
            odd = sorted(set(parts["train"]) ^ set(parts["test"]))
            raise DataError(
                f"{self.root}: train and test must have the same classes; "
                f"only in one of them: {', '.join(odd)}"
            )
        return parts["train"]

    def _classes_of(self, folder: Path) -> tuple[str, ...]:
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such folder; {_LAYOUT}")
        classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        if len(classes) < 2:
            raise DataError(f"{folder}: holds {len(classes)} class folders, needs 2; {_LAYOUT}")
        for name in classes:
            if not any(
                file.suffix.lower() in IMG_EXTENSIONS for file in (folder / name).rglob("*")
            ):
                raise DataError(f"{folder / name}: this class folder holds no picture; {_LAYOUT}")
        return tuple(classes)


def _hash_picture(path: Path) -> str:
    try:
        with Image.open(path) as picture:
            picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: not a readable picture ({error}); replace or remove it"
        ) from error
    return hashlib.sha256(path.read_bytes()).hexdigest()
