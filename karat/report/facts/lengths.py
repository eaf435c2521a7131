"""The confirmation at several lengths of training: what each gives, and what training on would change.

Whether training was finished is a question to longer training, not to a curve: a schedule that anneals the
learning rate flattens every curve at its end. `confirm.budgets` trains each cell for several multiples of the
epochs, with the same seeds.
"""

import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from karat.journal.outcomes import failed_seeds, test_values
from karat.journal.trial import Trial
from karat.statistics.comparison import Comparison, Rule, compare
from karat.statistics.metric import Metric
from karat.statistics.samples import Runs, Sample, describe, values_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """The results at one length of training.

    Args:
        budget: multiple of the epochs of the search.
        epochs: of a run; 0 without runs.
        runs: seed index to test value, by label.
        test: over the completed runs of each arm.
        comparisons: with the references, by label; the family of this length.
        failed: seed indices of the runs that failed, by label.
    """

    budget: int
    epochs: int
    runs: Mapping[str, Runs]
    test: Mapping[str, Sample]
    comparisons: Mapping[str, Comparison]
    failed: Mapping[str, tuple[int, ...]]


def of_budget(runs: Mapping[str, Sequence[Trial]], budget: int) -> dict[str, list[Trial]]:
    """The trials of one length, by label."""
    return {label: [t for t in trials if t.budget == budget] for label, trials in runs.items()}


def length_of(
    trials: Mapping[str, Sequence[Trial]],
    against: Mapping[str, str],
    budget: int,
    metric: Metric,
    rule: Rule,
) -> Length:
    """The results of trials of one length.

    Args:
        trials: of the confirmation, by label.
        against: label of an arm to that of its reference.
        budget: multiple of the epochs.
        metric, rule: of the study.
    """
    runs = {label: test_values(of_arm, metric) for label, of_arm in trials.items()}
    failed = {label: failed_seeds(of_arm) for label, of_arm in trials.items()}
    epochs = [trial.epochs for of_arm in trials.values() for trial in of_arm]
    return Length(
        budget=budget,
        epochs=int(plain.median(epochs)) if epochs else 0,
        runs=runs,
        test={
            label: describe(values_of(each, rule.tunings), rule.alpha)
            for label, each in runs.items()
        },
        comparisons=compare(runs, against, rule, failed),
        failed=failed,
    )


def gained(label: str, shorter: Length, longer: Length, rule: Rule) -> Comparison:
    """What longer training gave an arm, paired by seed: `better` is a gain beyond doubt, failed runs counted."""
    both = {"longer": longer, "shorter": shorter}
    runs = {name: length.runs.get(label, {}) for name, length in both.items()}
    failed = {name: length.failed.get(label, ()) for name, length in both.items()}
    return compare(runs, {"longer": "shorter"}, rule, failed)["longer"]
