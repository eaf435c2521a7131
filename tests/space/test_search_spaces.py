"""The shipped search spaces, and that of the README, are valid, and small enough for a laptop."""

import re
from pathlib import Path

import pytest

from karat.planning.plans.adaptive import Search
from karat.planning.plans.confirmation import contests_of
from karat.space.reader import load_space
from tests.conftest import ROOT
from tests.datasets.files import write_cifar

SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_shipped_space_is_valid_and_excludes_nothing(path: Path) -> None:
    space = load_space(path)
    assert space.name.replace("-", "_") == path.stem
    assert space.question.endswith((".", "?", ")"))
    assert not space.excluded
    assert len(contests_of(space)) >= 3
    assert Search(space).total <= 120


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_shipped_space_takes_another_data_set(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar("cifar10", tmp_path, monkeypatch, train_per_class=5, test=2)
    overrides = {"data.name": "cifar10", "data.root": str(tmp_path), "model.patch_size": "4"}
    assert load_space(path, overrides).data["name"] == "cifar10"


def test_space_of_the_readme_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for part in ("train", "test"):
        for name in ("cat", "dog", "ship"):
            (tmp_path / "my_images" / part / name).mkdir(parents=True)
            (tmp_path / "my_images" / part / name / "0.jpg").touch()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_space.yaml").write_text(text)
    space = load_space(Path("my_space.yaml"))
    assert list(space.arms) == ["softmax", "karat", "static"]
    assert not space.excluded
