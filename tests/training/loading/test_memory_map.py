"""Images are decoded once per node, are the same to the last bit, and a file that is not whole is made anew."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.data import default_collate

from karat.datasets import Dataset, Splits, make_dataset
from karat.training.loading import memory_map, splits
from karat.training.loading.place import images_folder
from karat.training.loading.resident import resident_of
from karat.training.loading.splits import Loaded, splits_of
from tests.datasets.files import write_cifar, write_images

PARTS = ("train", "val", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("KARAT_CACHE", str(tmp_path / "cache"))
    yield
    splits_of.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Dataset:
    """A data set of image files, 20 x 16 pixels."""
    write_images(tmp_path / "data", {"train": 8, "test": 3}, ("cat", "dog"), ".png")
    return make_dataset({"name": "image_folder", "root": str(tmp_path / "data"), "image_size": 12})


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of all sets that were decoded."""
    found: list[str] = []
    real = splits._decode

    def decode(parts: object, first: object, key: str, pixels: object) -> object:
        found.append(key)
        return real(parts, first, key, pixels)  # type: ignore[arg-type]

    monkeypatch.setattr(splits, "_decode", decode)
    return found


def load(data: Dataset, fingerprint: str = "abc") -> Loaded:
    """As in a new process."""
    splits_of.cache_clear()
    return splits_of(data, fingerprint)


def the_file() -> Path:
    [path] = images_folder().glob("*.u8")
    return path


def same(ours: Splits, theirs: Splits) -> bool:
    """Whether all images and labels are equal, one by one and in batches."""
    for name in PARTS:
        one, other = getattr(ours, name), getattr(theirs, name)
        items = [one[index] for index in range(len(one))]
        expected = [other[index] for index in range(len(other))]
        images, labels = default_collate(one.__getitems__(range(len(one))))
        whole, right = default_collate(expected)
        if not torch.equal(images, whole) or not torch.equal(labels, right):
            return False
        if not all(torch.equal(a[0], b[0]) for a, b in zip(items, expected, strict=True)):
            return False
    return True


def test_kept_images_are_those_of_the_data_set_to_the_last_bit(folder: Dataset) -> None:
    found = load(folder)
    assert same(found.splits, folder.splits())
    assert found.map_bytes == the_file().stat().st_size == (16 + 6) * 3 * 12 * 12


def test_published_files_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar("cifar10", tmp_path, monkeypatch, 10, 1)
    data = make_dataset({"name": "cifar10", "root": str(tmp_path)})
    found = load(data)
    assert found.map_bytes
    assert same(found.splits, data.splits())


def test_images_are_decoded_once_for_all_trials(folder: Dataset, decoded: list[str]) -> None:
    for _ in range(3):
        load(folder)
    assert len(decoded) == 1


def test_trials_that_start_together_decode_once(folder: Dataset, decoded: list[str]) -> None:
    found: list[Loaded] = []
    together = threading.Barrier(4)

    def start() -> None:
        together.wait()
        found.append(splits_of.__wrapped__(folder, "abc"))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoded) == 1
    assert all(same(each.splits, folder.splits()) for each in found)
    assert len(found) == 4


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damaged(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(50)
        file.write(b"\0\1\2")


def without_manifest(path: Path) -> None:
    path.with_suffix(".json").unlink()


def half_a_manifest(path: Path) -> None:
    text = path.with_suffix(".json").read_text()
    path.with_suffix(".json").write_text(text[: len(text) // 2])


def of_other_images(path: Path) -> None:
    manifest = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**manifest, "key": "other"}))


@pytest.mark.parametrize(
    "spoil", [torn, damaged, without_manifest, half_a_manifest, of_other_images]
)
def test_a_torn_or_foreign_file_is_made_anew(
    folder: Dataset, decoded: list[str], spoil: Callable[[Path], None]
) -> None:
    load(folder)
    spoil(the_file())
    found = load(folder)
    assert len(decoded) == 2
    assert same(found.splits, folder.splits())
    load(folder)
    assert len(decoded) == 2


