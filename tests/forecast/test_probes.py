"""Which configurations share a probe, which stand for an arm, and how probes run together."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from karat.errors import TrialError
from karat.execution.placement import measure
from karat.forecast import predictions as module
from karat.forecast.predictions import Predictions
from karat.forecast.probes import Measured, Process, read_probes
from karat.forecast.speed.times import Times
from karat.forecast.typical import typical_configs
from karat.journal.layout import PROBES
from karat.space.reader import load_space

WriteSpace = Callable[..., Path]
TWO_DEPTHS: list[dict[str, Any]] = [
    {"data": {"name": "digits"}, "model": {"name": "vit_micro", "depth": depth},
     "attention": {"basis": "softmax"}, "training": {"recipe": "quick"}}
    for depth in (1, 2)
]  # fmt: skip


def measured(step_s: float = 0.1) -> Measured:
    return Measured(
        base_bytes=2**30,
        peak_bytes=2**31,
        step_s=step_s,
        evaluation_s=0.0,
        save_s=0.0,
        steps=10,
        validated=0,
    )


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """Configurations that were probed, without training."""
    configs: list[Mapping[str, Any]] = []

    def probe(sections: Mapping[str, Any], **_: object) -> Measured:
        configs.append(sections)
        return measured()

    monkeypatch.setattr(module, "probe", probe)
    monkeypatch.setattr(Predictions, "_count", lambda *_: (2**30, 1.0))
    return configs


def test_settings_that_change_only_the_first_weights_or_the_tests_make_no_other_shape() -> None:
    sections: dict[str, dict[str, Any]] = {
        "data": {"name": "digits"},
        "model": {"name": "vit_micro", "patch_size": 2},
        "attention": {"basis": "fourier"},
        "training": {"recipe": "quick", "learning_rate": 0.1},
    }
    shape = Process().shape_of(sections)
    free = {**sections, "model": {**sections["model"], "weight_init": "jax", "pos_embed_std": 0.5}}
    assert Process().shape_of(free) == shape
    tested = {**sections, "data": {"name": "digits", "corruptions": ["noise"], "split_seed": 1}}
    assert Process().shape_of(tested) == shape
    assert Process().shape_of({**sections, "attention": {"basis": "rational"}}) != shape
    assert Process(threads=2).shape_of(sections) != shape


def test_what_is_done_to_images_in_a_step_makes_another_shape_and_how_strongly_does_not() -> None:
    def shape(**training: Any) -> str:
        return Process().shape_of({**TWO_DEPTHS[0], "training": {"recipe": "quick", **training}})

    settings: tuple[dict[str, Any], ...] = (
        {"flip": 0.5},
        {"rand_augment": "rand-m9-n2"},
        {"mixup": 0.8},
        {"drop_path": 0.1},
    )
    assert len({shape(), *(shape(**each) for each in settings)}) == 5
    assert shape(flip=0.5) == shape(flip=0.2)
    assert shape(rand_augment="rand-m9-n2") == shape(rand_augment="rand-m5-n2-mstd0.5")
    assert shape(drop_path=0.1) == shape(drop_path=0.2)


def test_an_arm_whose_tuned_parameters_change_its_costs_has_several_typical_configurations(
    write_space: WriteSpace,
) -> None:
    plain = load_space(write_space())
    assert all(len(typical_configs(plain, arm)) == 1 for arm in plain.arms.values())
    tuned = (
        "log: true}\nsearch",
        "log: true}\n  attention.output_scale: {values: [1, learned]}\n"
        "  model.depth: {low: 1, high: 40}\nsearch",
    )
    space = load_space(write_space((", depth: 1", ""), tuned))
    for arm in space.arms.values():
        first, again = typical_configs(space, arm), typical_configs(space, arm)
        assert first == again
        assert len({each["model"]["depth"] for each in first}) > 1
        assert all(isinstance(each["model"]["depth"], int) for each in first)


def test_measuring_probes_each_shape_once_and_says_how_long_it_takes(
    write_space: WriteSpace, tmp_path: Path, probed: list[Mapping[str, Any]]
) -> None:
    space = load_space(write_space())
    console = Console(record=True, width=80, quiet=False)
    measure(space, tmp_path, console)
    assert len(probed) == len(space.arms) == 3
    said = console.export_text()
    assert "measuring steps and memory of 3 shapes" in said
    assert ": about " in said
    measure(space, tmp_path, console)
    assert len(probed) == 3
    times = Times(space.resources, tmp_path, ())
    assert len(read_probes(tmp_path / PROBES)) == 3
    assert times.slowness > 0


def test_probes_run_together_as_trials_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2, timeout=30)

    def probe(sections: Mapping[str, Any], **_: object) -> Measured:
        together.wait()  # raises unless another probe runs beside it
        return measured()

    monkeypatch.setattr(module, "probe", probe)
    monkeypatch.setattr(Predictions, "_count", lambda *_: (2**30, 1.0))
    predictions = Predictions(tmp_path / "probes.json", Process())
    assert list(predictions.measure_all(TWO_DEPTHS, 2)) == [1, 2]
    assert predictions.unknown(TWO_DEPTHS) == []


def test_a_probe_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def probe(sections: Mapping[str, Any], **_: object) -> Measured:
        if sections["model"]["depth"] == 1:
            raise TrialError("the probe of a configuration failed: no memory")
        return measured()

    monkeypatch.setattr(module, "probe", probe)
    monkeypatch.setattr(Predictions, "_count", lambda *_: (2**30, 1.0))
    predictions = Predictions(tmp_path / "probes.json", Process())
    assert list(predictions.measure_all(TWO_DEPTHS, 1)) == [1, 2]
    assert predictions.unknown(TWO_DEPTHS) == TWO_DEPTHS[:1]
    assert "no memory" in caplog.text
