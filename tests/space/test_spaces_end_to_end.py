"""Each shipped space that is not about the digits trains on a few images in the real file formats, to its tested weights.

Everything between the space file and the tested weights is that of a study, but for Ray: the file with `--set`, the files of
the data set, the model, the recipe, the trainer, the tests. Smaller than in a study are the images, the number of blocks, the
training (one epoch), the data and, for Swin, the width. Plain hosts keep their width, which is what takes the time here: every
attention of a space is trained in the smallest host that has it, and every larger host once, with the smallest operator.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from karat.datasets import DATASETS
from karat.journal.layout import WEIGHTS
from karat.models.build import build_model
from karat.space.arms import trial_config
from karat.space.reader import load_space
from karat.space.space import Space
from karat.space.yaml_reader import read_yaml
from karat.training.checkpoint import kept_weights, load_checkpoint
from karat.training.config import TrialConfig
from karat.training.costs import costs_of_trial
from karat.training.evaluation import sha256_of_weights
from karat.training.initial.source import Source
from karat.training.results import EpochResult
from karat.training.trainer import Trainer
from tests.datasets.files import (
    write_cifar,
    write_flowers102,
    write_images,
    write_stl10,
    write_svhn,
)
from tests.spaces import FOR_NODES, ON_IMAGES

QUICK = (
    "cifar10_small",
    "paper_table16_rank",
    "paper_table2_transfer",
)  # the others are further cases
SMALL = {"training.epochs": "1", "training.warmup_epochs": "0", "training.workers": "0"}
BEFORE = "before/1"  # stands for the trial of another study
OTHERS = {"svhn": write_svhn, "stl10": write_stl10, "flowers102": write_flowers102}


def write_files(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set in its published format: ten classes at most, two images of each for training and validation, one for the test."""
    if name == "imagenet1k":
        write_images(root, {"train": 4, "val": 2}, ("n01440764", "n01443537"), ".JPEG")
        return
    if name == "image_folder":
        write_images(root, {"train": 4, "test": 2}, ("cat", "dog"), ".jpg")
        return
    plugin: Any = DATASETS[name]
    monkeypatch.setattr(plugin, "classes", plugin.classes[:10])
    if name in OTHERS:
        OTHERS[name](root, monkeypatch, 2, 1)
    else:
        write_cifar(name, root, monkeypatch, 2, 1)


def small(path: Path, root: Path) -> Space:
    """A space on the images in a folder, with the fewest patches that its rank allows: 16, in each stage of a Swin too."""
    patch = read_yaml(path).data.get("model", {}).get("patch_size", 16)
    shape = {"data.image_size": str(4 * patch), "model.depth": "2"}
    if "swin" in path.stem:  # the width is that of ConViT-Tiny, and half of Swin-Tiny's
        shape = {"data.image_size": "128", "model.embed_dim": "48"}
    before = {"model.init_from": BEFORE} if "transfer" in path.stem else {}
    return load_space(path, {**SMALL, **shape, **before, "data.root": str(root)})


def smallest(space: Space) -> Iterator[tuple[str, TrialConfig]]:
    """The arms that are trained, by label: all attentions, and all hosts, at the smallest cost."""
    configs = {label: trial_config(space, arm) for label, arm in space.arms.items()}
    seen: set[str] = set()
    for label in sorted(configs, key=lambda label: costs_of_trial(configs[label]).parameters):
        config = configs[label]
        shape = {repr(config.attention)}
        if not config.attention.is_softmax:
            shape.add(config.model.name)
        if shape - seen:
            seen |= shape
            yield label, config


def keep_weights(config: TrialConfig, folder: Path) -> None:
    """Weights of the same architecture for seven classes, as a study keeps them."""
    shape = {**config.data_shape(), "classes": 7}
    state = build_model(config.model, config.attention, seed=1, **shape).state_dict()
    Source(text=BEFORE, state=state).keep(folder)


def train(config: TrialConfig, folder: Path) -> EpochResult:
    """One trial of the confirmation."""
    if config.model.init_from == BEFORE:
        keep_weights(config, folder / WEIGHTS)
    trainer = Trainer(
        config, seed=1, folder=folder / "trial", initial=folder / WEIGHTS, test_at_end=True
    )
    result = trainer.run_epoch()
    assert isinstance(result, EpochResult)
    assert trainer.finished
    return result


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[] if path.stem in QUICK else pytest.mark.slow)
        for path in (*FOR_NODES, *ON_IMAGES)
    ],
    ids=lambda path: path.stem,
)
def test_every_space_trains_to_its_tested_weights(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    root, folder = tmp_path / "data", tmp_path / "trials"
    root.mkdir()
    write_files(read_yaml(path).data["data"]["name"], root, monkeypatch)
    space = small(path, root)
    assert not [each for each in space.excluded if "excluded by" not in each.rule]
    for label, config in smallest(space):
        result = train(config, folder)
        assert result.tested is not None, label
        assert result.tested.images == len(config.data.splits().test)  # type: ignore[arg-type]
        kept = kept_weights(folder / "trial")
        assert kept is not None, label
        assert sha256_of_weights(load_checkpoint(kept)["model"]) == result.tested.weights, label
        shutil.rmtree(folder)