def test_a_file_that_was_copied_is_compared_and_kept(folder: Dataset, decoded: list[str]) -> None:
    load(folder)
    content = the_file().read_bytes()
    the_file().unlink()
    memory_map.path_of(images_folder(), decoded[0]).write_bytes(content)
    assert same(load(folder).splits, folder.splits())
    assert len(decoded) == 1


def test_what_a_killed_process_left_behind_is_removed(folder: Dataset) -> None:
    load(folder)
    left = the_file().with_name(f".{the_file().name}.abc")
    left.write_bytes(b"half")
    without_manifest(the_file())
    load(folder)
    assert not left.exists()


def test_other_data_and_other_settings_have_files_of_their_own(
    folder: Dataset, tmp_path: Path, decoded: list[str]
) -> None:
    load(folder)
    load(folder, "def")
    settings = {"name": "image_folder", "root": str(tmp_path / "data")}
    load(make_dataset({**settings, "image_size": 8}))
    load(make_dataset({**settings, "image_size": 12, "split_seed": 1}))
    assert len(set(decoded)) == 4


def test_data_that_was_moved_has_the_same_file(
    folder: Dataset, tmp_path: Path, decoded: list[str]
) -> None:
    load(folder)
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = make_dataset(
        {"name": "image_folder", "root": str(tmp_path / "moved"), "image_size": 12}
    )
    assert same(load(moved).splits, moved.splits())
    assert len(decoded) == 1


@pytest.mark.parametrize("settings", [{"name": "digits"}, {"name": "cifar10", "image_size": 24}])
def test_images_that_are_no_bytes_are_not_kept(
    settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if settings["name"] == "cifar10":
        write_cifar("cifar10", tmp_path, monkeypatch, 10, 1)
        settings["root"] = str(tmp_path)
    assert load(make_dataset(settings)).map_bytes == 0
    assert not images_folder().exists()


def test_files_and_unknown_data_are_not_kept(folder: Dataset, tmp_path: Path) -> None:
    assert load(folder, "").map_bytes == 0
    files = {"name": "image_folder", "root": str(tmp_path / "data"), "loader": "files"}
    assert load(make_dataset(files)).map_bytes == 0


def test_without_room_on_the_disk_images_are_decoded_in_each_epoch(
    folder: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_map, "_SPARE", 1e12)
    found = load(folder)
    assert found.map_bytes == 0
    [image, *_] = [found.splits.test[0][0]]
    assert torch.equal(image, folder.splits().test[0][0])


def test_a_cache_that_cannot_be_written_to_costs_no_trial(
    folder: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KARAT_CACHE", str(tmp_path / "file"))
    assert load(folder).map_bytes == 0


MAPS = """\
7f00-7f10 r--p 00000000 08:01 1    /other/file.u8
Size:               400 kB
Rss:                 40 kB
7f20-7f30 rw-p 00000000 08:01 2    /cache/images/a b.u8
Size:               400 kB
Rss:                 12 kB
Pss:                  6 kB
7f40-7f50 rw-p 00001000 08:01 2    /cache/images/a b.u8
Rss:                  4 kB
7f60-7f70 rw-p 00000000 00:00 0
Rss:                 99 kB
"""


def test_shared_images_are_told_apart_from_a_trials_own_memory(tmp_path: Path) -> None:
    (tmp_path / "smaps").write_text(MAPS)
    assert resident_of(Path("/cache/images/a b.u8"), tmp_path / "smaps") == 16 * 1024
    assert resident_of(Path("/cache/images/a b.u8"), tmp_path / "none") == 0


def test_this_process_tells_how_much_of_the_file_it_has_read(folder: Dataset) -> None:
    if not Path("/proc/self/smaps").exists():
        pytest.skip("needs /proc")
    found = load(folder)
    assert same(found.splits, folder.splits())
    assert found.path is not None
    assert resident_of(found.path) >= found.map_bytes
