"""Names and phrases with which a report's sentences and tables speak of arms and verdicts."""

from karat.parameters import EACH_ARM, label_of
from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.interactions import Interaction
from karat.report.facts.progress import Progress, Sign
from karat.report.facts.summary import Summary
from karat.report.formatting import Units, listed, short, text_of
from karat.statistics.comparison import Comparison, Rule, Why
from karat.statistics.futility import FUTILE
from karat.statistics.samples import rate_interval


def name_of(arm: ConfirmedArm, summary: Summary) -> str:
    """How sentences speak of an arm: `fourier`, or `softmax at embed_dim=48` among matched levels."""
    if not summary.is_matched:
        return arm.label
    others = {key: level for key, level in arm.factors.items() if key not in summary.matched}
    at = {key: level for key, level in arm.factors.items() if key in summary.matched}
    places = (f"{short(key)}={text_of(level)}" for key, level in at.items())
    of_cost = "" if arm.raw is None else arm.label.removeprefix(arm.raw)
    return f"{label_of(others)} at {' '.join(places)}{of_cost}"


def reference_text(summary: Summary) -> str:
    """What a difference is a difference to: `softmax`, or `softmax at the same embed_dim`."""
    return summary.reference + (
        f" at the same {listed([short(key) for key in summary.matched])}"
        if summary.is_matched
        else ""
    )


def levels_text(summary: Summary) -> str:
    """What the confirmed arms are compared between: `the levels of grid_size`, or `the arms`."""
    return "the arms" if summary.by == EACH_ARM else f"the levels of {short(summary.by)}"


def contender_text(summary: Summary) -> str:
    """What the confirmed arms but the references are called together."""
    return summary.contender or "the best other arm"


def verdict_text(arm: ConfirmedArm, summary: Summary) -> str:
    """One word; `pending` until all runs of the confirmation have ended."""
    if arm.comparison is None:
        return "reference"
    return arm.comparison.verdict if summary.is_final else "pending"


def is_unfinished(label: str, summary: Summary) -> bool:
    """Whether an arm shows a sign of unfinished training."""
    known = summary.progress.get(label)
    return known is not None and bool(known.signs)


def marked_verdict_text(arm: ConfirmedArm, summary: Summary) -> str:
    """The verdict, and who was not trained to the end: `better; softmax unfinished`."""
    sides = [(arm.label, "")]
    if arm.against is not None:
        sides.append(
            (arm.against, f"{summary.reference if not summary.is_matched else 'reference'} ")
        )
    found = [f"{name}unfinished" for label, name in sides if is_unfinished(label, summary)]
    if len(found) == 2:
        found = ["both unfinished"]
    return "; ".join([verdict_text(arm, summary), *found])


def n_text(n: int, rule: Rule) -> str:
    """How many pairs a comparison has: `5 seeds`, or `4 tunings` where each arm was tuned anew."""
    unit = "seed" if rule.tunings == 1 else "tuning"
    return f"{n} {unit}{'s' * (n != 1)}"


def seeds_text(arm: ConfirmedArm, summary: Summary) -> str:
    """How many pairs a verdict rests on; where seeds were added, how the addition ended: `decided at 8 of at most 20 seeds`."""
    found, rule = arm.comparison, summary.rule
    assert found is not None
    pairs = n_text(found.n, rule)
    if not rule.looks:
        return pairs
    most, how = rule.looks[-1], "decided"
    if found.verdict == "inconclusive":
        how = "given up as futile" if arm.is_futile else "undecided"
    told = f"{how} at {arm.planned} of at most {most} seeds"
    return told if found.n == arm.planned else f"{told}, {found.n} of them completed in both"


def futile_text(rule: Rule) -> str:
    """Why an arm got no more seeds."""
    return f"futile: the chance of a verdict at {rule.looks[-1]} seeds was below {100 * FUTILE:g} %"


