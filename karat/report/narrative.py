"""A study's facts as sentences: the answer, the notes beside its tables, its state."""

from collections.abc import Iterable

from karat.journal.wording import search_cut_text, study_failure_text
from karat.parameters import label_of
from karat.report.formatting import (
    Units,
    interrupted_text,
    listed,
    moment_text,
    short,
    text_of,
    way_on,
)
from karat.report.search_summary import EDGE, Edge
from karat.report.statistics import Comparison, Verdict, Why, turned
from karat.report.summary import ConfirmedArm, Summary

_UNITS = {
    "wall_hours": "hours of wall time",
    "cpu_hours": "CPU hours",
    "gpu_hours": "GPU hours",
    "usd": "US dollars",
}
VERDICTS: tuple[Verdict, ...] = ("better", "equivalent", "inconclusive", "worse")


def answer(summary: Summary) -> str:
    """The question's answer in a few plain sentences, claiming what the statistics say and no more."""
    if summary.planned_runs is None:
        return _answer_of_search(summary)
    if not any(arm.completed for arm in summary.arms):
        if summary.status == "failed" or not summary.arms:
            return f"There is no answer: {_why_failed(summary)}."
        return "There is no answer yet: no confirmation run has been completed."
    if not summary.is_final:
        done = sum(arm.ended for arm in summary.arms)
        return (
            f"There is no answer yet: {done} of {summary.planned_runs} confirmation runs have "
            "ended. The numbers below will change, and no verdict is given on a part of the seeds."
        )
    measured = [arm for arm in summary.others if arm.test.mean is not None]
    if not measured:
        return f"There is no answer: of the arms confirmed, only {summary.reference} has results."
    if summary.is_matched:
        sentences = [*_about_levels(summary), _about_best(summary)]
    else:
        best = _best_of(measured, summary)
        sentences = [
            _about(best, summary),
            _about_others(best, summary),
            _about_pairs(best, summary),
            _about_price(best, summary),
        ]
    return " ".join(sentence for sentence in sentences if sentence)


def _why_failed(summary: Summary) -> str:
    if summary.status == "failed":
        return study_failure_text(summary.cause, summary.details)
    return "no arm could be confirmed"


def _best_of(arms: Iterable[ConfirmedArm], summary: Summary) -> ConfirmedArm:
    return max(arms, key=lambda arm: summary.metric.goodness(arm.test.mean or 0))


def name_of(arm: ConfirmedArm, summary: Summary) -> str:
    """How sentences speak of an arm: `fourier`, or `softmax at embed_dim=48` among matched levels."""
    if not summary.is_matched:
        return arm.label
    others = {key: level for key, level in arm.factors.items() if key != summary.by}
    return f"{label_of(others)} at {short(summary.by)}={text_of(arm.factors[summary.by])}"


def reference_text(summary: Summary) -> str:
    """What a difference is a difference to: `softmax`, or `softmax at the same embed_dim`."""
    return summary.reference + (f" at the same {short(summary.by)}" if summary.is_matched else "")


def contender_text(summary: Summary) -> str:
    """What the confirmed arms but the references are called together."""
    return summary.contender or "the best other arm"


def why_text(found: Comparison, alpha: float) -> str:
    """Why a verdict is what it is, in a phrase."""
    if found.why == Why.TOO_FEW_SEEDS:
        return f"{found.n} seed{'s' * (found.n != 1)} completed in both arms; at least 2 are needed"
    if found.why == Why.SAME_DIFFERENCE:
        return "the difference is the same for every seed: no t test"
    if found.why == Why.WITHIN_SMALLEST_DIFFERENCE:
        return "the whole interval is within the smallest difference of interest"
    if found.why == Why.P_BELOW_ALPHA:
        return f"adjusted p is below {alpha:g}"
    text = f"adjusted p is not below {alpha:g}, and the interval is too wide for equivalence"
    alone = "; p alone would be below it"
    return text + alone * (found.why == Why.ONLY_UNADJUSTED_P_BELOW_ALPHA)


