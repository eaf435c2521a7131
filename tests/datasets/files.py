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
from scipy.io import savemat

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


def write_svhn(root: Path, monkeypatch: pytest.MonkeyPatch, per_class: int, test: int) -> None:
    """`train_32x32.mat` and `test_32x32.mat`, where the label 10 is the digit 0."""
    plugin: Any = DATASETS["svhn"]
    draw, listed = np.random.default_rng(0), {}
    for part, count in (("train", per_class), ("test", test)):
        url, name, _ = plugin.source.split_list[part]
        labels = np.repeat(np.arange(1, 11), count).reshape(-1, 1).astype(np.uint8)
        pixels = draw.integers(0, 256, (32, 32, 3, len(labels)), dtype=np.uint8)
        savemat(root / name, {"X": pixels, "y": labels})
        listed[part] = [url, name, _md5(root / name)]
    monkeypatch.setattr(plugin.source, "split_list", listed)
    monkeypatch.setattr(plugin, "train_counts", (per_class,) * 10)


def write_stl10(
    root: Path, monkeypatch: pytest.MonkeyPatch, per_class: int, test: int, first: int = 1
) -> None:
    """`stl10_binary/*_X.bin`, column by column, and `*_y.bin`, with labels from `first`."""
    plugin: Any = DATASETS["stl10"]
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for part, count in (("train", per_class), ("test", test)):
        labels = np.repeat(np.arange(first, first + 10), count).astype(np.uint8)
        draw.integers(0, 256, (len(labels), 3, 96, 96), dtype=np.uint8).tofile(
            folder / f"{part}_X.bin"
        )
        labels.tofile(folder / f"{part}_y.bin")
        names = [f"{part}_X.bin", f"{part}_y.bin"]
        listed = [[name, _md5(folder / name)] for name in names]
        monkeypatch.setattr(plugin.source, f"{part}_list", listed)
    monkeypatch.setattr(plugin, "train_counts", (per_class,) * 10)


def write_flowers102(
    root: Path, monkeypatch: pytest.MonkeyPatch, per_class: int, test: int
) -> None:
    """`flowers-102/` with as many images of each class in `train` and in `val`, half of `per_class`."""
    plugin: Any = DATASETS["flowers102"]
    folder, classes = root / "flowers-102", len(plugin.classes)
    (folder / "jpg").mkdir(parents=True)
    draw = np.random.default_rng(0)
    parts = {"trnid": per_class // 2, "valid": per_class // 2, "tstid": test}
    labels: list[int] = []
    ids: dict[str, list[int]] = {part: [] for part in parts}
    for part, count in parts.items():
        for label in np.repeat(np.arange(1, classes + 1), count).tolist():
            labels.append(label)
            ids[part].append(len(labels))
            pixels = draw.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "jpg" / f"image_{len(labels):05d}.jpg")
    savemat(folder / "setid.mat", ids)
    savemat(folder / "imagelabels.mat", {"labels": labels})
    source, listed = plugin.source, dict(plugin.source._file_dict)
    for key in ("label", "setid"):
        name = listed[key][0]
        listed[key] = (name, _md5(folder / name))
    monkeypatch.setattr(source, "_file_dict", listed)
    monkeypatch.setattr(plugin, "train_counts", (per_class,) * classes)


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
