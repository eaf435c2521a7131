"""What a design shows, in words: names of effects, and what is settled about them."""

from karat.report.facts.designs.changes import Change
from karat.report.facts.designs.effects import Effect
from karat.report.facts.summary import Summary
from karat.report.formatting import listed, short

FRACTION = "fractional"
WITHOUT = "leave_one_out"  # the design whose changes take an ingredient away


def effect_name(effect: Effect) -> str:
    """`mixup`, or `mixup x depth`."""
    return " x ".join(map(short, effect.factors))


def aliases_text(effect: Effect) -> str:
    """`minus mixup x depth`, for each; a dash where nothing of two factors or one is."""
    named = [
        f"{'minus ' * minus}{' x '.join(map(short, names))}" for minus, names in effect.aliases
    ]
    return listed(named) if named else "-"


def effect_verdict(effect: Effect, summary: Summary) -> str:
    """What is settled: a main effect has the words of an arm, an interaction its own."""
    if not summary.is_final:
        return "pending"
    verdict = effect.comparison.verdict
    if effect.is_main:
        return str(verdict)
    words = {"better": "yes, more", "worse": "yes, less", "equivalent": "none"}
    return words.get(verdict, "inconclusive")


def change_verdict(change: Change, summary: Summary) -> str:
    """The verdict on its arm."""
    return str(change.comparison.verdict) if summary.is_final else "pending"


def changed_text(summary: Summary) -> str:
    """What an arm of a design that changes one factor at a time is."""
    if summary.design.name == WITHOUT:
        return "the full recipe without one ingredient"
    return "the reference with one factor changed"


def ranked(summary: Summary) -> list[Effect]:
    """The effects, the largest first."""
    return sorted(summary.effects, key=lambda each: -abs(each.comparison.difference or 0.0))