def _about_levels(summary: Summary) -> Iterable[str]:
    """The verdict at each level, then the differences, where each level has its own reference."""
    levels: dict[str, list[str]] = {word: [] for word in (*VERDICTS, "not compared")}
    for arm in summary.others:
        assert arm.comparison is not None
        known = arm.comparison.difference is not None
        levels[arm.comparison.verdict if known else "not compared"].append(text_of(arm.level))
    told = "; ".join(f"{word} at {listed(at)}" for word, at in levels.items() if at)
    yield f"Against {reference_text(summary)}, {contender_text(summary)} is {told}."
    differences = list(_differences(summary))
    if differences:
        yield (
            f"By {short(summary.by)}, the difference in test {summary.metric.noun} is "
            f"{listed(differences)}."
        )
    if len(differences) > 1:
        yield f"Whether the difference changes with {short(summary.by)} was not tested."


def _differences(summary: Summary) -> Iterable[str]:
    """`+2.36 points at 24 (95 % interval +1.41 to +3.31)`, the units only in the first."""
    units = Units(summary.metric)
    unit = units.step
    share = f"{100 * (1 - summary.rule.alpha):g} % interval "
    for arm in summary.others:
        found = arm.comparison
        if found is None or found.difference is None:
            continue
        text = f"{units.number(found.difference, '+')}{unit} at {text_of(arm.level)}"
        if found.low is not None and found.high is not None:
            text += f" ({share}{units.number(found.low, '+')} to {units.number(found.high, '+')})"
            share = ""
        unit = ""
        yield text


def _about_best(summary: Summary) -> str:
    metric, units = summary.metric, Units(summary.metric)
    best = _best_of((arm for arm in summary.arms if arm.test.mean is not None), summary)
    most = "highest" if metric.mode == "max" else "lowest"
    mean = f"{units.number(best.test.mean)}{units.unit}"
    return f"The {most} mean test {metric.noun}, {mean}, is that of {name_of(best, summary)}."


def _answer_of_search(summary: Summary) -> str:
    facts, units = summary.search, Units(summary.metric)
    ended = facts.completed + facts.stopped + facts.failed
    if ended and facts.failed == ended:
        return f"There is no answer: all {ended} trials that have ended failed."
    begin = f"There is no answer yet: the search has ended {ended} of {facts.planned} trials"
    known = [arm for arm in facts.arms if arm.best is not None]
    if not known:
        return begin + "."
    best = max(known, key=lambda arm: summary.metric.goodness(arm.best or 0))
    return (
        f"{begin}. Best so far on the validation split: {best.label} with "
        f"{units.number(best.best)}{units.unit}; {_confirmed_so_far(summary)}."
    )


def _confirmed_so_far(summary: Summary) -> str:
    """Levels are confirmed while others are still searched."""
    done = sum(arm.completed for arm in summary.arms)
    if not done:
        return "nothing has been confirmed"
    runs = "confirmation run has" if done == 1 else "confirmation runs have"
    return f"{done} {runs} been completed, and not every level has begun its own"


def _about(arm: ConfirmedArm, summary: Summary) -> str:
    units, found = Units(summary.metric), arm.comparison
    assert found is not None
    what = "a loss of " if summary.metric.noun == "loss" else ""
    mean = f"{what}{units.number(arm.test.mean)}{units.unit}"
    begin = f"{name_of(arm, summary)} reaches {mean} on the test split"
    why = why_text(found, summary.rule.alpha)
    if found.difference is None:
        return f"{begin}; there is nothing to compare it with ({why})."
    side = "above" if found.difference >= 0 else "below"
    size = f"{units.number(abs(found.difference))}{units.step} {side} {summary.reference}"
    if found.low is None or found.high is None:
        return f"{begin}, {size}: {found.verdict} ({why})."
    ends = (found.low, found.high) if found.difference >= 0 else (-found.high, -found.low)
    interval = f"{units.number(ends[0])} to {units.number(ends[1])}"
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    return f"{begin}, {size} ({share} {interval}): {_meaning(found, summary)}."


