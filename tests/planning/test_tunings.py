"""Independent tunings of every arm: each has its own search, its own cell, and its share of the seeds."""

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from karat.cli.dry_run import print_plan
from karat.errors import InputError
from karat.forecast.curves import ModelledCurves
from karat.forecast.simulator import Simulated, simulate
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.planning.replay import replay
from karat.report.answer import answer
from karat.report.facts.summary import summarise
from karat.report.sections import sections
from karat.space.reader import load_space
from karat.space.space import Space
from tests.simulated import findings

WriteSpace = Callable[..., Path]
TWICE = (("trials: 6", "trials: 12"), ("seeds: 2", "seeds: 4, tunings: 2"))


@pytest.fixture
def space(write_space: WriteSpace) -> Space:
    return load_space(write_space(*TWICE))


@pytest.fixture
def done(space: Space, tmp_path: Path) -> Simulated:
    curves = ModelledCurves(0, dict.fromkeys(space.arms, 1.0))
    return simulate(space, tmp_path / "s", 2, curves)


def test_each_tuning_has_the_same_trials_its_own_cell_and_its_own_seeds(
    done: Simulated, space: Space
) -> None:
    state = done.state
    searched = Counter((t.arm, t.tuning) for t in state.of_phase("search"))
    assert searched == {(arm, tuning): 2 for arm in space.arms for tuning in (0, 1)}
    assert state.confirmation is not None
    for cell in state.confirmation["cells"]:
        trial = state.trials[cell["trial"]]
        assert (trial.arm, trial.tuning) == (cell["arm"], cell.get("tuning", 0))
    seeds = {
        (t.arm, t.tuning): {u.seed for u in state.of_phase("confirm") if (u.arm, u.tuning) == key}
        for t in state.of_phase("confirm")
        for key in [(t.arm, t.tuning)]
    }
    assert all(len(each) == 2 for each in seeds.values())
    assert not seeds["softmax", 0] & seeds["softmax", 1]
    assert seeds["softmax", 0] == seeds["fourier grid_size=1", 0]  # so that they are paired


def test_tunings_have_different_draws(done: Simulated) -> None:
    first, second = (
        [t.tuned for t in done.state.of_phase("search") if t.arm == "softmax" and t.tuning == n]
        for n in (0, 1)
    )
    assert all(one not in second for one in first)


def test_a_study_with_tunings_is_whole_and_replays(
    done: Simulated, space: Space, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    assert done.state.status == "completed"
    assert not list(replay(space, list(read_events(folder / JOURNAL))))
    assert findings(folder) == []


def test_the_report_compares_tunings_and_says_what_that_covers(done: Simulated) -> None:
    summary = summarise(done.state)
    arm = summary.others[0]
    assert arm.comparison is not None
    assert (arm.comparison.n, arm.completed, arm.planned, len(arm.cells)) == (2, 4, 4, 2)
    runs, base = arm.runs, summary.references[0].runs
    means = [sum(runs[i] - base[i] for i in (t, t + 2)) / 2 for t in (0, 1)]
    assert arm.comparison.difference == pytest.approx(sum(means) / 2)
    assert "best in the search and tuned 2 times from the start" in answer(summary)
    assert "(2 tunings, 95 % interval" in answer(summary)
    notes = " ".join(sections(summary)[0].paragraphs)
    assert "Each arm was tuned 2 times, independently" in notes
    assert "hold for the arms with this tuning procedure" in notes


def test_one_tuning_claims_cells_only(small_space: Space, tmp_path: Path) -> None:
    curves = ModelledCurves(0, dict.fromkeys(small_space.arms, 1.0))
    summary = summarise(simulate(small_space, tmp_path / "s", 2, curves).state)
    assert "as tuned here" in answer(summary)
    notes = " ".join(sections(summary)[0].paragraphs)
    assert "hold for these cells, as this one search found them" in notes


def test_the_plan_names_tunings_and_their_price(space: Space, tmp_path: Path) -> None:
    output = io.StringIO()
    print_plan(space, Console(file=output, width=300), tmp_path, {})
    text = output.getvalue()
    assert "confirmation  12 trials: 3 cells" in text
    assert "x 2 tunings x 2 fresh seeds" in text


@pytest.mark.parametrize(
    ("exchanges", "message"),
    [
        ([("seeds: 2", "seeds: 4, tunings: 3")], "must divide the 4 seeds"),
        (
            [("seeds: 2", "seeds: 4, tunings: 4")],
            "must be at least 12, one for each arm and tuning",
        ),
        (
            [
                ("trials: 6", "trials: 12, allocation: free"),
                ("seeds: 2", "seeds: 4, tunings: 2"),
            ],
            "must be 1 for search.allocation: free",
        ),
        (
            [
                ("trials: 6", "trials: 24"),
                ("by: attention.grid_size, seeds: 2", "by: attention.basis, seeds: 4, tunings: 2"),
            ],
            "must be 1 if a level of attention.basis has several arms, as fourier has",
        ),
    ],
)
def test_tunings_that_cannot_be_are_refused(
    write_space: WriteSpace, exchanges: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_space(write_space(*exchanges))


def test_by_level_tunes_both_sides_of_a_comparison_with_as_many_trials(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = load_space(
        write_space(
            ("trials: 6", "trials: 8, allocation: by_level"),
            ("by: attention.grid_size", "by: attention.basis"),
        )
    )
    curves = ModelledCurves(0, dict.fromkeys(space.arms, 1.0))
    done = simulate(space, tmp_path / "s", 2, curves)
    counts = Counter(trial.arm for trial in done.state.of_phase("search"))
    assert counts == {"softmax": 4, "fourier grid_size=1": 2, "fourier grid_size=2": 2}
    facts = summarise(done.state).search
    assert facts.tuned == {"softmax": 4, "basis=fourier": 4}