def why_text(found: Comparison, rule: Rule) -> str:
    """Why a verdict is what it is, in a phrase."""
    if found.why == Why.TOO_FEW_SEEDS:
        return f"{n_text(found.n, rule)} completed in both arms; at least 2 are needed"
    if found.why == Why.SAME_DIFFERENCE:
        return "the difference is the same for every seed: no t test"
    if found.why == Why.IDENTICAL:
        return f"both have the same value in each of {n_text(found.n, rule)}"
    if found.why == Why.FAILED_RUNS:
        return "runs failed, and with these as outcomes the verdict is another one"
    if found.why == Why.WITHIN_SMALLEST_DIFFERENCE:
        return "the whole interval is within the smallest difference of interest"
    if found.why == Why.P_BELOW_ALPHA:
        return f"adjusted p is below {rule.alpha:g}"
    if found.why == Why.ONLY_EARLIER_P_BELOW_ALPHA:
        return "the difference was clear at an earlier look only, and the interval now contains 0"
    text = f"adjusted p is not below {rule.alpha:g}, and the interval is too wide for equivalence"
    alone = "; p alone would be below it"
    return text + alone * (found.why == Why.ONLY_UNADJUSTED_P_BELOW_ALPHA)


def failures_text(arm: ConfirmedArm, rule: Rule) -> str:
    """`2 of 5 runs failed (40 %, 95 % interval 5 to 85 %)`; empty where none failed."""
    if not arm.failed:
        return ""
    count, n = len(arm.failed), arm.ended
    low, high = (100 * end for end in rate_interval(count, n, rule.alpha))
    share = f"{100 * (1 - rule.alpha):g} % interval"
    runs = f"{count} of {n} run{'s' * (n != 1)} failed"
    return f"{runs} ({100 * count / n:.0f} %, {share} {low:.0f} to {high:.0f} %)"


def unfinished_text(known: Progress, units: Units) -> str:
    """The signs that an arm was not trained to its end; empty where there are none."""
    parts = []
    if Sign.LONGER in known.signs and known.longer is not None:
        gain = f"{units.number(known.longer.difference, '+')}{units.step}"
        parts.append(f"{gain} from {known.shorter_epochs} to {known.epochs} epochs")
    if Sign.TRAIN_LOSS in known.signs:
        parts.append(f"training loss {known.train_loss:.2f}, the lowest is {known.lowest_loss:.2f}")
    if Sign.IMPROVING in known.signs:
        parts.append(
            f"{units.number(known.gain, '+')}{units.step} in the middle fifth of its training"
        )
    return "; ".join(parts)


def interaction_text(found: Interaction) -> str:
    """Whether what one factor gains depends on the level of the other."""
    return {
        "better": f"yes, greater at {found.at[1]}",
        "worse": f"yes, smaller at {found.at[1]}",
        "equivalent": "no, the same",
        "inconclusive": "not settled",
    }[found.comparison.verdict]


def tested_weights_text(summary: Summary) -> str:
    """Which weights the test values are of, and whether these are kept."""
    if not summary.design.keeps_tested:
        return (
            "those of the last epoch; kept are those of the best epoch on the validation split, "
            "which may be others"
        )
    if summary.design.weights == "best":
        which = f"those of the best epoch by {summary.metric.name}"
    else:
        which = "those of the last epoch"
    return f"{which}; they are kept"


def seeds_setting_text(summary: Summary) -> str:
    """With how many seeds an arm is confirmed."""
    looks = summary.rule.looks
    if not looks:
        return f"{summary.seeds} for each confirmed arm, none of them used in the search"
    return (
        f"{looks[0]} for each confirmed arm; for those without a verdict at {', '.join(map(str, looks[:-1]))} "
        f"more, at most {looks[-1]}; none of them used in the search"
    )


def top_up_text(rule: Rule) -> str:
    """How seeds were added without making false verdicts more likely, with the sources."""
    return (
        f"Verdicts were looked at {len(rule.looks)} times at most, and arms without one got more seeds. So that "
        f"looking again makes no false verdict more likely, p must be below {rule.level:.3g} at any look, in place "
        f"of {rule.alpha:g} at one (Pocock 1977, Biometrika 64:191, for t tests by simulation): p values count "
        "all looks before Holm's correction, and intervals hold at all looks at once (Jennison & Turnbull 1989, "
        f"J. Royal Statistical Society B 51:305). An arm was given up as futile where the chance of a verdict at "
        f"{rule.looks[-1]} seeds was below {100 * FUTILE:g} %."
    )
