"""Weights that a study starts from: found, checked before training, recognised when moved, kept."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from karat.errors import CheckpointError, InputError
from karat.journal.layout import WEIGHTS
from karat.models.build import build_model
from karat.space.reader import load_space
from karat.study.initial import sources
from karat.study.initial.weights import starts_of
from karat.training.checkpoint import kept_weights, load_checkpoint
from karat.training.config import TrialConfig
from karat.training.evaluation import evaluate
from karat.training.initial.source import Source, place_of
from karat.training.initial.start import starting_model, with_attention
from karat.training.process_group import ProcessGroup
from karat.training.trainer import Trainer
from tests.conftest import SMALL
from tests.driven import checked, go, without_ray
from tests.studies import confirmed, small_study, state_of
from tests.training.test_trainer import SECTIONS, config, train

__all__ = ["without_ray"]

TRANSFER = """\
study: given
data: {name: digits}
model: {name: vit_micro, patch_size: 4, embed_dim: 12, depth: 1, num_heads: 2}
attention: {mechanism: softmax}
training: {recipe: quick, epochs: 4, batch_size: 128}
reference: {model.attention_from: own}
factors: {model.attention_from: [own, GIVER]}
tuned: {training.learning_rate: {low: 1e-3, high: 1e-2, log: true}}
search: {sampler: tpe, trials: 4}
confirm: {seeds: 2}
"""
SHAPE = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 2}


def write_weights(path: Path, seed: int = 0, **changes: Any) -> Path:
    """A safetensors file of timm's ViT for digits, with five classes."""
    torch.manual_seed(seed)
    model = VisionTransformer(**{**SHAPE, "in_chans": 1, "num_classes": 5, **changes})
    save_file(model.state_dict(), path)
    return path


