"""The simulator runs the real plan, early stopping and journal on a virtual clock."""

import io
import json
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from karat.cli.dry_run import print_plan
from karat.cli.main import main
from karat.errors import InputError
from karat.forecast.curves import ModelledCurves, RecordedCurves, TrialInfo
from karat.forecast.simulator import Simulated, simulate
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.journal.wording import study_text
from karat.planning.replay import replay
from karat.space.reader import load_space
from karat.space.space import Space
from karat.study.study import Study
from tests.conftest import ROOT
from tests.costs import calls_of, finished

FOURIER = ROOT / "search_spaces" / "fourier_grid.yaml"
WriteSpace = Callable[..., Path]


def curves_of(space: Space, epoch_s: float = 60.0, seed: int = 0) -> ModelledCurves:
    return ModelledCurves(seed, dict.fromkeys(space.arms, epoch_s), space.search.mode)


def run(space: Space, folder: Path, workers: int, driver_s: float = 0.0) -> Simulated:
    return simulate(space, folder, workers, curves_of(space), driver_s)


def test_simulated_study_is_whole_and_replays(small_space: Space, tmp_path: Path) -> None:
    found = run(small_space, tmp_path / "s", 2)
    assert found.state.status == "completed"
    assert Counter(t.arm for t in found.state.of_phase("search")) == dict.fromkeys(
        small_space.arms, 2
    )
    events = list(read_events(tmp_path / "s" / JOURNAL))
    assert not list(replay(small_space, events))
    assert found.wall_s == pytest.approx(3600 * found.state.usage.until().wall_hours, abs=0.1)


def test_the_same_seed_gives_the_same_journal(small_space: Space, tmp_path: Path) -> None:
    told = []
    for name in ("one", "two"):
        run(small_space, tmp_path / name, 3)
        events = read_events(tmp_path / name / JOURNAL)
        told.append([(e.time, e.kind, dict(e.data)) for e in events if e.seq > 0])
    assert told[0] == told[1]


def test_more_workers_take_less_time_and_idle_more(small_space: Space, tmp_path: Path) -> None:
    one, four = (run(small_space, tmp_path / str(n), n) for n in (1, 4))
    assert one.utilisation == pytest.approx(1.0)
    assert four.wall_s < one.wall_s
    assert four.utilisation < 1.0


def test_slow_driver_keeps_its_workers_waiting(small_space: Space, tmp_path: Path) -> None:
    free, slow = (run(small_space, tmp_path / str(s), 4, s) for s in (0.0, 30.0))
    assert slow.wall_s >= 30.0 * len(slow.report_s)
    assert slow.utilisation < free.utilisation


@pytest.mark.slow
def test_report_costs_the_driver_no_more_with_64_trials_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, on_report = load_space(FOURIER, {"search.trials": "180"}), Study.on_report
    calls: list[int] = []

    def counted(*arguments: Any) -> bool:
        answers = []
        calls.append(calls_of(lambda: answers.append(on_report(*arguments))))
        return answers[0]

    monkeypatch.setattr(Study, "on_report", counted)
    found = []
    for workers in (4, 64):
        calls.clear()
        run(space, tmp_path / str(workers), workers)
        assert len(calls) > 500
        found.append((statistics.median(calls), statistics.fmean(calls)))
    (few, few_mean), (many, many_mean) = found
    assert many < 1.1 * few
    assert many_mean < 1.1 * few_mean


def test_recorded_curves_are_those_of_the_study(small_space: Space, tmp_path: Path) -> None:
    state = run(small_space, tmp_path / "s", 2).state
    curves = RecordedCurves(state)
    trial = next(t for t in state.trials.values() if t.status == "completed")
    known = {
        tuple(r.metrics["val_accuracy"] for r in t.reports)
        for t in state.trials.values()
        if t.arm == trial.arm and t.status == "completed"
    }
    info = TrialInfo(arm=trial.arm, tuned={}, number=7, seed=0, epochs=trial.epochs)
    assert tuple(curves.value(info, epoch) for epoch in range(1, trial.epochs + 1)) in known
    assert curves.value(info, 100) == curves.value(info, trial.epochs)
    assert simulate(small_space, tmp_path / "again", 2, curves).state.status == "completed"
    with pytest.raises(InputError, match="no trial of this study was completed"):
        RecordedCurves(StudyState())


