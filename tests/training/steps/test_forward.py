"""Steps in bfloat16 and compiled steps train the same model; what a device lacks is said."""

from pathlib import Path
from typing import Any

import pytest
import torch

from karat.errors import SettingError
from karat.training.config import TrialConfig
from karat.training.steps.config import StepConfig
from karat.training.steps.device import check_device
from karat.training.trainer import Trainer
from tests.training.test_trainer import SECTIONS, config, train

GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("attention", [SECTIONS["attention"], {}], ids=["fourier", "softmax"])
def test_bf16_trains_nearly_as_float32_and_evaluates_in_float32(attention: dict[str, Any]) -> None:
    results, types = {}, {}
    for precision in ("float32", "bf16"):
        training = {**SECTIONS["training"], "precision": precision}
        sections = {**SECTIONS, "attention": attention, "training": training}
        trainer = Trainer(TrialConfig.from_sections(sections), 1)
        seen: list[torch.dtype] = []
        layer = trainer.model.get_submodule("blocks.0.mlp.fc1")
        layer.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out.dtype))
        results[precision] = train(trainer, epochs=1)[0].metrics
        types[precision] = (seen[1], seen[-1])  # of the first step, of the validation
        assert all(each.dtype == torch.float32 for each in trainer.model.parameters())
    assert types == {
        "float32": (torch.float32, torch.float32),
        "bf16": (torch.bfloat16, torch.float32),
    }
    ours, theirs = (results[name]["train_loss"] for name in ("float32", "bf16"))
    assert theirs == pytest.approx(ours, rel=0.01)
    assert theirs != ours


def test_micro_batches_give_the_same_step_but_for_rounding() -> None:
    whole, parts = (
        train(Trainer(config(training={"micro_batches": n}), 1), epochs=1)[0].metrics
        for n in (1, 3)
    )
    assert parts["train_loss"] == pytest.approx(whole["train_loss"], rel=1e-4)


def test_drop_path_is_of_training_alone_and_changes_no_weight_names() -> None:
    plain, dropping = (
        Trainer(config(model={"depth": 2}, training={"drop_path": d}), 1) for d in (0.0, 0.5)
    )
    names = [list(each.model.state_dict()) for each in (plain, dropping)]
    assert names[0] == names[1]
    losses = [each.evaluate(each.splits.val).loss for each in (plain, dropping)]
    assert losses[0] == losses[1]
    trained = [train(each, epochs=1)[0].metrics["train_loss"] for each in (plain, dropping)]
    assert trained[0] != trained[1]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_steps_train_as_the_others_and_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: real(model, backend=backend))
    settings = {"compile": True, "epochs": 2, "batch_size": 512}
    plain = train(Trainer(config(training={**settings, "compile": False}), 1))
    whole = Trainer(config(training=settings), 1, folder=tmp_path)
    results = train(whole)
    for ours, theirs in zip(plain, results, strict=True):
        assert theirs.metrics["train_loss"] == pytest.approx(ours.metrics["train_loss"], rel=1e-3)
    assert whole.computed()["compiled"] is True
    uncompiled = Trainer(config(), 1).model.state_dict()
    assert whole.model.state_dict().keys() == uncompiled.keys()
    for path in tmp_path.glob("epoch-00002.*"):
        path.unlink()
    again = Trainer(config(training=settings), 1, folder=tmp_path, resume_at_most=1)
    assert train(again)[-1].metrics == results[-1].metrics


def test_bf16_on_a_gpu_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("karat.training.steps.device._has_bf16", lambda _: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    message = r"training\.precision = 'bf16': Tesla T4 has no bfloat16.*Ampere.*use float32"
    with pytest.raises(SettingError, match=message):
        check_device(StepConfig(precision="bf16"), GPU)
    check_device(StepConfig(), GPU)
    check_device(StepConfig(precision="bf16"), torch.device("cpu"))


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(SettingError, match=r"a C\+\+ compiler \(no-such-compiler\)"):
        check_device(StepConfig(compile=True), torch.device("cpu"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SettingError, match="the package triton"):
        check_device(StepConfig(compile=True), GPU)
