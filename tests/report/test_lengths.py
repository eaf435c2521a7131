"""What longer training gave an arm, where runs of it failed."""

from karat.report.facts.lengths import Length, gained
from karat.statistics.comparison import Rule

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
