"""The answer to a study's question, in a few sentences that claim what the statistics say and no more."""

from collections.abc import Iterable, Mapping, Sequence

from karat.journal.wording import study_failure_text
from karat.parameters import EACH_ARM
from karat.report.facts.confirmed import ConfirmedArm, best_searched
from karat.report.facts.summary import Summary
from karat.report.formatting import Units, interrupted_text, listed, short, text_of, way_on
from karat.report.parts.matched_cost import matched_sentence
from karat.report.shortlist_text import where_best
from karat.report.wording import (
    contender_text,
    failures_text,
    is_unfinished,
    levels_text,
    n_text,
    name_of,
    reference_text,
    seeds_text,
    unfinished_text,
    why_text,
)
from karat.statistics.comparison import Verdict, Why, turned

_NAMED = 6  # other arms, of which the answer gives names instead of counts
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
        return (
            f"There is no answer yet: {summary.ended_runs} of {summary.planned_runs} confirmation runs have "
            "ended. The numbers below will change, and no verdict is given on a part of the seeds."
        )
    if not summary.measured:
        return f"There is no answer: of the arms confirmed, only {summary.reference} has results."
    chosen = summary.headline
    if chosen is None:
        sentences = [*_about_levels(summary), *_about_highest(summary, summary.arms)]
    else:
        sentences = [
            _about_lost(chosen, summary),
            _about(chosen, summary),
            _about_lengths(chosen, summary),
            _about_others(chosen, summary),
            _about_pairs(chosen, summary),
            _about_price(chosen, summary),
            *_about_highest(
                summary, [arm for arm in summary.measured if arm is not chosen], chosen
            ),
        ]
    return " ".join(each for each in (*sentences, matched_sentence(summary)) if each)


def _about_lost(chosen: ConfirmedArm, summary: Summary) -> str:
    """Whether an arm did better where the arm is chosen, but has nothing to show for it."""
    first = best_searched(summary.others, summary.metric)
    if first is chosen:
        return ""
    return (
        f"{name_of(first, summary)}, which did best in the {where_best(summary)}, has no result: none of its "
        f"{first.planned} confirmation runs was completed."
    )


def _why_failed(summary: Summary) -> str:
    if summary.status == "failed":
        return study_failure_text(summary.cause, summary.details)
    return "no arm could be confirmed"


def status_text(summary: Summary) -> str:
    """How the study stands, as a phrase."""
    if summary.status == "running":
        return "not ended: it is running, or was killed; the same command goes on"
    if summary.status == "interrupted":
        why = (summary.cause, summary.details)
        return f"{interrupted_text(*why)}; {way_on(*why)}"
    return f"failed: {_why_failed(summary)}" if summary.status == "failed" else summary.status


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
    facts = summary.shortlist
    if facts is not None and facts.ended < facts.planned:
        again = f"{facts.ended} of {facts.planned} runs of shortlists have ended"
        return again if done else f"{again}, and nothing has been confirmed"
    if not done:
        return "nothing has been confirmed"
    runs = "confirmation run has" if done == 1 else "confirmation runs have"
    return f"{done} {runs} been completed, and not every level has begun its own"


def _about_levels(summary: Summary) -> Iterable[str]:
    """The verdict at each level, then the differences, where each level has its own reference."""
    levels: dict[str, list[str]] = {word: [] for word in (*VERDICTS, "not compared")}
    for arm in summary.others:
        assert arm.comparison is not None
        known = arm.comparison.difference is not None
        place = name_of(arm, summary) if summary.by == EACH_ARM else text_of(arm.level)
        levels[arm.comparison.verdict if known else "not compared"].append(place)
    if summary.by == EACH_ARM:
        yield f"Against {reference_text(summary)}: {_counted(levels, len(summary.others))}."
        return
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


def _counted(arms: Mapping[str, Sequence[str]], count: int) -> str:
    """`better: a and b; worse: c`, by verdict; counts in place of more names than are read in a sentence."""
    parts = (
        f"{word}: {listed(names) if count <= _NAMED else f'{len(names)} arms' if len(names) > 1 else names[0]}"
        for word, names in arms.items()
        if names
    )
    return "; ".join(parts)


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


