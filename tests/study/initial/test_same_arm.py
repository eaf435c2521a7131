"""`model.init_from: STUDY/same arm`: each arm starts from its own of another study."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from karat.attention.config import AttentionConfig
from karat.errors import InputError
from karat.journal.layout import WEIGHTS
from karat.models.config import ModelConfig
from karat.report.facts.summary import summarise
from karat.report.training_section import training_section
from karat.space.reader import load_space
from karat.study.initial import same_arm
from karat.study.initial.same_arm import AwaitedStudyError, architecture
from karat.study.initial.weights import starts_of
from karat.training.initial.source import Source
from tests.conftest import SMALL
from tests.driven import checked, go, without_ray
from tests.studies import confirmed, small_study, state_of

__all__ = ["without_ray"]

ARMS = {"softmax": "softmax", "fourier": "fourier grid_size=2"}  # here, and in the other study
TUNED = """\
study: tuned
data: {name: digits}
model: {name: vit_micro, patch_size: 4, embed_dim: 12, depth: 1, num_heads: 2}
training: {recipe: quick, epochs: 4, batch_size: 128}
attention: {rank: 4, grid_size: 2}
reference: {attention.basis: softmax}
factors: {attention.basis: [softmax, fourier]}
tuned: {training.learning_rate: {low: 1e-3, high: 1e-2, log: true}}
search: {sampler: tpe, trials: 4}
confirm: {by: arm, seeds: 2}
"""


def write_space(path: Path, study: object, text: str = TUNED) -> Path:
    """A space whose arms start from the same of a study."""
    given = json.dumps(f"{study}/same arm")
    path.write_text(text.replace("model: {", f"model: {{init_from: {given}, "))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study, of which every run is trained, with two arms of two seeds."""
    torch.set_num_threads(1)
    return small_study(tmp_path_factory.mktemp("source"))


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_ray: None) -> Path:
    """A complete study with three arms of which nothing was trained; its weights count as kept."""
    monkeypatch.setattr(same_arm, "kept_weights", lambda folder: folder)
    (tmp_path / "small.yaml").write_text(SMALL.replace("by: attention.grid_size", "by: arm"))
    assert go(tmp_path / "small.yaml", tmp_path) == 0
    return tmp_path / "small"


def chosen(study: Path, text: str = TUNED) -> dict[str, str]:
    """Label of each arm to the trial from which it starts."""
    space = load_space(write_space(study.parent / "here.yaml", study.name, text))
    known, _ = same_arm.each_from_its_own(space, study.parent, {})
    return {label: arm.sections["model"]["init_from"] for label, arm in known.arms.items()}


def test_each_arm_starts_from_the_best_seed_of_its_own_arm(
    without_ray: None, finished: Path, tmp_path: Path
) -> None:
    space = write_space(tmp_path / "space.yaml", finished)
    assert go(space, tmp_path) == 0
    state = checked(tmp_path / "tuned")
    best = {}
    for here, there in ARMS.items():
        runs = [trial for trial in confirmed(finished) if trial.arm == there]
        best[here] = max(runs, key=lambda trial: trial.of_kept_weights("val_accuracy") or 0)
    for entry, (here, trial) in zip(state.created["weights"], best.items(), strict=True):
        assert entry["init_from"] == f"{finished}/{trial.number}"
        assert trial.tested is not None
        assert entry["sha256"] == trial.tested["weights"]
        assert list(entry["arms"]) == [here]
        assert entry["chosen"] == {"arm": ARMS[here], "metric": "val_accuracy", "seeds": 2}
        assert Source.kept(tmp_path / "tuned" / WEIGHTS, entry["init_from"])
    for each in state.trials.values():
        assert each.config["model"]["init_from"] == f"{finished}/{best[each.arm].number}"


def test_the_choice_is_told_in_the_plan_and_in_the_report(
    without_ray: None, finished: Path, tmp_path: Path
) -> None:
    space = write_space(tmp_path / "space.yaml", finished)
    lines = starts_of(load_space(space), tmp_path / "tuned", tmp_path).lines()
    assert [line.partition(" from ")[0] for line in lines] == list(ARMS)
    why = "the best of 2 seeds by val_accuracy of the same arm there, fourier grid_size=2"
    assert f"({why}; sha256 " in lines[1]
    go(space, tmp_path, steps=1)
    [table] = training_section(summarise(state_of(tmp_path / "tuned"))).tables
    told = dict(table.rows)
    assert "model.init_from" not in told
    assert (
        sum(text.startswith("the best of 2 seeds by val_accuracy") for text in told.values()) == 2
    )


def test_a_study_keeps_its_choice_and_goes_on_when_the_other_is_gone(
    without_ray: None, finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "pretrained")
    space = write_space(tmp_path / "space.yaml", "pretrained")
    assert go(space, tmp_path, steps=3) == 75
    (tmp_path / "pretrained").rename(tmp_path / "moved")
    assert go(space, tmp_path, steps=3) == 75
    moved = write_space(tmp_path / "moved.yaml", "moved")
    assert go(moved, tmp_path, steps=3) == 75
    assert go(space, tmp_path) == 0
    assert len(checked(tmp_path / "tuned").created["weights"]) == 2


