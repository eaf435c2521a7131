"""Whole studies with a known truth, and whether their reports say what is so: for `benchmarks.evidence`."""

import statistics
from dataclasses import dataclass

from benchmarks.evidence_curves import HIGH, LEARNING_RATE, LOW, POINT, KnownCurves, Landscape
from karat.forecast.simulator import simulate
from karat.journal.state import StudyState
from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.summary import Summary, summarise
from karat.seeds import derive
from karat.space.reader import space_of
from karat.space.space import Space
from karat.statistics.comparison import Comparison

ALPHA = 0.05
TUNINGS = 5
TRIALS_PER_ARM, SEEDS = 10, 5  # in total, whatever the number of tunings
WORKERS = 2
REFERENCE = "softmax"


@dataclass(frozen=True, kw_only=True)
class Question:
    """A kind of study, simulated many times.

    Args:
        landscape: of the tuned learning rate.
        others: number of arms beside the reference.
        tunings: of each arm, which share its trials and seeds.
        difference: points by which all the others are truly better.
        failing: share of the seeds of the first of the others that fail.
        trials: of the search, for each arm.
        shortlist: cells of each arm that are trained again with two fresh seeds before one is confirmed.
    """

    landscape: Landscape
    others: int
    tunings: int
    difference: float = 0.0
    failing: float = 0.0
    trials: int = TRIALS_PER_ARM
    shortlist: int = 1

    @property
    def labels(self) -> list[str]:
        """Of the arms, the reference first."""
        return [REFERENCE, *(f"fourier grid_size={each}" for each in range(1, self.others + 1))]

    def space(self, seed: int) -> Space:
        """The question as a space."""
        source = {
            "question": "Do the verdicts keep what they promise?",
            "seed": seed,
            "data": {"name": "digits"},
            "model": {"name": "vit_micro", "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 2},
            "attention": {"rank": 4},
            "training": {"recipe": "quick", "epochs": self.landscape.epochs, "warmup_epochs": 0},
            "reference": {"attention.basis": REFERENCE},
            "factors": {
                "attention.basis": [REFERENCE, "fourier"],
                "attention.grid_size": {
                    "values": list(range(1, self.others + 1)),
                    "when": {"attention.basis": "fourier"},
                },
            },
            "tuned": {LEARNING_RATE: {"low": LOW, "high": HIGH, "log": True}},
            "search": {"sampler": "tpe", "trials": self.trials * (1 + self.others)},
            "early_stopping": dict(self.landscape.early_stopping),
            "confirm": {
                "by": "attention.grid_size",
                "seeds": SEEDS,
                "tunings": self.tunings,
                "alpha": ALPHA,
                "shortlist": self.shortlist,
            },
        }  # fmt: skip
        return space_of(source, "evidence", "benchmarks.evidence")

    def curves(self, seed: int) -> KnownCurves:
        """Curves with the truth that this question is about."""
        failing = {self.labels[1]: self.failing} if self.failing else {}
        return KnownCurves(
            landscape=self.landscape,
            arms=self.labels,
            difference=self.difference,
            failing=failing,
            study=seed,
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of one study.

    Args:
        false: some arm was called better or worse than the reference, and is not.
        false_levels: the same between two of the other arms; None where there is only one.
        found: share of the truly better arms that were called better; None where there are none.
        covered: share of the intervals that contain the true difference of the arm.
        covered_cells: share of the intervals that contain the true difference of the cells confirmed.
        headline_covered: whether the interval of the arm that the answer is about contains its true
            difference; None where it has no interval.
        compared: number of arms with an interval.
        below_tried: points by which the cells confirmed are truly below the best cell that the search of
            their arm has tried; mean over arms and tunings.
        below_best: the same, below the best learning rate that there is.
        runs: of all phases.
    """

    false: bool
    false_levels: bool | None
    found: float | None
    covered: float | None
    covered_cells: float | None
    headline_covered: bool | None
    compared: int
    below_tried: float
    below_best: float
    runs: int


def run(question: Question, number: int, seed: int) -> Outcome:
    """Simulate one study, from its search to its verdicts.

    Args:
        question: the kind of study.
        number: of the study.
        seed: of all studies.
    """
    name = (question.landscape.name, question.others, question.tunings)
    own = derive(seed, *name, question.difference, question.failing, number)
    curves = question.curves(own)
    state = simulate(question.space(own), None, WORKERS, curves).state
    summary = summarise(state)
    if not summary.is_final:
        raise RuntimeError(f"study {number} of {question} is {state.status}, and has no verdicts")
    return judge(summary, curves, state)


def judge(summary: Summary, curves: KnownCurves, state: StudyState) -> Outcome:
    """Compare the verdicts of a study, and the cells that it confirmed, with the truth."""
    below_tried, below_best = _below(state, curves)
    others = [arm for arm in summary.others if arm.comparison is not None]
    known = {arm.label: arm.comparison for arm in others if arm.comparison is not None}
    reference = summary.references[0]
    true = {arm.label: curves.truth(arm.label) * POINT for arm in others}
    covers = {label: _covers(each, true[label]) for label, each in known.items()}
    cells = [_covers(known[arm.label], _of_cells(arm, reference, curves)) for arm in others]
    chosen = summary.headline
    better = [label for label, each in true.items() if each > 0]
    return Outcome(
        false=any(_is_false(each, true[label]) for label, each in known.items()),
        false_levels=any(each.verdict in ("better", "worse") for each in summary.pairs)
        if summary.pairs
        else None,
        found=_share([known[label].verdict == "better" for label in better]),
        covered=_share(list(covers.values())),
        covered_cells=_share(cells),
        headline_covered=None if chosen is None else covers[chosen.label],
        compared=sum(each is not None for each in covers.values()),
        below_tried=below_tried,
        below_best=below_best,
        runs=len(state.trials),
    )


def _below(state: StudyState, curves: KnownCurves) -> tuple[float, float]:
    """`below_tried` and `below_best` of a study."""
    assert state.confirmation is not None
    tried, best = [], []
    for cell in state.confirmation["cells"]:
        arm, tuning = cell["arm"], cell.get("tuning", 0)
        own = curves.expected(arm, cell["tuned"])
        known = (t for t in state.of_phase("search") if (t.arm, t.tuning) == (arm, tuning))
        tried.append(max(curves.expected(arm, trial.tuned) for trial in known) - own)
        best.append(curves.best(arm) - own)
    return statistics.fmean(tried) / POINT, statistics.fmean(best) / POINT


def _is_false(found: Comparison, true: float) -> bool:
    return (found.verdict == "better" and true <= 0) or (found.verdict == "worse" and true >= 0)


def _covers(found: Comparison, true: float) -> bool | None:
    if found.low is None or found.high is None:
        return None
    return found.low <= true <= found.high


def _of_cells(arm: ConfirmedArm, reference: ConfirmedArm, curves: KnownCurves) -> float:
    """True difference of the cells that were confirmed, in the metric's unit; mean over tunings."""

    def mean(each: ConfirmedArm) -> float:
        values = [curves.expected(each.label, cell.tuned) for cell in each.cells]
        return sum(values) / len(values)

    return mean(arm) - mean(reference)


def _share(held: list[bool | None] | list[bool]) -> float | None:
    known = [each for each in held if each is not None]
    return sum(known) / len(known) if known else None