def write_space(path: Path, init_from: object, factor: bool = False) -> Path:
    text = SMALL
    assert "  attention.basis:" in text
    if factor:
        levels = json.dumps(["scratch", str(init_from)])
        text = text.replace("factors:\n", f"factors:\n  model.init_from: {levels}\n")
        text = text.replace("reference: {", "reference: {model.init_from: scratch, ")
    else:
        text = text.replace("model: {", f"model: {{init_from: {json.dumps(str(init_from))}, ")
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study of which every run is trained."""
    torch.set_num_threads(1)
    return small_study(tmp_path_factory.mktemp("source"))


def test_a_file_of_weights_is_told_kept_and_in_the_journal(
    without_ray: None, tmp_path: Path
) -> None:
    weights = write_weights(tmp_path / "w.safetensors")
    space = write_space(tmp_path / "space.yaml", weights)
    assert go(space, tmp_path) == 0
    state = checked(tmp_path / "small")
    [entry] = state.created["weights"]
    assert entry["init_from"] == str(weights)
    assert entry["sha256"] == sources.find(str(weights), tmp_path).fingerprint
    assert set(entry["arms"]) == {arm["label"] for arm in state.created["arms"]}
    assert entry["arms"]["softmax"]["fresh"] == ["head (5 classes there, 10 here)"]
    [told, *_] = starts_of(load_space(space), tmp_path / "small", tmp_path).lines()
    assert "tensors taken; started anew: head (5 classes there, 10 here)" in told


def test_moved_weights_are_recognised_and_deleted_ones_come_from_the_studys_copy(
    without_ray: None, tmp_path: Path
) -> None:
    weights = write_weights(tmp_path / "w.safetensors")
    space = write_space(tmp_path / "space.yaml", weights)
    assert go(space, tmp_path, steps=3) == 75
    weights.rename(tmp_path / "moved.safetensors")
    [start] = starts_of(load_space(space), tmp_path / "small", tmp_path).found
    assert "goes on with its own copy" in start.note
    assert go(space, tmp_path, steps=3) == 75
    other = write_space(tmp_path / "other.yaml", tmp_path / "moved.safetensors")
    assert go(other, tmp_path) == 0
    assert len(checked(tmp_path / "small").created["weights"]) == 1


def test_other_weights_under_the_same_name_are_refused(without_ray: None, tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "w.safetensors")
    space = write_space(tmp_path / "space.yaml", weights)
    go(space, tmp_path, steps=3)
    write_weights(weights, seed=1)
    with pytest.raises(InputError, match=r"have changed since this study began .*--fresh"):
        go(space, tmp_path)


def test_where_weights_lie_is_no_part_of_the_hash_of_the_question(tmp_path: Path) -> None:
    hashes = []
    for name in ("one", "two"):
        weights = write_weights(tmp_path / f"{name}.safetensors")
        space = load_space(write_space(tmp_path / f"{name}.yaml", weights))
        starts = starts_of(space, tmp_path / "small", tmp_path)
        hashes.append(space.hash_with(starts.fingerprints))
    assert hashes[0] == hashes[1]
    other = load_space(
        write_space(tmp_path / "x.yaml", write_weights(tmp_path / "x.safetensors", 1))
    )
    assert other.hash_with(starts_of(other, tmp_path / "s", tmp_path).fingerprints) != hashes[0]


def test_scratch_against_weights_is_a_factor(without_ray: None, tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "w.safetensors")
    space = write_space(tmp_path / "space.yaml", weights, factor=True)
    [start] = starts_of(load_space(space), tmp_path / "small", tmp_path).found
    assert all(str(weights) in label for label in start.arms)
    assert len(start.arms) * 2 == len(load_space(space).arms)
    assert go(space, tmp_path) == 0


def test_weights_of_another_architecture_are_an_error_before_anything_is_written(
    without_ray: None, tmp_path: Path
) -> None:
    weights = write_weights(tmp_path / "w.safetensors", embed_dim=24)
    space = write_space(tmp_path / "space.yaml", weights)
    with pytest.raises(
        InputError, match=r"another architecture: cls_token is 1x1x24 there and 1x1x12"
    ):
        go(space, tmp_path)
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize(
    ("init_from", "message"),
    [
        ("gone.safetensors", "there is no such file (looked for"),
        ("gone/3", "there is no study gone, neither as a folder nor in"),
        ("timm:vit_nope", "timm has no model vit_nope"),
        ("timm:vit_tiny_patch16_224.nope", "timm has no pretrained weights of"),
    ],
)
def test_missing_weights_are_an_error_that_says_where_they_were_looked_for(
    tmp_path: Path, init_from: str, message: str
) -> None:
    with pytest.raises(InputError) as error:
        sources.find(init_from, tmp_path)
    assert f"model.init_from = {init_from}: " in str(error.value)
    assert message in str(error.value)


def test_pretrained_weights_are_never_downloaded_unasked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(sources.MissingWeightsError, match="HF_HUB_OFFLINE=0"):
        sources.find("timm:vit_tiny_patch16_224.augreg_in21k", tmp_path)


def test_pretrained_weights_in_the_cache_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import timm

    model = VisionTransformer(**SHAPE, in_chans=1, num_classes=5)
    monkeypatch.setattr(timm, "create_model", lambda name, *, pretrained: model)
    found = sources.find("timm:vit_tiny_patch16_224", tmp_path)
    assert found.settings is None
    assert set(found.state) == set(model.state_dict())


def test_a_broken_file_is_no_weights(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="is no readable safetensors file"):
        sources.find(str(tmp_path / "w.safetensors"), tmp_path)


@pytest.mark.parametrize("text", ["", "weights", "study/", "/3", "study/x", "model.pt", "timm:"])
def test_a_text_that_names_no_weights_is_refused_with_what_would_be_right(
    tmp_path: Path, text: str
) -> None:
    space = write_space(tmp_path / "space.yaml", text)
    with pytest.raises(InputError, match=r"init_from = .*STUDY/TRIAL, a file NAME.safetensors"):
        load_space(space)


def test_a_trials_tested_weights_start_another(finished: Path, tmp_path: Path) -> None:
    trial = next(each for each in confirmed(finished) if each.arm != "softmax")
    found = sources.find(f"{finished.name}/{trial.number}", finished.parent)
    assert trial.tested is not None
    assert found.fingerprint == trial.tested["weights"]
    assert sources.find(f"{finished}/{trial.number}", tmp_path).fingerprint == found.fingerprint
    found.keep(tmp_path / WEIGHTS)
    model = found.model()
    assert model is not None
    text = found.text
    again = Source.kept(tmp_path / WEIGHTS, text)
    assert again.fingerprint == found.fingerprint
    own = config(
        model={"init_from": text},
        attention=dict(trial.config["attention"]),
    )
    started = starting_model(own, 7, tmp_path / WEIGHTS)
    for name, value in started.state_dict().items():
        assert torch.equal(value, found.state[name]), name
    with pytest.raises(InputError, match="has no trial 999; it has 0 to"):
        sources.find(f"{finished}/999", tmp_path)


def test_a_trial_trained_from_weights_resumes_with_the_same_numbers(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "w.safetensors")
    sources.find(str(weights), tmp_path).keep(tmp_path / WEIGHTS)
    own = config(model={"init_from": str(weights)}, training={"epochs": 2, "warmup_epochs": 0})
    whole = train(Trainer(own, seed=1, initial=tmp_path / WEIGHTS))
    drawn = train(Trainer(config(training={"epochs": 2, "warmup_epochs": 0}), seed=1))
    assert whole[0].metrics != drawn[0].metrics
    train(Trainer(own, seed=1, folder=tmp_path / "t", initial=tmp_path / WEIGHTS), epochs=1)
    rest = Trainer(own, seed=1, folder=tmp_path / "t", initial=tmp_path / WEIGHTS, resume_at_most=1)
    assert train(rest)[-1].metrics == whole[-1].metrics


def test_a_trial_with_given_attention_is_trained_tested_and_loaded_again(
    finished: Path, tmp_path: Path
) -> None:
    trial = next(each for each in confirmed(finished) if each.arm != "softmax")
    text = f"{finished.name}/{trial.number}"
    source = sources.find(text, finished.parent)
    source.keep(tmp_path / WEIGHTS)
    own = TrialConfig.from_sections(
        {
            **SECTIONS,
            "model": {**SECTIONS["model"], "attention_from": text},
            "attention": {"mechanism": "softmax"},
            "training": {"epochs": 1, "warmup_epochs": 0, "batch_size": 128},
        }
    )
    folder = tmp_path / "trials" / "0000"
    trainer = Trainer(own, seed=1, initial=tmp_path / WEIGHTS, folder=folder, test_at_end=True)
    [result] = train(trainer)
    for name, value in trainer.model.state_dict().items():
        if name.startswith("attention_giver.model."):
            assert torch.equal(value, source.state[name.removeprefix("attention_giver.model.")])
    path = kept_weights(folder)
    assert path is not None
    model = with_attention(
        build_model(own.model, own.attention, seed=3, **own.data_shape()), own, tmp_path / WEIGHTS
    )
    model.load_state_dict(load_checkpoint(path)["model"])
    again = evaluate(model, trainer.splits.test, ProcessGroup())
    assert again.accuracy == result.metrics["test_accuracy"]


def test_given_attention_is_a_factor_and_in_the_journal(
    without_ray: None, finished: Path, tmp_path: Path
) -> None:
    trial = next(each for each in confirmed(finished) if each.arm != "softmax")
    (tmp_path / "space.yaml").write_text(TRANSFER.replace("GIVER", f"{finished}/{trial.number}"))
    assert go(tmp_path / "space.yaml", tmp_path) == 0
    [entry] = state_of(tmp_path / "given").created["weights"]
    assert entry["attention"] == [f"{finished}/{trial.number}"]
    assert entry["arms"] == {}


def test_a_damaged_copy_is_noticed(tmp_path: Path) -> None:
    text = str(write_weights(tmp_path / "w.safetensors"))
    found = sources.find(text, tmp_path)
    found.keep(tmp_path / WEIGHTS)
    path = place_of(tmp_path / WEIGHTS, text)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="its sha256 differs"):
        Source.kept(tmp_path / WEIGHTS, text)