def _meaning(found: Comparison, summary: Summary) -> str:
    units = Units(summary.metric)
    least = f"{units.number(summary.rule.smallest_difference)}{units.step}"
    if found.verdict == "equivalent":
        return f"equivalent, as {least} is the smallest difference that matters here"
    if found.verdict == "inconclusive":
        return f"inconclusive, {found.n} seeds settle neither a difference nor equivalence"
    return found.verdict


def _about_others(best: ConfirmedArm, summary: Summary) -> str:
    others = [arm.comparison for arm in summary.others if arm is not best and arm.comparison]
    if not others:
        return ""
    verdicts = [each.verdict for each in others]
    assert best.comparison is not None
    if set(verdicts) == {best.comparison.verdict}:
        count = (
            "the other confirmed arm is"
            if len(others) == 1
            else f"the other {len(others)} confirmed arms are"
        )
        return f"Against {summary.reference}, {count} {verdicts[0]} too."
    counts = [f"{n} {word}" for word in VERDICTS if (n := verdicts.count(word))]
    return f"Of the others, against {summary.reference}: {', '.join(counts)}."


def _about_price(best: ConfirmedArm, summary: Summary) -> str:
    """What the best arm costs, with the reference's figures in brackets."""
    base = next((arm for arm in summary.arms if arm.is_reference), None)
    if base is None:
        return ""
    prices = []
    if best.parameters and base.parameters:
        prices.append(f"{best.parameters:,} parameters ({base.parameters:,})")
    if best.flops and base.flops:
        flops = (f"{arm.flops / 1e6:,.1f}" for arm in (best, base) if arm.flops)
        prices.append("{} million operations an image ({})".format(*flops))
    if best.seconds and base.seconds:
        prices.append(f"{best.seconds:.1f} s of training a run ({base.seconds:.1f})")
    if not prices:
        return ""
    return f"Its price, and in brackets that of {name_of(base, summary)}: {listed(prices)}."


def _about_pairs(best: ConfirmedArm, summary: Summary) -> str:
    """Whether the highest mean is settled to be the best, by the comparisons of each with each."""
    seen = [
        pair if pair.arm == best.label else turned(pair)
        for pair in summary.pairs
        if best.label in (pair.arm, pair.against)
    ]
    if not seen:
        return ""
    by_label = {arm.label: text_of(arm.level) for arm in summary.others}
    beaten = [by_label[pair.against] for pair in seen if pair.verdict == "better"]
    same = [by_label[pair.against] for pair in seen if pair.verdict == "equivalent"]
    open_ = [by_label[pair.against] for pair in seen if pair.verdict in ("inconclusive", "worse")]
    if len(beaten) == len(seen):
        return f"It is better than every other level of {short(summary.by)} confirmed, too."
    if not any(pair.verdict in ("better", "worse") for pair in summary.pairs) and not same:
        return f"Between the levels of {short(summary.by)} no difference is settled."
    parts = [
        f"better than {listed(beaten)}" if beaten else "",
        f"equivalent to {listed(same)}" if same else "",
        f"not settled against {listed(open_)}" if open_ else "",
    ]
    told = "; ".join(part for part in parts if part)
    return f"Between the levels of {short(summary.by)}, {text_of(best.level)} is {told}."


