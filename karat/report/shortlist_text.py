"""The shortlists of a study in sentences."""

from collections.abc import Iterable

from karat.report.facts.shortlists import ShortlistFacts
from karat.report.facts.summary import Summary
from karat.report.formatting import Units


def where_best(summary: Summary) -> str:
    """In what the arm of the answer did best: the values that chose it, which confirm nothing."""
    return "search" if summary.shortlist is None else "fresh runs of the shortlists"


def chosen_text(summary: Summary) -> str:
    """How the cell to confirm is chosen."""
    metric, facts = summary.metric, summary.shortlist
    best = "highest" if metric.mode == "max" else "lowest"
    if facts is None:
        return f"{best} {metric.name} of the search, among trials at full length"
    return (
        f"{best} mean {metric.name} over {_seeds(facts)}, none of them used in search or confirmation, "
        f"among the {facts.size} cells with the {best} {metric.name} of the search at full length"
    )


def shortlist_notes(summary: Summary) -> Iterable[str]:
    """What was trained again before the cells were chosen, and what that changed; nothing without a shortlist."""
    facts = summary.shortlist
    if facts is None or not facts.cells:
        return
    failed = sum(cell.failed for cell in facts.cells)
    count = f"{facts.ended} of {facts.planned} runs have ended"
    if facts.ended == facts.planned:
        count = f"{facts.planned} runs"
    trouble = f", of which {failed} failed" * bool(failed)
    yield (
        f"Shortlists: of each reference and level the {facts.size} best cells of the search were trained again "
        f"with {_seeds(facts)} ({count}{trouble}), and the one with the best mean is confirmed. These "
        "runs are not tested, and have no part in the verdicts."
    )
    chosen = [cell for cell in facts.cells if cell.is_confirmed]
    if facts.lost is None or not chosen or facts.ended < facts.planned:
        return
    units, first = Units(summary.metric), sum(cell.place == 1 for cell in chosen)
    yield (
        f"The best cell of the search was confirmed in {first} of {len(chosen)} cases. Its value in the search "
        f"was on average {_apart(facts.lost, units)} the mean of its fresh runs."
    )


def _apart(lost: float, units: Units) -> str:
    """`1.20 points above` for what a value was higher by, and `below` for what it was lower by."""
    return f"{units.number(abs(lost))}{units.step} {'above' if lost >= 0 else 'below'}"


def _seeds(facts: ShortlistFacts) -> str:
    return f"{facts.seeds} fresh seed{'s' * (facts.seeds != 1)}"
