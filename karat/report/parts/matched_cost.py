"""The section of a report that shows every arm as it is and at the cost of its reference, side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.contrasts.matched import MatchedArm, MatchFacts, Price
from karat.report.facts.summary import Summary
from karat.report.formatting import Units, in_unit, interval_text, listed, short
from karat.report.tables import Section, table_of
from karat.report.wording import verdict_text
from karat.space.matching.choice import cost_text
from karat.space.matching.config import MEASURED, WORDS

TITLE = "At equal cost"


def matched_section(summary: Summary) -> Section | None:
    """Raw and matched differences, and how well the cost was matched; None where no cost is matched."""
    facts, units = summary.match, Units(summary.metric)
    if facts is None:
        return None
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    table = table_of(
        _rows(facts, summary),
        ("arm", "text", lambda row: row.arm),
        ("changed to match", "text", lambda row: row.changed),
        (WORDS[facts.by], "number", lambda row: cost_text(facts.by, row.price.cost)),
        ("off the reference", "number", _off_text),
        (
            f"difference{in_unit(units.step)}, {share}",
            "range",
            lambda row: interval_text(row.of.comparison if row.of else None, units),
        ),
        (
            "verdict",
            "text",
            lambda row: verdict_text(row.of, summary) if row.of else "not confirmed",
        ),
        cards=True,
    )
    return Section(title=TITLE, paragraphs=tuple(_notes(facts, summary)), tables=(table,))


@dataclass(frozen=True, slots=True)
class _Row:
    """A reference, or an arm as it is or matched: what was changed, what it costs, how it was confirmed."""

    arm: str
    changed: str
    price: Price
    of: ConfirmedArm | None
    is_reference: bool = False


def _rows(facts: MatchFacts, summary: Summary) -> Iterator[_Row]:
    """Each reference, then the arms compared with it, as they are and matched."""
    known = {arm.label: arm for arm in summary.arms}
    for reference in dict.fromkeys(arm.against for arm in facts.arms):
        of_it = [arm for arm in facts.arms if arm.against == reference]
        price = Price(cost=of_it[0].raw.target, target=of_it[0].raw.target)
        yield _Row(f"{reference} (reference)", "", price, known.get(reference), is_reference=True)
        for arm in of_it:
            as_it_is = "nothing: it costs the same" if arm.is_as_it_is else "nothing"
            yield _Row(arm.label, as_it_is, arm.raw, arm.of_raw)
            if not arm.is_as_it_is:
                yield _Row(arm.label, _changes_text(arm), arm.matched, arm.of_matched)


def matched_sentence(summary: Summary) -> str:
    """What becomes of the differences at equal cost, for the answer; empty where that was not asked or is open."""
    facts = summary.match
    if facts is None or not summary.is_final:
        return ""
    words = [word for arm in facts.arms if (word := _told(arm, summary))]
    return f"At equal {WORDS[facts.by]}: {'; '.join(words)}." if words else ""


def _told(arm: MatchedArm, summary: Summary) -> str:
    """One arm: `karat is inconclusive (+0.31 points), and better as it is (+1.20 points)`."""
    units, raw, matched = Units(summary.metric), arm.of_raw, arm.of_matched
    if matched is None or matched.comparison is None or matched.comparison.difference is None:
        return f"{arm.label} has no result" if not arm.is_as_it_is else ""
    word = f"{matched.comparison.verdict} ({_points(matched, units)})"
    if arm.is_as_it_is:
        return f"{arm.label} is {word}, with nothing changed"
    if raw is None or raw.comparison is None or raw.comparison.difference is None:
        return f"{arm.label} is {word}, and as it is has no result"
    return f"{arm.label} is {word}, and as it is {raw.comparison.verdict} ({_points(raw, units)})"


def _points(arm: ConfirmedArm, units: Units) -> str:
    assert arm.comparison is not None
    return f"{units.number(arm.comparison.difference, '+')}{units.step}"


def _notes(facts: MatchFacts, summary: Summary) -> Iterator[str]:
    noun = WORDS[facts.by]
    yield (
        f"Each arm is confirmed as it is, and with settings changed to bring its cost, {noun}, within "
        f"{100 * facts.within:g} % of that of its reference. Both are tuned and confirmed alike, belong to one family "
        "of comparisons (Holm), and are compared with the same reference."
    )
    if facts.by in MEASURED:
        yield "The cost was measured once, at the first launch on its machine; elsewhere it may be another one."
    worst = max(facts.arms, key=lambda arm: abs(arm.matched.deviation), default=None)
    if worst is not None:
        reached = f"{100 * abs(worst.matched.deviation):.1f} % ({worst.label})"
        far = "" if abs(worst.matched.deviation) <= facts.within else ", more than was asked for"
        yield f"The largest deviation that is left: {reached}{far}."
    changed = {short(k): None for arm in facts.arms for k in arm.changes if k.startswith("model.")}
    if changed:
        yield (
            f"Of the model itself, {listed(list(changed))} is changed. A difference at equal cost is then one between "
            "whole models, and not between their attention alone."
        )
    if summary.is_final and (turned := [arm.label for arm in facts.arms if _is_other(arm)]):
        yield f"The verdict is another one at equal cost for {listed(turned)}."


def _is_other(arm: MatchedArm) -> bool:
    raw, matched = arm.of_raw, arm.of_matched
    if arm.is_as_it_is or raw is None or matched is None:
        return False
    if raw.comparison is None or matched.comparison is None:
        return False
    return raw.comparison.verdict != matched.comparison.verdict


def _changes_text(arm: MatchedArm) -> str:
    return ", ".join(f"{short(key)} {value}" for key, value in arm.changes.items())


def _off_text(row: _Row) -> str:
    return "" if row.is_reference else f"{100 * row.price.deviation:+.1f} %"


def matched_json(facts: MatchFacts) -> dict[str, Any]:
    """The facts as plain data; the differences are with the arms."""
    return {
        "by": facts.by,
        "within": facts.within,
        "arms": [
            {
                "arm": arm.label,
                "matched": None if arm.of_matched is None else arm.of_matched.label,
                "against": arm.against,
                "changes": dict(arm.changes),
                "target": arm.raw.target,
                "raw": arm.raw.cost,
                "reached": arm.matched.cost,
                "deviation": arm.matched.deviation,
            }
            for arm in facts.arms
        ],
    }
