"""The section of a report that shows every arm as it is and at the cost of its reference, side by side."""

from collections.abc import Iterator
from typing import Any

from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.contrasts.matched import MatchedArm, MatchFacts, Price
from karat.report.facts.summary import Summary
from karat.report.formatting import Units, in_unit, interval_text, listed, short
from karat.report.tables import Section, table_of
from karat.report.wording import verdict_text
from karat.space.matching.config import WORDS

TITLE = "At equal cost"


def matched_section(summary: Summary) -> Section | None:
    """Raw and matched differences, and how well the cost was matched; None where no cost is matched."""
    facts, units = summary.match, Units(summary.metric)
    if facts is None:
        return None
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    noun = WORDS[facts.by]
    table = table_of(
        facts.arms,
        ("arm", "text", lambda arm: arm.label),
        ("changed to match", "text", _changes_text),
        (f"{noun} of the reference", "number", lambda arm: f"{arm.raw.target:,.0f}"),
        ("as it is", "number", lambda arm: _price_text(arm.raw)),
        ("matched", "number", lambda arm: _price_text(arm.matched)),
        (
            f"difference as it is{in_unit(units.step)}, {share}",
            "range",
            lambda arm: _difference_text(arm.of_raw, units),
        ),
        ("verdict as it is", "text", lambda arm: _verdict_text(arm.of_raw, summary)),
        (
            f"difference matched{in_unit(units.step)}, {share}",
            "range",
            lambda arm: _difference_text(arm.of_matched, units),
        ),
        ("verdict matched", "text", lambda arm: _verdict_text(arm.of_matched, summary)),
        cards=True,
    )
    return Section(title=TITLE, paragraphs=tuple(_notes(facts, summary)), tables=(table,))


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
        f"Each arm is confirmed as it is, and with settings changed until its {noun} are within "
        f"{100 * facts.within:g} % of those of its reference. Both are tuned and confirmed alike, belong to one family "
        "of comparisons (Holm), and are compared with the same reference. In brackets: how far the cost is from that "
        "of the reference."
    )
    worst = max(facts.arms, key=lambda arm: abs(arm.matched.deviation), default=None)
    if worst is not None:
        reached = f"{100 * abs(worst.matched.deviation):.1f} % ({worst.label})"
        far = "" if abs(worst.matched.deviation) <= facts.within else ", more than was asked for"
        yield f"The largest deviation that is left: {reached}{far}."
    changed = {short(key): None for arm in facts.arms for key in arm.changes}
    if changed:
        yield (
            f"A matched arm differs from its reference in {listed(list(changed))} too, so that a difference at equal "
            "cost is one between whole models of this cost, and not between their attention alone."
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
    told = ", ".join(f"{short(key)} {value}" for key, value in arm.changes.items())
    return told or "nothing: it costs the same"


def _price_text(price: Price) -> str:
    return f"{price.cost:,.0f} ({100 * price.deviation:+.1f} %)"


def _difference_text(arm: ConfirmedArm | None, units: Units) -> str:
    return "-" if arm is None else interval_text(arm.comparison, units) or "-"


def _verdict_text(arm: ConfirmedArm | None, summary: Summary) -> str:
    return "not confirmed" if arm is None else verdict_text(arm, summary)


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
