"""The shipped search spaces, and that of the README, are valid, and small enough for a laptop."""

import re
from pathlib import Path
from typing import Any

import pytest

from karat.models.config import SAME_ARM
from karat.parameters import EACH_ARM
from karat.planning.plans.adaptive import Search
from karat.planning.plans.confirmation import contests_of
from karat.space.arms import trial_config
from karat.space.published import about_no_arm, published_in
from karat.space.reader import load_space
from karat.space.space import Arm, Space
from karat.study.initial.same_arm import architecture
from tests.conftest import ROOT
from tests.datasets.files import write_cifar, write_images
from tests.spaces import FOR_NODES, ON_DIGITS

_TRANSFERS = [path for path in FOR_NODES if "transfer" in path.stem]


@pytest.mark.parametrize("path", ON_DIGITS, ids=lambda path: path.stem)
def test_shipped_space_is_valid_and_excludes_nothing(path: Path) -> None:
    space = load_space(path)
    assert space.name.replace("-", "_") == path.stem
    assert space.question.endswith((".", "?", ")"))
    assert not space.excluded
    assert len(contests_of(space)) >= 3
    assert Search(space).total <= 120


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder in ImageNet's layout."""
    root = tmp_path_factory.mktemp("imagenet")
    write_images(root, {"train": 3, "val": 1}, ("n01440764", "n01443537"), ".JPEG")
    return root


@pytest.mark.parametrize("path", FOR_NODES, ids=lambda path: path.stem)
def test_space_for_a_node_with_gpus_is_valid_on_a_machine_without(
    path: Path, imagenet: Path
) -> None:
    here = {"resources.gpus": "0"}
    if "imagenet1k" in path.stem:
        here["data.root"] = str(imagenet)
    space = load_space(path, here)
    assert space.name.replace("-", "_") == path.stem
    assert space.confirm.by == EACH_ARM
    assert all(each.rule.startswith("excluded by") for each in space.excluded)
    assert len({each.trials for each in space.sizes.values()}) == 1, "tuning is not equal"


@pytest.mark.parametrize(
    "path", [p for p in FOR_NODES if "paper_" in p.name], ids=lambda path: path.stem
)
def test_every_number_of_the_paper_is_about_an_arm_and_every_size_has_its_reference(
    path: Path, imagenet: Path
) -> None:
    space = load_space(path, {"data.root": str(imagenet)} if "imagenet1k" in path.stem else {})
    published = published_in(space.source)
    assert published is not None
    assert about_no_arm(published, (arm.factors for arm in space.arms.values())) == []
    assert all(published.of(space.arms[each].factors) for each in space.reference_arms)


@pytest.mark.parametrize("path", _TRANSFERS, ids=lambda path: path.stem)
def test_every_arm_of_a_transfer_has_one_arm_like_it_in_the_study_on_imagenet(
    path: Path, imagenet: Path
) -> None:
    before = load_space(
        path.with_name("paper_table1_imagenet1k.yaml"), {"data.root": str(imagenet)}
    )
    here = load_space(path)
    assert here.source["model"]["init_from"] == f"{before.name}{SAME_ARM}"
    for arm in here.arms.values():
        own = _architecture(here, arm)
        assert sum(_architecture(before, each) == own for each in before.arms.values()) == 1


def _architecture(space: Space, arm: Arm) -> dict[str, Any]:
    config = trial_config(space, arm)
    return architecture(config.model, config.attention, arm.tuned)


@pytest.mark.parametrize("path", ON_DIGITS, ids=lambda path: path.stem)
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
