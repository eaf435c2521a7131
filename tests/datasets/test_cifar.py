import pickle
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.transforms import functional as vision

from karat.datasets import DATASETS, Dataset, make_dataset
from karat.errors import DataError, SettingError
from tests.datasets.files import read_batch, write_cifar

TRAIN, TEST = 20, 4  # images per class


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_cifar("cifar10", tmp_path, monkeypatch, TRAIN, TEST)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The downloads that torchvision requested; none is done."""
    urls: list[str] = []

    def unreachable(url: str, *_: Any, **__: Any) -> None:
        urls.append(url)
        raise URLError("[Errno -2] Name or service\nnot known")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", unreachable)
    return urls


def cifar10(root: Path, **settings: Any) -> Dataset:
    return make_dataset({"name": "cifar10", "root": str(root), **settings})


def sizes(data: Dataset) -> list[int]:
    splits = data.splits()
    return [len(part) for part in (splits.train, splits.val, splits.test)]  # type: ignore[arg-type]


def labels_of(part: Any) -> list[int]:
    return [label for _, label in part]


def test_images_and_labels_match_the_files(root: Path) -> None:
    images, labels = read_batch(root / "cifar-10-batches-py" / "test_batch")
    test: Any = cifar10(root).splits().test
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).reshape(3, 1, 1)
    std = torch.tensor([0.2470, 0.2435, 0.2616]).reshape(3, 1, 1)
    assert labels_of(test) == labels
    for (image, _), expected in zip(test, images, strict=True):
        torch.testing.assert_close(image, (torch.tensor(expected) / 255 - mean) / std)


def test_cifar100_reads_the_fine_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar("cifar100", tmp_path, monkeypatch, 3, 1)
    data = make_dataset({"name": "cifar100", "root": str(tmp_path)})
    images, labels = read_batch(tmp_path / "cifar-100-python" / "test")
    test: Any = data.splits().test
    assert labels_of(test) == labels
    blue = (images[0, 2, 31, 0] / 255 - 0.4409) / 0.2762
    assert test[0][0][2, 31, 0].item() == pytest.approx(blue, abs=1e-5)
    assert data.info().train_size == 200


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [("cifar10", 10, {0: "airplane", 9: "truck"}), ("cifar100", 100, {0: "apple", 99: "worm"})],
)
def test_class_names_are_in_the_order_of_the_labels(
    name: str, count: int, some: dict[int, str]
) -> None:
    classes = DATASETS[name].classes  # type: ignore[attr-defined]
    assert len(set(classes)) == count
    assert list(classes) == sorted(classes)  # true of both
    assert {label: classes[label] for label in some} == some


@pytest.mark.parametrize("source", [CIFAR10, CIFAR100])
def test_published_sizes_are_known_without_reading_files(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / source.base_folder
    folder.mkdir()
    for name, _ in [*source.train_list, *source.test_list, [source.meta["filename"], ""]]:
        (folder / name).touch()
    info = make_dataset({"name": source.__name__.lower(), "root": str(tmp_path)}).info()
    assert (info.image_size, info.channels, info.train_size) == (32, 3, 42_500)


def test_splits_are_disjoint_stratified_and_fixed_by_the_split_seed(root: Path) -> None:
    def images(part: Any) -> list[bytes]:
        return [image.numpy().tobytes() for image, _ in part]

    data = cifar10(root, val_share=0.25)
    splits, again = data.splits(), data.splits()
    assert Counter(labels_of(splits.train)) == dict.fromkeys(range(10), 15)
    assert Counter(labels_of(splits.val)) == dict.fromkeys(range(10), 5)
    parts = [images(part) for part in (splits.train, splits.val, splits.test)]
    assert len(set().union(*parts)) == 10 * (TRAIN + TEST)
    assert images(again.val) == parts[1]
    other = cifar10(root, val_share=0.25, split_seed=1).splits()
    assert images(other.val) != parts[1]
    assert images(other.test) == parts[2]


def test_limit_applies_to_each_class(root: Path) -> None:
    data = cifar10(root, limit_per_class=3, val_share=0.4)
    assert sizes(data) == [20, 10, 30]
    assert data.info().train_size == 20
    beyond = cifar10(root, limit_per_class=1000, val_share=0.25)
    assert beyond.info().train_size == sizes(beyond)[0] == 150


@pytest.mark.parametrize("size", [16, 48])
def test_images_are_rescaled_to_other_sizes(root: Path, size: int) -> None:
    images, _ = read_batch(root / "cifar-10-batches-py" / "test_batch")
    data = cifar10(root, image_size=size)
    assert data.info().image_size == size
    image: torch.Tensor = data.splits().test[0][0]
    expected = vision.normalize(
        vision.resize(torch.tensor(images[0]) / 255, [size, size], antialias=True),
        [0.4914, 0.4822, 0.4465],
        [0.2470, 0.2435, 0.2616],
    )
    torch.testing.assert_close(image, expected)


def test_splits_can_be_sent_to_data_loading_processes(root: Path) -> None:
    train = pickle.loads(pickle.dumps(cifar10(root).splits().train))
    images, labels = next(iter(DataLoader(train, batch_size=7, num_workers=1)))
    assert images.shape == (7, 3, 32, 32)
    assert labels.dtype == torch.int64


def test_fingerprint_changes_with_the_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cifar10(root).check()
    assert cifar10(root, image_size=8).check() == before
    write_cifar("cifar10", root / "other", monkeypatch, TRAIN, TEST + 1)
    assert cifar10(root / "other").check() != before


def test_missing_folder_is_refused_with_instructions(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        cifar10(tmp_path).info()
    assert str(caught.value) == (
        f"{tmp_path}/cifar-10-batches-py: there is no such folder; unpack cifar-10-python.tar.gz, "
        "the python version of CIFAR-10 from https://www.cs.toronto.edu/~kriz/cifar.html, "
        f"in {tmp_path}, or set data.download: true"
    )


def test_missing_file_is_named(root: Path) -> None:
    (root / "cifar-10-batches-py" / "data_batch_3").unlink()
    message = "cifar-10-batches-py/data_batch_3: there is no such file; unpack cifar-10-python"
    for look in (cifar10(root).info, cifar10(root).splits, cifar10(root).check):
        with pytest.raises(DataError, match=message):
            look()


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
def test_modified_file_is_named_and_never_opened(root: Path, asked: list[str], name: str) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (root / "sprung",))

    file = root / "cifar-10-batches-py" / name
    file.write_bytes(pickle.dumps(Trap()))
    message = re.escape(f"{file}: is not the published file, its md5 differs; remove it, ")
    for look in (cifar10(root).splits, cifar10(root).check):
        with pytest.raises(DataError, match=f"{message}then unpack .* or set data.download: true$"):
            look()
    with pytest.raises(DataError, match=f"{message}and the next start downloads it again$"):
        cifar10(root, download=True).check()
    assert asked == []
    assert not (root / "sprung").exists()


def test_only_check_downloads_and_only_if_set(tmp_path: Path, asked: list[str]) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        cifar10(tmp_path).check()
    data = cifar10(tmp_path, download=True)
    assert data.info().train_size == 42_500
    with pytest.raises(DataError, match="there is no such folder") as caught:
        data.splits()
    assert "data.download" not in str(caught.value)
    assert asked == []
    with pytest.raises(DataError) as caught:
        data.check()
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"]
    assert str(caught.value).startswith(
        f"{tmp_path}: could not download https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz "
        "(<urlopen error [Errno -2] Name or service not known>); nothing is left half-written. Start again, or unpack "
    )
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [".karat-download.lock"]


def test_downloaded_files_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(_: str, root: Path, **__: Any) -> None:
        write_cifar("cifar10", Path(root), monkeypatch, TRAIN, TEST)

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fetch)
    data = cifar10(tmp_path / "new", download=True)
    fingerprint = data.check()
    assert data.check() == fingerprint == cifar10(tmp_path / "new").check()
    assert sizes(data) == [170, 30, 40]


def test_existing_files_are_not_downloaded_again(root: Path, asked: list[str]) -> None:
    cifar10(root, download=True).check()
    assert asked == []


def test_tilde_is_the_home_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    assert sizes(cifar10(Path("~") / root.name)) == [170, 30, 40]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": 0.5}, "data.mean: unknown key"),
        ({"download": "yes"}, "data.download = 'yes': must be true or false"),
        ({"image_size": 0}, "data.image_size = 0: must be at least 1"),
        ({"limit_per_class": -1}, "data.limit_per_class = -1: must be at least 0"),
        ({"val_share": 1.0}, "data.val_share = 1.0: must be greater than 0 and less than 1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        cifar10(Path("anywhere"), **settings)


def test_class_too_small_to_split_is_found_by_check(root: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"class airplane: has 1 image to train with, too few .*; raise data\.limit_per_class",
    ):
        cifar10(root, limit_per_class=1).check()
