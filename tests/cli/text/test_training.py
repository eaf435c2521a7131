"""What a launch says of its training, and which machines it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from karat.cli.exit_status import OK, WRONG_INPUT
from karat.cli.launch import launch
from karat.cli.text.training import check_devices, training_notes
from karat.errors import InputError, SettingError
from karat.space.reader import load_space

WriteSpace = Callable[..., Path]
SHORT = (("epochs: 4", "epochs: 1"), ("asha, grace_epochs: 1, reduction_factor: 3", "none"))


def test_one_epoch_under_a_recipe_with_warm_up_is_planned_and_told(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(["--space", str(write_space(*SHORT)), "--dry-run"]) == OK
    said = " ".join(capsys.readouterr().out.split())
    assert "training the recipe's warm-up of 1 epoch would be more than half" in said


def test_nothing_is_told_of_a_training_as_long_as_its_recipe(write_space: WriteSpace) -> None:
    assert training_notes(load_space(write_space())) == []


def test_average_that_remembers_the_start_is_told(write_space: WriteSpace) -> None:
    space = load_space(write_space(("recipe: quick", "recipe: quick, ema_decay: 0.999")))
    [note] = training_notes(space)
    assert note.startswith("with training.ema_decay 0.999, 96 % of the averaged weights")


def test_machine_without_a_compiler_is_refused_before_the_launch(
    write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_space(("recipe: quick", "recipe: quick, compile: true"))
    check_devices(load_space(path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert launch(["--space", str(path), "--dry-run"]) == WRONG_INPUT
    said = " ".join(capsys.readouterr().err.split())
    assert f"{path}:6: training.compile = true: torch.compile needs a C++ compiler" in said


def test_gpu_without_bf16_is_refused_and_the_cpu_is_not(
    write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    monkeypatch.setattr("karat.training.steps.device._has_bf16", lambda _: False)
    bf16 = ("recipe: quick", "recipe: quick, precision: bf16")
    check_devices(load_space(write_space(bf16)))
    gpus = ("study: small", "study: small\nresources: {gpus: 1}")
    with pytest.raises(SettingError, match="Tesla T4 has no bfloat16"):
        check_devices(load_space(write_space(bf16, gpus)))


@pytest.mark.parametrize(
    ("key", "values"),
    [("precision", "[bf16, float32]"), ("compile", "[true, false]"), ("micro_batches", "[1, 2]")],
)
def test_how_steps_are_computed_is_a_factor_or_fixed_but_not_tuned(
    write_space: WriteSpace, key: str, values: str
) -> None:
    tuned = ("tuned:\n", f"tuned:\n  training.{key}: {{values: {values}}}\n")
    with pytest.raises(InputError, match=f"training.{key}: is the same for all arms"):
        load_space(write_space(tuned))
    factor = ("factors:\n", f"factors:\n  training.{key}: {values}\n")
    first = values.strip("[]").partition(",")[0]
    of_arm = ("reference: {", f"reference: {{training.{key}: {first}, ")
    assert len(load_space(write_space(factor, of_arm)).arms) == 6


def test_what_steps_are_made_of_can_be_tuned(write_space: WriteSpace) -> None:
    more = "".join(
        f"  training.{line}\n"
        for line in (
            "optimizer: {values: [adamw, lion, muon]}",
            "ema_decay: {low: 0.0, high: 0.9}",
            "drop_path: {low: 0.0, high: 0.2}",
            "layer_decay: {low: 0.5, high: 1.0}",
            "schedule: {values: [cosine, wsd]}",
            "warmup_epochs: {low: 0.0, high: 2.0}",
        )
    )
    assert len(load_space(write_space(("tuned:\n", f"tuned:\n{more}"))).tuned) == 7
