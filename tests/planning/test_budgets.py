"""The confirmation at several lengths of training, with the same cells and seeds."""

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from karat.cli.dry_run import print_plan
from karat.errors import InputError
from karat.forecast.curves import TrialInfo
from karat.forecast.simulator import Simulated, simulate
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.planning.replay import replay
from karat.report.answer import answer
from karat.report.facts.progress import Sign
from karat.report.facts.summary import summarise
from karat.report.sections import sections
from karat.space.reader import load_space
from karat.space.space import Space
from tests.simulated import findings

WriteSpace = Callable[..., Path]
TWO = (
    ("seeds: 2", "seeds: 5, budgets: [1, 2]"),
    ("scheduler: asha, grace_epochs: 1, reduction_factor: 3", "scheduler: none"),
)


class Slow:
    """Softmax needs eight epochs, the others are done after four; seeds vary a little."""

    def value(self, trial: TrialInfo, epoch: int) -> float:
        noise = ((trial.seed * 2654435761) % 1000 - 500) / 1e6
        if trial.arm == "softmax":
            return 0.5 + 0.05 * min(epoch, 8) + noise * epoch
        return 0.9 + noise + 1e-4 * epoch * (trial.seed % 3)

    def seconds(self, trial: TrialInfo, epoch: int) -> float:
        return 1.0


@pytest.fixture
def space(write_space: WriteSpace) -> Space:
    return load_space(write_space(*TWO))


@pytest.fixture
def done(space: Space, tmp_path: Path) -> Simulated:
    return simulate(space, tmp_path / "s", 2, Slow())


def test_every_seed_of_every_cell_is_trained_with_each_length(
    done: Simulated, space: Space
) -> None:
    runs = done.state.of_phase("confirm")
    assert Counter((t.arm, t.budget, t.epochs) for t in runs) == {
        (arm, budget, 4 * budget): 5 for arm in space.arms for budget in (1, 2)
    }
    seeds = {t.budget: {u.seed for u in runs if u.budget == t.budget} for t in runs}
    assert seeds[1] == seeds[2]
    for trial in runs:
        assert trial.config["training"]["epochs"] == trial.epochs
        best = next(c for c in done.state.confirmation["cells"] if c["arm"] == trial.arm)  # type: ignore[index]
        assert trial.tuned == best["tuned"]


def test_a_study_with_lengths_is_whole_and_replays(
    done: Simulated, space: Space, tmp_path: Path
) -> None:
    assert done.state.status == "completed"
    assert not list(replay(space, list(read_events(tmp_path / "s" / JOURNAL))))
    assert findings(tmp_path / "s") == []


def test_the_verdict_is_about_the_longest_training_and_the_others_are_told(done: Simulated) -> None:
    summary = summarise(done.state)
    assert [length.epochs for length in summary.lengths] == [4, 8]
    arm = summary.others[0]
    assert arm.comparison is not None
    assert arm.comparison.n == 5
    assert arm.comparison.difference == summary.lengths[-1].comparisons[arm.label].difference
    assert arm.runs.keys() == summary.lengths[0].runs[arm.label].keys()
    text = answer(summary)
    assert "after 8 epochs" in text
    assert "With shorter training the difference was +20." in text
    assert " points after 4 epochs." in text
    table = next(
        each
        for part in sections(summary)
        for each in part.tables
        if each.title == "By length of training"
    )
    assert len(table.rows) == 3 * 2


def test_an_arm_that_longer_training_helps_is_called_unfinished_in_the_sentence_of_the_verdict(
    done: Simulated,
) -> None:
    summary = summarise(done.state)
    assert summary.progress["softmax"].signs == (Sign.LONGER,)
    assert summary.progress[summary.others[0].label].signs == ()
    assert ", at which softmax (+20." in answer(summary)
    assert "points from 4 to 8 epochs) looks unfinished" in answer(summary)


def test_finished_training_is_said_where_longer_training_changed_nothing(
    space: Space, tmp_path: Path
) -> None:
    class Done(Slow):
        def value(self, trial: TrialInfo, epoch: int) -> float:
            higher = 0.02 * (trial.arm != "softmax")
            own = trial.seed % (3 if trial.arm == "softmax" else 4)
            return 0.9 + higher + 1e-4 * (trial.seed % 5) + 1e-4 * (epoch > 4) * own

    text = answer(summarise(simulate(space, tmp_path / "s", 2, Done()).state))
    assert "better after 8 epochs, and training was finished: 4 epochs give the same within" in text


def test_the_plan_names_the_lengths_and_their_price(space: Space, tmp_path: Path) -> None:
    output = io.StringIO()
    print_plan(space, Console(file=output, width=300), tmp_path, {})
    assert "confirmation  30 trials: 3 cells" in output.getvalue()
    assert "x 5 fresh seeds x 1 and 2 times the epochs" in output.getvalue()
    # 6 trials of 4 epochs, then 3 x 5 of 4 and of 8
    assert "epochs        204\n" in output.getvalue()


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ("[2, 1]", "must be multiples of the epochs, each above the one before"),
        ("[1, 1]", "must be multiples of the epochs, each above the one before"),
        ("[0, 1]", "must be multiples of the epochs, each above the one before"),
        ("[]", "must have at least one multiple of the epochs"),
        ("[1, 1000]", "must be at most 100"),
    ],
)
def test_lengths_that_do_not_increase_are_refused(
    write_space: WriteSpace, budgets: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_space(write_space(("seeds: 2", f"seeds: 2, budgets: {budgets}")))
