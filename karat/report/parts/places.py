"""The section of a report about arms over several data sets or models, and where they disagree."""

from collections.abc import Iterator
from typing import Any

from karat.report.facts.contrasts.places import ArmOver, PlacesFacts
from karat.report.facts.summary import Summary
from karat.report.figures.contrasts.critical_difference import critical_difference
from karat.report.formatting import Units, in_unit, interval_text, listed, raw_p_text
from karat.report.tables import Column, Section, Table, table_of

FEW_PLACES = 5


def places_section(summary: Summary) -> Section | None:
    """Differences in each place and over all; None where there is one place, or before all runs have ended."""
    facts = summary.places
    if facts is None or not summary.is_final:
        return None
    tables = [_over(facts, summary), _in_each(facts, summary)]
    return Section(
        title=f"Over the {facts.what}",
        paragraphs=tuple(_notes(facts, summary)),
        tables=tuple(tables),
        figures=tuple(critical_difference(facts, summary)),
    )


def _over(facts: PlacesFacts, summary: Summary) -> Table:
    units = Units(summary.metric)
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    return table_of(
        facts.arms,
        ("arm", "text", lambda arm: arm.name),
        (f"mean difference{in_unit(units.step)}, {share}", "range", lambda arm: _mean(arm, units)),
        ("p (Holm)", "number", lambda arm: raw_p_text(arm.p)),
        (
            "spread between them",
            "number",
            lambda arm: units.number(arm.overall.between if arm.overall else None),
        ),
        (
            "spread of seeds",
            "number",
            lambda arm: units.number(arm.overall.within if arm.overall else None),
        ),
        ("the same on all, p (Holm)", "number", lambda arm: raw_p_text(arm.p_differs)),
        title=f"Differences to the reference over {len(facts.places)} {facts.what}",
        cards=True,
    )


def _in_each(facts: PlacesFacts, summary: Summary) -> Table:
    units = Units(summary.metric)
    rows = [(arm, place) for arm in facts.arms for place in facts.places if place in arm.by_place]
    columns: list[Column[tuple[ArmOver, str]]] = [
        ("arm", "text", lambda row: row[0].name),
        ("on", "text", lambda row: row[1]),
        (
            f"difference{in_unit(units.step)} and interval",
            "range",
            lambda row: interval_text(row[0].by_place[row[1]].comparison, units),
        ),
        (
            "verdict",
            "text",
            lambda row: found.verdict if (found := row[0].by_place[row[1]].comparison) else "-",
        ),
    ]
    return table_of(rows, *columns, title="On each, against its own reference", cards=True)


def _mean(arm: ArmOver, units: Units) -> str:
    found = arm.overall
    if found is None:
        return "-"
    ends = f"{units.number(found.low, '+')} to {units.number(found.high, '+')}"
    return f"{units.number(found.mean, '+')} ({ends})"


def _notes(facts: PlacesFacts, summary: Summary) -> Iterator[str]:
    n, what = len(facts.places), facts.what
    yield (
        f"Every difference is to the reference on the same one of the {n} {what}. The mean over them is that of a mixed model, "
        f"in which the {what} are a random sample of those that the question is about: its interval is about the mean over "
        f"all {what} of this kind, and not only over these."
    )
    if n < FEW_PLACES:
        yield f"{n} {what} are few: such an interval is wide, and tells little of others."
    turned = [arm.name for arm in facts.arms if arm.is_turned]
    if turned:
        yield f"The {what} disagree on {listed([_both(arm) for arm in facts.arms if arm.is_turned])}."
    depends = [
        arm.name
        for arm in facts.arms
        if arm.p_differs is not None and arm.p_differs < summary.rule.alpha
    ]
    if depends:
        yield (
            f"How large the difference is depends on which of the {what} it is for {listed(depends)} (analysis of variance, "
            "Holm over the arms)."
        )
    elif not turned:
        yield f"No difference was seen to depend on which of the {what} it is."
    yield from _rank_notes(facts)


def _both(arm: ArmOver) -> str:
    """`fourier (better on digits, worse on fake)`."""
    told = [
        f"{word} on {listed(places)}"
        for word in ("better", "worse")
        if (
            places := [
                place
                for place, of in arm.by_place.items()
                if of.comparison and of.comparison.verdict == word
            ]
        )
    ]
    return f"{arm.name} ({', '.join(told)})"


def _rank_notes(facts: PlacesFacts) -> Iterator[str]:
    found, what = facts.ranks, facts.what
    if found is None:
        return
    k = len(found.mean)
    yield (
        f"Mean ranks of {k} arms over {found.places} {what}: Friedman's test (Iman and Davenport) has p {raw_p_text(found.p)}. By "
        f"Nemenyi's test two arms differ at {found.alpha:g} if their mean ranks are more than {found.critical:.2f} apart "
        "(Demšar 2006)."
    )
    if found.critical >= k - 1:
        yield f"With {found.places} {what} no mean ranks can be so far apart: the ranks describe, and decide nothing."
    else:
        apart = [
            f"{one} and {other}"
            for (one, other), p in found.pairs.items()
            if p is not None and p < found.alpha
        ]
        least = 2.0 ** (1 - found.places)
        if apart:
            yield f"By Wilcoxon's signed ranks over the {what} (Holm) these differ: {listed(apart)}."
        elif least >= found.alpha:
            yield f"Wilcoxon's signed ranks cannot have a p below {least:.2g} with {found.places} {what}."


def places_json(facts: PlacesFacts) -> dict[str, Any]:
    """The facts as plain data; what was found in each place is with the arms."""
    return {
        "what": facts.what,
        "places": list(facts.places),
        "references": dict(facts.references),
        "arms": [
            {
                "name": arm.name,
                "by_place": {place: of.label for place, of in arm.by_place.items()},
                "disagrees": arm.is_turned,
                "p_differs_holm": arm.p_differs,
                "overall": None
                if arm.overall is None
                else {
                    "mean": arm.overall.mean,
                    "low": arm.overall.low,
                    "high": arm.overall.high,
                    "between": arm.overall.between,
                    "within": arm.overall.within,
                    "p_holm": arm.p,
                },
            }
            for arm in facts.arms
        ],
        "ranks": None
        if facts.ranks is None
        else {
            "mean": dict(facts.ranks.mean),
            "p": facts.ranks.p,
            "critical_difference": facts.ranks.critical,
        },
    }
