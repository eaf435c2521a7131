"""A study's facts as sentences: the notes beside its tables."""

from collections.abc import Iterable

from karat.causes import Skip
from karat.journal.wording import search_cut_text, skip_text, warm_start_text
from karat.report.facts.progress import BEGIN, END, LOSS_MARGIN, LOSS_RATIO
from karat.report.facts.search_summary import SearchFacts
from karat.report.facts.summary import Summary
from karat.report.formatting import listed, moment_text, raw_p_text, short
from karat.report.search_text import stopping_notes
from karat.report.shortlist_text import shortlist_notes, where_best
from karat.report.wording import (
    futile_text,
    n_text,
    name_of,
    reference_text,
    why_text,
)

_UNITS = {
    "wall_hours": "hours of wall time",
    "cpu_hours": "CPU hours",
    "gpu_hours": "GPU hours",
    "usd": "US dollars",
}


def result_notes(summary: Summary) -> Iterable[str]:
    """What the table of results shows, what it holds for, and what is amiss."""
    yield _about_values(summary)
    yield _about_scope(summary)
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
            f"Each level of {short(summary.by)} is represented by the arm that did best in the {where_best(summary)}; these arms "
            f"differ in {listed([*map(short, summary.also_different)])} as well."
        )
    yield from _about_extensions(summary)
    if not summary.is_final:
        return
    yield from _about_inconclusive(summary)


