"""What longer training gave an arm, and what it says of whether that arm was finished."""

import pytest

from karat.report.facts.lengths import Length, gained
from karat.report.facts.progress import Sign, progress_of
from karat.report.facts.search_summary import by_arm
from karat.report.facts.summary import summarise
from karat.statistics.comparison import Rule
from tests import journals

RULE = Rule(mode="max", smallest_difference=0.01, alpha=0.05, worst=0.0)
SHORTER = {0: 0.900, 1: 0.902, 2: 0.899, 3: 0.901, 4: 0.903}
LONGER = {seed: value + 0.001 * (-1) ** seed for seed, value in SHORTER.items()}


def length(budget: int, runs: dict[int, float], failed: tuple[int, ...] = ()) -> Length:
    return Length(
        budget=budget,
        epochs=10 * budget,
        runs={"arm": runs},
        test={},
        comparisons={},
        failed={"arm": failed},
    )


def test_training_is_finished_where_longer_training_gives_the_same() -> None:
    assert gained("arm", length(1, SHORTER), length(2, LONGER), RULE).verdict == "equivalent"


def test_training_whose_longer_runs_fail_is_not_called_finished() -> None:
    longer = {seed: value for seed, value in LONGER.items() if seed < 3}
    found = gained("arm", length(1, SHORTER), length(2, longer, failed=(3, 4)), RULE)
    assert found.verdict == "inconclusive"
    assert found.with_failures is not None


@pytest.mark.parametrize(("gain", "is_sign"), [(0.001, True), (0.0, False), (-0.02, False)])
def test_a_high_training_loss_is_no_sign_where_longer_training_gave_nothing(
    gain: float, is_sign: bool
) -> None:
    state = journals.study().state
    summary = summarise(state)
    runs = by_arm(state.of_phase("confirm"))
    assert Sign.TRAIN_LOSS in summary.progress["softmax"].signs
    lengths = [
        Length(
            budget=budget,
            epochs=10 * budget,
            runs={"softmax": dict.fromkeys(range(5), 0.7 + (budget - 1) * gain)},
            test={},
            comparisons={},
            failed={},
        )
        for budget in (1, 2)
    ]
    found = progress_of(runs, summary.metric, summary.rule, lengths)
    assert (Sign.TRAIN_LOSS in found["softmax"].signs) == is_sign
