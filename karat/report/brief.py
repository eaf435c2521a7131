"""A study's answer in a line, for lists of studies: the verdict and the difference, and no more."""

from karat.journal.wording import study_failure_text
from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.standing import Standing
from karat.report.formatting import Units, interval_text, listed, short, text_of

_PHASES = {"search": "search trials", "shortlist": "shortlist runs", "confirm": "confirmation runs"}


def brief_answer(standing: Standing) -> str:
    """The answer in a line; it says what the first sentence of `karat.report.answer.answer` does, or less."""
    if standing.status == "failed":
        return f"no answer: {study_failure_text(standing.cause, standing.details)}"
    if not standing.is_final:
        return f"no answer yet: {progress_text(standing)}"
    if standing.is_matched:
        return _by_level(standing)
    arm = standing.headline
    if arm is None:
        return "no answer: no arm but the reference has a result"
    return _about(arm, standing)


def progress_text(standing: Standing) -> str:
    """How many trials of the phase that runs have ended: `7 of 20 search trials have ended`."""
    for phase, planned in standing.planned.items():
        if standing.ended[phase] < planned:
            return f"{standing.ended[phase]} of {planned} {_PHASES[phase]} have ended"
    return "all trials have ended"


def _about(arm: ConfirmedArm, standing: Standing) -> str:
    units, found = Units(standing.metric), arm.comparison
    if found is None or found.difference is None:
        return f"{arm.label}: nothing to compare it with"
    what = "" if standing.metric.is_share else " in test loss"
    return (
        f"{arm.label} {found.verdict}: {interval_text(found, units)}{units.step}{what} "
        f"against {arm.against}"
    )


def _by_level(standing: Standing) -> str:
    """`by embed_dim: better at 24 and 48; inconclusive at 96`."""
    at: dict[str, list[str]] = {}
    for arm in standing.others:
        found = arm.comparison
        known = found is not None and found.difference is not None
        word = found.verdict if found is not None and known else "not compared"
        at.setdefault(word, []).append(text_of(arm.level))
    told = "; ".join(f"{word} at {listed(levels)}" for word, levels in at.items())
    return f"by {short(standing.by)}: {told or 'nothing to compare'}"