def _about_inconclusive(summary: Summary) -> Iterable[str]:
    """Why arms have no verdict, those with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for arm in summary.arms:
        if arm.comparison and arm.comparison.verdict == "inconclusive":
            given_up = f"; {futile_text(summary.rule)}" if arm.is_futile else ""
            why = why_text(arm.comparison, summary.rule) + given_up
            reasons.setdefault(why, []).append(name_of(arm, summary))
    for why, names in reasons.items():
        yield f"{listed(names)}: inconclusive, since {why}."


def certainty_notes(summary: Summary) -> Iterable[str]:
    """How the tables of tests and of training are to be read."""
    if summary.is_final and summary.others:
        least = 2.0 ** (
            1 - max(arm.comparison.n if arm.comparison else 0 for arm in summary.others)
        )
        yield (
            "Verdicts come from the t test, which takes differences to be normal. Beside it is the "
            "test by flipped signs, which takes nothing but their symmetry"
            + (f", and whose p cannot be below {least:.3g} here" if least > 0.001 else "")
            + ". d_z is the mean difference in standard deviations of the differences."
            + (
                " The interval at Holm's level is the one that excludes 0 where the corrected p is below "
                f"{summary.rule.alpha:g}; equivalence is judged by the {100 * (1 - summary.rule.alpha):g} % interval."
            )
            * (len(summary.others) > 1)
        )
        if summary.family is not None:
            family = summary.family
            yield (
                f"All {family.arms} arms at once, over {n_text(family.n, summary.rule)}: if none "
                "differed, ranks that differ at least as much would come about with a chance of "
                f"{'less than 0.001' if family.p < 0.001 else raw_p_text(family.p)} (Friedman's test)."
            )
    if summary.factor_tests:
        yield _about_factors(summary)
    if summary.interactions and summary.is_final:
        number = len(summary.interactions)
        yield (
            "Interactions: the gain between two levels of one factor at one level of another, minus the same "
            f"gain at the first level of that, by seed; {number} in all, corrected together by Holm."
        )
    if any(arm.population for arm in summary.others):
        yield (
            "Images like these: the interval if the test images are a sample too, and not only the seeds; "
            "verdicts are about these test images."
        )
    if summary.progress:
        yield (
            f"Gain in the middle: the {summary.metric.name} at {100 * END:.0f} % of the epochs against "
            f"{100 * BEGIN:.0f} %, while the learning rate is still high; at the end of its schedule every "
            f"curve is flat. {_about_signs(is_tried=len(summary.lengths) > 1)}"
        )


def _about_factors(summary: Summary) -> str:
    """Of every factor, whether its levels differ at all."""
    several = len(summary.factor_tests) > 1
    told = [
        f"{short(each.factor)} ({each.levels} levels) p {_equals(each.p)}"
        + f", {raw_p_text(each.p_holm)} after Holm's correction" * several
        for each in summary.factor_tests
    ]
    return (
        "All levels of a factor at once, by Friedman's test on means over the arms that differ in nothing else: "
        f"{'; '.join(told)}."
    )


def _equals(p: float) -> str:
    return f"{'' if p < 0.001 else '= '}{raw_p_text(p)}"


def _about_signs(*, is_tried: bool) -> str:
    """The signs of unfinished training that count (`karat.report.facts.progress`).

    Args:
        is_tried: whether longer training was tried, which takes the place of the curve's slope.
    """
    loss = (
        f"a training loss of more than {LOSS_RATIO:g} times the lowest, and more than {LOSS_MARGIN:g} above it; but "
        "such an arm may also be unable to fit."
    )
    if is_tried:
        return (
            "Here it is shown and is no sign, since longer training was tried: a mean gain of the longest above the "
            "smallest difference of interest is a sign that the arm was not finished; where both lengths are "
            f"equivalent, it was. A sign too, unless longer training gave nothing in the mean, is {loss}"
        )
    return (
        "It is a sign of unfinished training when it is above the smallest difference of interest beyond doubt "
        f"(one-sided 95 % bound). So is {loss} Without a sign it is not proven that more epochs change nothing: only "
        "longer training, which confirm.budgets adds, can show that."
    )


def _about_values(summary: Summary) -> str:
    rule = summary.rule
    seeds = f"{summary.seeds} fresh seeds" if summary.is_final else "the seeds completed so far"
    if summary.is_final and rule.looks:
        return (
            f"Validation and test are means over fresh seeds, of which each arm has its own number, at full "
            f"length, ± one standard deviation. Differences are to {reference_text(summary)}, paired by seed: "
            "over the seeds that both have, so that they are not always the difference of the two means."
        )
    differences = f"Differences are to {reference_text(summary)}, paired by "
    if rule.tunings == 1:
        return (
            f"Validation and test are means over {seeds}, at full length, ± one standard deviation. "
            f"{differences}seed."
        )
    each = summary.seeds // rule.tunings
    return (
        f"Each arm was tuned {rule.tunings} times, independently, and each tuning's best cell was "
        f"trained with {each} fresh seed{'s' * (each != 1)}, at full length. Test is the mean over the "
        f"tunings, ± the standard deviation between them. {differences}tuning."
    )


def _about_scope(summary: Summary) -> str:
    """For what the verdicts hold."""
    if summary.rule.tunings > 1:
        return (
            "Intervals and verdicts hold for the arms with this tuning procedure, on these test images: "
            "what varies between tunings and seeds is in them."
        )
    return (
        "Intervals and verdicts hold for these cells, as this one search found them, on these test "
        "images: what varies between seeds is in them. Another search would find other cells, and "
        "equal arms can differ by that; confirm.tunings repeats the search."
    )


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
    if facts.warm_start is not None:
        yield warm_start_text(facts.warm_start, [arm.label for arm in facts.arms])
    if facts.ruled_out:
        by = [f"{number} by {constraint}" for constraint, number in facts.ruled_out.items()]
        yield (
            f"{sum(facts.ruled_out.values())} proposals broke one of search.constraints by what is known before training, and were "
            f"not trained: {listed(by)}.{_about_given_up(facts)}"
        )
    if facts.constrained:
        by = [f"{number} by {constraint}" for constraint, number in facts.constrained.items()]
        yield (
            f"Of those that were stopped, {sum(facts.constrained.values())} broke one of search.constraints, and could not "
            f"be confirmed: {listed(by)}."
        )
    for each in summary.skipped:
        if each["cause"] == Skip.NONE_ALLOWED:
            yield f"{each['label']} is not confirmed: {skip_text(each['cause'], each['details'])}."
    if facts.saved is not None and facts.stopped:
        yield (
            f"{facts.epochs_run} epochs were run; without {'' if facts.constrained else 'early '}stopping it would have been "
            f"{facts.epochs_full} ({100 * facts.saved:.0f} % saved)."
        )
    if facts.engine_seconds is not None:
        yield (
            f"Engine cost: {facts.engine_seconds:.2f} s of slot time for each trial in which "
            "nothing was trained (starting, handing over, epochs repeated after a loss, slots "
            "idle at the end)."
        )
    yield from stopping_notes(facts)
    yield from _about_budget(summary)
    if not facts.asked:
        return
    tuned = set(facts.tuned.values())
    if len(tuned) == 1:
        trials = tuned.pop()
        yield (
            f"Tuning was equal: {trials} trial{'s' * (trials != 1)} on each side of every comparison."
        )
    yield from shortlist_notes(summary)


def _about_given_up(facts: SearchFacts) -> str:
    """How many trials were not asked for, since none of their proposals may be trained; empty for none."""
    number = facts.given_up
    if not number:
        return ""
    return (
        f" In place of {number} trial{'s' * (number != 1)} nothing was found that may be trained."
    )


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
