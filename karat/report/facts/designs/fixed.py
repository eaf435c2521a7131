"""What was fixed before the launch of a study, beside the rule of the comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from karat.designs import design_of
from karat.tested import WEIGHTS, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What was fixed before the launch, beside the rule of the comparison.

    Args:
        name: of the design (`karat.designs`).
        sampler, allocation: of the search.
        early_stopping: its rule, `scheduler`, and what that one takes.
        seed: of the study.
        space_hash, data_fingerprint: of the question and of the data.
        weights: whose test values these are: of the `last` epoch, or of the `best` one.
        keeps_tested: whether the weights that were tested are kept; studies of older versions keep
            those of the best epoch instead.
    """

    name: str
    sampler: str
    allocation: str
    early_stopping: Mapping[str, Any]
    seed: int
    space_hash: str
    data_fingerprint: str
    weights: Weights
    keeps_tested: bool


def fixed_design(created: Mapping[str, Any]) -> Design:
    """That of a study, from the data of `study_created`."""
    search = created["search"]
    return Design(
        name=design_of(created["space"].get("design")).name,
        sampler=search["sampler"],
        allocation=search.get("allocation", "equal"),  # studies of the first version know no other
        early_stopping=created["early_stopping"],
        seed=created["seed"],
        space_hash=created["space_hash"],
        data_fingerprint=created["data"]["fingerprint"],
        weights=created["confirm"].get("weights", WEIGHTS),
        keeps_tested="weights" in created["confirm"],
    )
