"""Which arms get more seeds, once all their runs so far have ended: those without a verdict that may get one."""

from collections.abc import Mapping
from typing import Any

from karat.journal.outcomes import failed_seeds, metric_of, rule_of, test_values
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.statistics.comparison import Comparison, Rule, compare
from karat.statistics.futility import chance_of_verdict, is_futile


def seeds_to_add(state: StudyState) -> dict[str, Any] | None:
    """The seeds to add, as data of `seeds_added`: a function of the journal alone.

    Each arm without a verdict goes on to its next look, unless it is at its last one or a verdict has
    become too unlikely; its reference goes on with it. All arms are judged together, since Holm's
    correction depends on all of them.

    Args:
        state: of a study whose planned confirmation runs have all ended.

    Returns:
        `seeds`: arm to its number of seeds from now on, for those that get more; `arms`: what was found of
        each arm. None where none gets more.
    """
    rule = rule_of(state.created)
    if not rule.looks or state.confirmation is None:
        return None
    compared = compared_arms(state, rule)
    labels = {label for each in compared.values() for label in (each.arm, each.against)}
    seeds = grown(compared, rule, {label: state.seeds_of(label) for label in labels})
    if not seeds:
        return None
    arms = [_told(each, rule, state.seeds_of(label)) for label, each in compared.items()]
    return {"seeds": seeds, "arms": arms}


def grown(
    compared: Mapping[str, Comparison], rule: Rule, seeds: Mapping[str, int]
) -> dict[str, int]:
    """The arms and references that get more seeds, with their number from then on; empty at the end.

    Args:
        compared: each arm with its reference, as one family.
        rule: with looks.
        seeds: of each arm and reference so far.
    """
    more: dict[str, int] = {}
    for label, found in compared.items():
        later = next((look for look in rule.looks if look > seeds[label]), None)
        if found.verdict != "inconclusive" or later is None or is_futile(found, rule, seeds[label]):
            continue
        more[label] = later
        if later > more.get(found.against, seeds[found.against]):
            more[found.against] = later
    return more


def compared_arms(state: StudyState, rule: Rule) -> dict[str, Comparison]:
    """Each confirmed arm against its reference, at the longest training, by label."""
    assert state.confirmation is not None
    metric = metric_of(state.created)
    runs: dict[str, list[Trial]] = {}
    for trial in state.of_phase("confirm"):
        if trial.budget == state.longest:
            runs.setdefault(trial.arm, []).append(trial)
    against = {
        cell["arm"]: state.references[cell["level"]]
        for cell in state.confirmation["cells"]
        if cell["arm"] not in state.reference_arms
    }
    values = {label: test_values(trials, metric) for label, trials in runs.items()}
    failed = {label: failed_seeds(trials) for label, trials in runs.items()}
    return compare(values, against, rule, failed)


def _told(found: Comparison, rule: Rule, seeds: int) -> dict[str, Any]:
    """What an event says of an arm; chances are rounded, so that another machine decides the same."""
    return {
        "arm": found.arm,
        "seeds": seeds,
        "pairs": found.n,
        "verdict": found.verdict,
        "why": None if found.why is None else found.why.value,
        "chance": round(chance_of_verdict(found, rule, seeds), 3),
    }