def _about_highest(
    summary: Summary, arms: Iterable[ConfirmedArm], chosen: ConfirmedArm | None = None
) -> Iterable[str]:
    """The best mean of the test, unless it is the chosen arm's; that it was picked by its result is said."""
    metric, units = summary.metric, Units(summary.metric)
    measured = [arm for arm in arms if arm.test.mean is not None]
    best = max(measured, key=lambda arm: metric.goodness(arm.test.mean or 0), default=None)
    if best is None or best.test.mean is None:
        return
    own = chosen.test.mean if chosen is not None else None
    if own is not None and metric.goodness(best.test.mean) <= metric.goodness(own):
        return
    most = "highest" if metric.mode == "max" else "lowest"
    off = "high" if metric.mode == "max" else "low"
    mean = f"{units.number(best.test.mean)}{units.unit}"
    yield (
        f"The {most} mean test {metric.noun}, {mean}, is that of {name_of(best, summary)}; as the "
        f"{most} of {len(measured) + (chosen is not None)} it is probably too {off}."
    )


def _about(arm: ConfirmedArm, summary: Summary) -> str:
    units, found = Units(summary.metric), arm.comparison
    assert found is not None
    what = "a loss of " if summary.metric.noun == "loss" else ""
    mean = f"{what}{units.number(arm.test.mean)}{units.unit}"
    begin = (
        f"{name_of(arm, summary)}, {_how_chosen(arm, summary)}, reaches {mean} on the test split"
    )
    why = why_text(found, summary.rule)
    trouble = list(_trouble(arm, summary))
    if found.difference is None:
        return f"{begin}; there is nothing to compare it with ({'; '.join([why, *trouble])})."
    side = "above" if found.difference >= 0 else "below"
    size = f"{units.number(abs(found.difference))}{units.step} {side} {summary.reference}"
    if found.low is None or found.high is None:
        return f"{begin}, {size}: {found.verdict} ({'; '.join([why, *trouble])})."
    ends = (found.low, found.high) if found.difference >= 0 else (-found.high, -found.low)
    interval = f"{units.number(ends[0])} to {units.number(ends[1])}"
    share = f"{100 * (1 - summary.rule.alpha):g} % interval {interval}"
    told = [f"{seeds_text(arm, summary)}, {share}", *_for_other_images(arm, units), *trouble]
    beside = "; ".join(told)
    return f"{begin}, {size} ({beside}): {found.verdict}{_how_far(arm, summary)}{_reason(arm, summary)}."


def _for_other_images(arm: ConfirmedArm, units: Units) -> Iterable[str]:
    """The interval if the test images are taken as a sample, on the side of the difference told."""
    if arm.population is None or arm.comparison is None or arm.comparison.difference is None:
        return
    low, high = arm.population
    if arm.comparison.difference < 0:
        low, high = -high, -low
    yield f"for images like these {units.number(low)} to {units.number(high)}"


def _how_chosen(arm: ConfirmedArm, summary: Summary) -> str:
    tuned = "as tuned here"
    if summary.rule.tunings > 1:
        tuned = f"tuned {summary.rule.tunings} times from the start"
    if len(summary.others) == 1:
        return tuned
    equal = sum(each.searched == arm.searched for each in summary.measured)
    if equal > 1 and arm.searched is not None:
        tied = (
            f"the first in the space of {equal} that were equally best in the {where_best(summary)}"
        )
        return f"{tied}, {tuned}"
    return f"best in the {where_best(summary)} and {tuned}"


def _trouble(arm: ConfirmedArm, summary: Summary) -> Iterable[str]:
    """The runs that failed on both sides, and what the comparison is with these counted."""
    units = Units(summary.metric)
    sides = [arm, *(each for each in summary.references if each.label == arm.against)]
    yield from (
        f"{name_of(each, summary)}: {failures_text(each, summary.rule)}"
        for each in sides
        if each.failed
    )
    counted = arm.comparison.with_failures if arm.comparison else None
    if counted is not None and counted.difference is not None and summary.rule.worst is not None:
        worst = f"{units.number(summary.rule.worst)}{units.unit}"
        difference = f"{units.number(counted.difference, '+')}{units.step}"
        yield f"with failed runs counted as {worst} the difference is {difference}"


def _reason(arm: ConfirmedArm, summary: Summary) -> str:
    """What a verdict that is no difference rests on, at the end of its sentence."""
    units, found = Units(summary.metric), arm.comparison
    assert found is not None
    if found.verdict == "equivalent":
        least = f"{units.number(summary.rule.smallest_difference)}{units.step}"
        return f"; {least} is the smallest difference that matters here"
    if found.why is Why.FAILED_RUNS:
        return "; failed runs, counted as outcomes, would change the verdict"
    if found.verdict == "inconclusive":
        settle = "settles" if found.n == 1 else "settle"
        return f"; {n_text(found.n, summary.rule)} {settle} neither a difference nor equivalence"
    return ""