def test_the_name_of_the_other_study_is_no_part_of_the_hash_of_the_question(
    finished: Path, tmp_path: Path
) -> None:
    hashes = set()
    for name in ("one", "two"):
        shutil.copytree(finished, tmp_path / name)
        space = load_space(write_space(tmp_path / f"{name}.yaml", name))
        starts = starts_of(space, tmp_path / "tuned", tmp_path)
        hashes.add(starts.space.hash_with(starts.fingerprints))
    assert len(hashes) == 1


def test_a_study_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AwaitedStudyError, match=r"gone/same arm: there is no study gone"):
        chosen(tmp_path / "gone")


def test_a_study_that_is_not_complete_is_refused(without_ray: None, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    assert go(tmp_path / "small.yaml", tmp_path, steps=3) == 75
    with pytest.raises(AwaitedStudyError, match="small is interrupted; its best trials are known"):
        chosen(tmp_path / "small")


def test_an_arm_that_the_other_study_lacks_is_refused_by_its_name(other: Path) -> None:
    text = TUNED.replace("grid_size: 2", "grid_size: 3")
    with pytest.raises(
        InputError, match=r"^arm fourier: .* no arm .*: softmax, fourier grid_size=1"
    ):
        chosen(other, text)
    wider = TUNED.replace("embed_dim: 12", "embed_dim: 24")
    with pytest.raises(InputError, match=r"^arm softmax: .* has its model and attention"):
        chosen(other, wider)


def test_several_arms_that_fit_are_refused_by_their_names(other: Path) -> None:
    text = TUNED.replace("grid_size: 2}", "rank: 4}").replace("rank: 4, rank: 4", "rank: 4")
    text = text.replace("tuned: {", "tuned: {attention.grid_size: {values: [1, 2]}, ")
    with pytest.raises(
        InputError, match=r"several arms .*: fourier grid_size=1, fourier grid_size=2"
    ):
        chosen(other, text)


def test_weights_that_are_gone_are_refused_by_arm_and_trial(
    other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(same_arm, "kept_weights", lambda folder: None)
    with pytest.raises(
        InputError, match=r"^arm softmax: .* weights of trial \d+, the best of softmax"
    ):
        chosen(other)


def test_what_other_settings_say_of_the_training_does_not_count(other: Path) -> None:
    longer = TUNED.replace("epochs: 4", "epochs: 7").replace("quick", "finetune")
    assert chosen(other, longer) == chosen(other)


def model(**settings: object) -> ModelConfig:
    return ModelConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ({"name": "vit_tiny"}, {"name": "vit_tiny_patch16_224"}, True),
        ({"name": "vit_tiny"}, {"name": "vit_tiny", "depth": 12}, True),
        ({"name": "vit_tiny"}, {"name": "vit_tiny", "weight_init": "jax"}, True),
        ({"name": "vit_tiny"}, {"name": "vit_tiny", "init_from": "a/1"}, True),
        ({"name": "vit_tiny"}, {"name": "vit_small"}, False),
        ({"name": "vit_tiny"}, {"name": "vit_tiny", "registers": 4}, False),
        ({"name": "vit_tiny"}, {"name": "vit_tiny", "attention_from": "a/1"}, False),
    ],
)
def test_models_are_the_same_by_their_shape(
    one: dict[str, object], two: dict[str, object], same: bool
) -> None:
    attention = AttentionConfig()
    there, here = (architecture(model(**each), attention, ()) for each in (one, two))
    assert (there == here) == same


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"basis": "fourier"}, True),
        ({"basis": "fourier", "mechanism": "karat", "grid_size": 3}, True),
        ({"basis": "fourier", "kernel": "reference", "init": "paper"}, True),
        ({"basis": "fourier", "grid_size": 1}, False),
        ({"basis": "fourier", "rank": 4}, False),
        ({"basis": "fourier", "block_sharing": "universal"}, False),
        ({"basis": "rational"}, False),
        ({"mechanism": "static"}, False),
        ({"mechanism": "softmax"}, False),
    ],
)
def test_attention_is_the_same_whether_defaults_are_written_or_not(
    settings: dict[str, object], same: bool
) -> None:
    there = AttentionConfig.from_settings({"basis": "fourier", "rank": 12})
    here = AttentionConfig.from_settings(settings)
    assert (architecture(model(), there, ()) == architecture(model(), here, ())) == same


def test_what_is_tuned_does_not_count() -> None:
    grids = [AttentionConfig.from_settings({"basis": "fourier", "grid_size": n}) for n in (1, 3)]
    one, two = (architecture(model(), each, ["attention.grid_size"]) for each in grids)
    assert one == two
