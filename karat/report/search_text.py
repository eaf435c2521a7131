"""Sentences about how a study's search was stopped early, and what its result depends on."""

from collections.abc import Iterable

from karat.report.facts.search_summary import FalseStops, SearchFacts
from karat.report.formatting import percent


def stopping_notes(facts: SearchFacts) -> Iterable[str]:
    """What the audit of early stopping found, unless it found false stops; nothing where none was asked for."""
    found = facts.false_stops
    if found is None:
        return
    if not found.finished:
        yield (
            f"Early stopping was audited (a share of {found.share:g} of the stopped trials was to be "
            "finished anyway), but none of the trials chosen would have been stopped."
        )
    elif not found.best:
        yield f"False stops: {false_stops_text(found)}"


def false_stops_text(found: FalseStops) -> str:
    """How many of the trials that were finished anyway were the best of their arm; at least one was finished."""
    rate = found.best / found.finished
    assert found.low is not None
    assert found.high is not None
    return (
        f"{found.finished} trials that early stopping would have stopped were finished "
        f"anyway (a share of {found.share:g}, drawn before they began), and {found.best} of them "
        f"{'was' if found.best == 1 else 'were'} the best of an arm: {percent(rate)}, 95 % interval "
        f"{percent(found.low)} to {percent(found.high)} (Clopper-Pearson)."
    )


def importance_notes(facts: SearchFacts) -> Iterable[str]:
    """How importances were computed, and at which epoch; nothing where there are none."""
    found = facts.importances
    if found is None:
        return
    trials = f"{found.trials} trials"
    if found.trials < found.of:
        trials = f"{found.trials} of {found.of} trials"
    yield (
        f"Importances: PED-ANOVA on the values of {trials} after epoch {found.epoch}, the last that "
        f"all of them have reached. They say what the {found.best} best of them have in common at that "
        "epoch, not what decides at full length. Each 95 % interval is from the percentiles of "
        "resampled trials."
    )