def result_notes(summary: Summary) -> Iterable[str]:
    metric = summary.metric
    seeds = f"{summary.seeds} fresh seeds" if summary.is_final else "the seeds completed so far"
    yield (
        f"Validation and test are means over {seeds}, at full length, ± one "
        f"standard deviation. Differences are to {reference_text(summary)}, paired by seed."
    )
    if summary.variance_cut is not None:
        cut = 100 * summary.variance_cut
        did = (
            f"cut the variance of a difference by {cut:.0f} %"
            if cut >= 0
            else (f"raised the variance of a difference by {-cut:.0f} %")
        )
        yield f"Pairing {did}, against independent runs."
    if summary.also_different:
        yield (
            f"Each level of {short(summary.by)} is represented by the arm that did best in the search; these arms "
            f"differ in {listed([*map(short, summary.also_different)])} as well."
        )
    yield from _about_extensions(summary)
    for arm in summary.arms:
        if summary.is_final and len(arm.runs) < summary.seeds:
            yield f"{name_of(arm, summary)}: {len(arm.runs)} of {summary.seeds} seeds gave a {metric.test}."
        if arm.comparison and summary.is_final and arm.comparison.verdict == "inconclusive":
            why = why_text(arm.comparison, summary.rule.alpha)
            yield f"{name_of(arm, summary)}: inconclusive, since {why}."


def _about_extensions(summary: Summary) -> Iterable[str]:
    for each in summary.extensions:
        by = " ".join(f"--extend {option}" for option in each.extend) or "the space file"
        yield f"Extended on {moment_text(each.time)} by {by}: {'; '.join(each.changes)}."
    if any(each.was_completed for each in summary.extensions):
        yield (
            "The question had an answer before it was extended. To look at verdicts and go on "
            f"makes false ones more likely than {summary.rule.alpha:g}."
        )


def search_notes(summary: Summary) -> Iterable[str]:
    """What the search did and cost, a sentence for each."""
    facts = summary.search
    counts = f"{facts.completed} completed, {facts.stopped} stopped early, {facts.failed} failed"
    yield f"Of {facts.planned} trials, {facts.asked} were asked for: {counts}."
    if facts.saved is not None:
        yield (
            f"{facts.epochs_run} epochs were run; without early stopping it would have been "
            f"{facts.epochs_full} ({100 * facts.saved:.0f} % saved)."
        )
    if facts.engine_seconds is not None:
        yield (
            f"Engine cost: {facts.engine_seconds:.2f} s of slot time for each trial in which "
            "nothing was trained (starting, handing over, epochs repeated after a loss, slots "
            "idle at the end)."
        )
    yield from _about_budget(summary)
    least, most = facts.asked_in_an_arm
    if not most:
        return
    if least == most:
        yield f"Tuning was equal: {most} trials in every arm."
    else:
        yield f"Tuning was not equal: from {least} to {most} trials in an arm."
    edges = [
        f"{arm.label} ({', '.join(map(_edge_text, arm.edges))})" for arm in facts.arms if arm.edges
    ]
    if edges:
        yield (
            f"Best value within {100 * EDGE:g} % of an end of its range, so a better one may lie "
            f"outside: {'; '.join(edges)}."
        )


def _edge_text(edge: Edge) -> str:
    value, span = text_of(edge.value), f"{edge.low:g} to {edge.high:g}"
    return f"{short(edge.name)} {value} at the {edge.end} end of {span}"


def _about_budget(summary: Summary) -> Iterable[str]:
    """What the study has used, beside its limits, and what they did to the search."""
    parts = []
    for key, name in _UNITS.items():
        used, limit = getattr(summary.spent, key), summary.limits.get(key)
        if used or limit:
            parts.append(f"{used:.3g}{f' of {limit:g}' if limit else ''} {name}")
    if parts:
        yield f"Spent: {listed(parts)}."
    if summary.search_cut is not None:
        why = search_cut_text(summary.search_cut)
        yield f"The search ended early, in favour of the confirmation: {why}."


def verdict_text(arm: ConfirmedArm, summary: Summary) -> str:
    """One word; `pending` until all runs of the confirmation have ended."""
    if arm.comparison is None:
        return "reference"
    return arm.comparison.verdict if summary.is_final else "pending"


def status_text(summary: Summary) -> str:
    """How the study stands, as a phrase."""
    if summary.status == "running":
        return "not ended: it is running, or was killed; the same command goes on"
    if summary.status == "interrupted":
        why = (summary.cause, summary.details)
        return f"{interrupted_text(*why)}; {way_on(*why)}"
    return f"failed: {_why_failed(summary)}" if summary.status == "failed" else summary.status
