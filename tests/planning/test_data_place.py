"""Where data lies is no part of the question."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.planning.data_place import data_place, sections_at, space_at
from karat.planning.extension import changes_between
from karat.space.arms import sections_of
from karat.space.reader import load_space, space_of
from karat.space.space import Space
from tests.datasets.files import write_images


@pytest.fixture
def space(
    write_space: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Space:
    write_images(tmp_path / "set", {"train": 6, "test": 3}, ("one", "two"), ".png")
    monkeypatch.chdir(tmp_path)
    return load_space(
        write_space(("{name: digits}", "{name: image_folder, root: set, image_size: 8}"))
    )


def test_a_journals_space_is_read_without_its_images(space: Space) -> None:
    shutil.rmtree("set")
    again = space_of(space.source, space.name, "journal")
    assert list(again.arms) == list(space.arms)
    assert again.hash == space.hash


def test_a_study_whose_data_was_moved_goes_on_with_the_same_question(space: Space) -> None:
    Path("set").rename("moved")
    moved = space_of(
        {**space.source, "data": {**space.source["data"], "root": "moved"}}, space.name, "journal"
    )
    assert changes_between(space, moved) == []
    here = space_at(space, data_place(moved))
    assert here.hash == space.hash
    arm = next(iter(here.arms.values()))
    assert sections_of(here, arm)["data"]["root"] == str(Path("moved").absolute())


def test_another_image_size_is_another_question(space: Space) -> None:
    other = space_of(
        {**space.source, "data": {**space.source["data"], "image_size": 12}}, space.name, "journal"
    )
    assert {change.is_allowed for change in changes_between(space, other)} == {False}


def test_a_relative_root_is_resolved_from_the_launchers_folder(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = data_place(space)
    monkeypatch.chdir("/")
    assert place == {"root": str(tmp_path / "set")}
    arm = next(iter(space.arms.values()))
    assert sections_at(arm.sections, place)["data"]["root"] == str(tmp_path / "set")
    assert arm.sections["data"]["root"] == "set"