def _how_far(arm: ConfirmedArm, summary: Summary) -> str:
    """After how many epochs this holds, and who is not trained to the end by then."""
    known = summary.progress.get(arm.label)
    if known is None:
        return ""
    told = f" after {known.epochs} epoch{'s' * (known.epochs != 1)}"
    units = Units(summary.metric)
    sides = [each for each in summary.arms if each.label in (arm.label, arm.against)]
    found = [
        f"{name_of(each, summary)} ({unfinished_text(mine, units)})"
        for each in sides
        if (mine := summary.progress.get(each.label)) and mine.signs
    ]
    if found:
        look = "looks" if len(found) == 1 else "look"
        return f"{told}, at which {listed(found)} {look} unfinished"
    return told + _finished(sides, summary)


def _about_lengths(arm: ConfirmedArm, summary: Summary) -> str:
    """How the difference depends on the length of training, where several were tried."""
    units = Units(summary.metric)
    told = [
        f"{units.number(found.difference, '+')}{units.step} after {length.epochs}"
        for length in summary.lengths[:-1]
        if (found := length.comparisons.get(arm.label)) and found.difference is not None
    ]
    if not told:
        return ""
    return f"With shorter training the difference was {listed(told)} epochs."


def _finished(sides: Iterable[ConfirmedArm], summary: Summary) -> str:
    """That longer training was tried and changed nothing that matters, where this is so."""
    known = [summary.progress.get(arm.label) for arm in sides]
    longer = [each.longer for each in known if each is not None and each.longer is not None]
    if len(longer) < len(known) or any(each.verdict != "equivalent" for each in longer):
        return ""
    units = Units(summary.metric)
    least = f"{units.number(summary.rule.smallest_difference)}{units.step}"
    return f", and training was finished: {summary.lengths[-2].epochs} epochs give the same within {least}"


def _about_others(best: ConfirmedArm, summary: Summary) -> str:
    arms = [arm for arm in summary.others if arm is not best]
    if not arms:
        return ""
    if {_verdict(arm) for arm in arms} == {_verdict(best)}:
        count = (
            "the other confirmed arm is"
            if len(arms) == 1
            else f"the other {len(arms)} confirmed arms are"
        )
        also = _also_unfinished(arms, summary)
        return f"Against {summary.reference}, {count} {_verdict(best)} too{also}."
    named = {
        word: [name_of(arm, summary) for arm in arms if _verdict(arm) == word] for word in VERDICTS
    }
    told = [
        f"{listed(labels) if len(arms) <= _NAMED else len(labels)} {word}"
        for word, labels in named.items()
        if labels
    ]
    return f"Of the others, against {summary.reference}: {'; '.join(told)}{_also_unfinished(arms, summary)}."


def _also_unfinished(arms: Sequence[ConfirmedArm], summary: Summary) -> str:
    """Which of these arms look unfinished, as the end of the sentence that has their verdicts."""
    found = [name_of(arm, summary) for arm in arms if is_unfinished(arm.label, summary)]
    if not found:
        return ""
    look = "looks" if len(found) == 1 else "look"
    names = listed(found) if len(found) <= _NAMED else f"{len(found)} of them"
    return f"; {names} {look} unfinished"


def _verdict(arm: ConfirmedArm) -> Verdict | None:
    return arm.comparison.verdict if arm.comparison else None


def _about_pairs(best: ConfirmedArm, summary: Summary) -> str:
    """Whether the chosen arm is settled to be the best, by the comparisons of each with each."""
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
    above = [by_label[pair.against] for pair in seen if pair.verdict == "worse"]
    open_ = [by_label[pair.against] for pair in seen if pair.verdict == "inconclusive"]
    if len(beaten) == len(seen):
        but = ", too" if _verdict(best) == "better" else f" but {summary.reference}"
        return f"It is better than {_every_other(summary)}{but}."
    if not any(pair.verdict in ("better", "worse") for pair in summary.pairs) and not same:
        return f"Between {levels_text(summary)} no difference is settled."
    parts = [
        f"better than {listed(beaten)}" if beaten else "",
        f"equivalent to {listed(same)}" if same else "",
        f"worse than {listed(above)}" if above else "",
        f"not settled against {listed(open_)}" if open_ else "",
    ]
    told = "; ".join(part for part in parts if part)
    return f"Between {levels_text(summary)}, {text_of(best.level)} is {told}."


def _every_other(summary: Summary) -> str:
    if summary.by == EACH_ARM:
        return "every other arm"
    return f"every other level of {short(summary.by)} confirmed"


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