def test_modelled_curves_rise_towards_a_plateau_in_either_mode() -> None:
    info = TrialInfo(arm="a", tuned={}, number=3, seed=0, epochs=50)
    up, down = (ModelledCurves(0, {"a": 1.0}, mode, noise=0.0) for mode in ("max", "min"))
    values = [up.value(info, epoch) for epoch in range(1, 51)]
    assert values == sorted(values)
    assert values[-1] - values[-2] < values[1] - values[0]
    assert down.value(info, 5) == pytest.approx(1 - up.value(info, 5))


def test_simulation_ends_with_its_budget(write_space: WriteSpace, tmp_path: Path) -> None:
    space = load_space(write_space(("search: {", "budget: {wall_hours: 0.1}\nsearch: {")))
    found = run(space, tmp_path / "s", 2)
    assert found.state.status == "interrupted"
    assert study_text(found.state).startswith("budget.wall_hours = 0.1 is spent")


def test_command_prints_every_figure(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["simulate", "--space", str(write_space()), "--workers", "3"]
    assert main([*given, "--json"]) == 0
    data: Mapping[str, Mapping[str, float]] = json.loads(capsys.readouterr().out)
    assert data["trials"]["confirm"]["completed"] == 6  # type: ignore[index]
    assert 0 < data["driver"]["report_ms"] <= data["driver"]["slowest_report_ms"]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "small on 3 workers, simulated with epochs of " in said
    assert "as `--dry-run` plans them here" in said
    assert main([*given, "--epoch-s", "60"]) == 0
    assert "simulated with an epoch of 1.0 min in every arm" in capsys.readouterr().out
    assert main([*given[:-1], "0"]) == 2
    assert "--workers 0: must be from 1 to 10000" in capsys.readouterr().err


THOUSAND = (
    ("attention.basis: [softmax, fourier]", "attention.basis: [softmax, fourier]\n  training.weight_decay: {values: [0.01, 0.02, 0.03, 0.04, 0.05]}\n  model.embed_dim: [12, 24, 36, 48]"),
    ("{values: [1, 2], ", "{values: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], "),
    ("reference: {", "reference: {training.weight_decay: 0.01, model.embed_dim: 12, "),
    ("tuned:", "  attention.block_sharing: {values: [blockwise, universal], when: {attention.basis: fourier}}\n  attention.init: {values: [fan_in, paper], when: {attention.basis: fourier}}\ntuned:"),
    ("embed_dim: 12, ", ""),
    ("trials: 6", "trials: 1000"),
)  # fmt: skip

# Of these a fifth.
FEWER = ("{values: [0.01, 0.02, 0.03, 0.04, 0.05]}", "{values: [0.01]}")


def test_dry_run_of_a_thousand_arms_needs_no_torch_and_gives_the_price(
    write_space: WriteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = write_space(*THOUSAND[::-1])
    assert len(load_space(space).arms) == 980
    monkeypatch.setenv("COLUMNS", "200")
    found = finished("launch.py", "--space", str(space), "--dry-run")
    assert found.status == 0
    assert not {"torch", "ray", "mlflow"} & found.packages
    for part in ("1000 trials", "epochs", "p10", "p90", "CPU-hours", "disk", "no price"):
        assert part in found.output
    assert "... and 920 more arms" in found.output


@pytest.mark.slow
def test_dry_run_costs_no_more_for_each_of_many_arms(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    calls = {}
    for exchanges in (THOUSAND, (FEWER, *THOUSAND)):
        path = write_space(*exchanges[::-1])

        def plan(path: Path = path) -> None:
            print_plan(load_space(path), Console(file=io.StringIO()), tmp_path, {})

        calls[len(load_space(path).arms)] = calls_of(plan)
    assert calls.keys() == {196, 980}
    assert calls[980] / 980 < calls[196] / 196
    assert calls[980] < 2 * 2_600_000  # measured; under a second


def test_a_study_kept_in_memory_is_the_one_on_disk(small_space: Space, tmp_path: Path) -> None:
    on_disk, kept = (
        simulate(small_space, folder, 2, curves_of(small_space))
        for folder in (tmp_path / "s", None)
    )
    assert kept.wall_s == on_disk.wall_s
    assert kept.state.status == "completed"
    assert kept.state.confirmation == on_disk.state.confirmation
    assert kept.state.trials == on_disk.state.trials
