"""The early stopping of a space: what it names, or the default for the size of its arms."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from karat.errors import SettingError, nearest
from karat.parameters import Tuned
from karat.samplers import SearchConfig
from karat.schedulers import NONE, SCHEDULERS, ArmSize, make_scheduler
from karat.space.document import SpaceData
from karat.space.space import Arm, Space
from karat.training.recipes import load_recipe

# From so many trials in an arm on, the best trial that ASHA leaves is on average less than 0.5 points
# below the best of all: docs/decisions/0030-early-stopping.md, `python -m benchmarks.early_stopping`.
FEW_TRIALS = 12
DEFAULT, FOR_GOALS = "asha", "nondominated"


def arm_sizes(
    arms: Sequence[Arm], search: SearchConfig, tuned: Mapping[str, Tuned], tunings: int = 1
) -> dict[str, ArmSize]:
    """How much is searched in each arm, by the name of its group; each tuning is a group of its own.

    Args:
        arms: of the space.
        search: checked settings of the search.
        tuned: parameters of the space.
        tunings: of each arm.
    """
    groups = [(group_of(arm.label, tuning), arm) for tuning in range(tunings) for arm in arms]
    return {
        group: ArmSize(
            trials=_trials(arm, place, len(groups), search, tuned), epochs=_epochs(arm, tuned)
        )
        for place, (group, arm) in enumerate(groups)
    }


def group_of(label: str, tuning: int) -> str:
    """The group of the search to which an arm's trials of a tuning belong."""
    return f"{label} (tuning {tuning + 1})" if tuning else label


def read_stopping(
    data: SpaceData,
    search: SearchConfig,
    sizes: Mapping[str, ArmSize],
    recorded: Mapping[str, Any] | None,
) -> Mapping[str, Any]:
    """The section `early_stopping` of a space, checked against the sizes of its arms; arguments as of `chosen`.

    Raises:
        InputError: it is refused.
    """
    try:
        found = chosen(data.mapping(("early_stopping",), {}), recorded, search, sizes)
        make_scheduler(found, search.mode, sizes)
    except SettingError as error:
        data.refuse(error)
    return found


def chosen(
    given: Mapping[str, Any],
    recorded: Mapping[str, Any] | None,
    search: SearchConfig,
    sizes: Mapping[str, ArmSize],
) -> Mapping[str, Any]:
    """The section `early_stopping` with its scheduler: ASHA by default, and none where arms are small.

    Args:
        given: the section as it was written; empty where it is not there.
        recorded: what a journal says it was; it is kept where the file names none, since a study
            must not change its rule when it grows.
        search: checked settings of the search.
        sizes: of the arms.

    Raises:
        SettingError: settings are given without the rule that they belong to.
    """
    if "scheduler" in given:
        _check_goals(given["scheduler"], search)
        return given
    if given:
        first = next(iter(given))
        rule = f"needs early_stopping.scheduler, the rule it belongs to. {nearest('', SCHEDULERS)}"
        raise SettingError(f"early_stopping.{first}", rule, given[first])
    if recorded:
        return recorded
    default = FOR_GOALS if search.goals else DEFAULT
    return {"scheduler": default if trials_per_arm(search, sizes) >= FEW_TRIALS else NONE}


def _check_goals(name: object, search: SearchConfig) -> None:
    """Refuse a rule that compares one goal of several, and would stop what is good at another.

    Raises:
        SettingError: names those that compare all.
    """
    if search.goals and name in SCHEDULERS and not SCHEDULERS[str(name)].several_goals:
        rule = f"compares one goal, and would stop what is good at another; for search.goals use {FOR_GOALS} or {NONE}"
        raise SettingError("early_stopping.scheduler", rule, name)


def trials_per_arm(search: SearchConfig, sizes: Mapping[str, ArmSize]) -> int:
    """Trials of the arm that has the fewest; where arms have no number of their own, their mean."""
    counts = [each.trials for each in sizes.values() if each.trials is not None]
    return min(counts) if counts else (search.trials or 0) // len(sizes)


def why_chosen(space: Space) -> str:
    """The scheduler, and why it is the default; only its name where the file names it."""
    name = str(space.early_stopping["scheduler"])
    if "scheduler" in (space.source.get("early_stopping") or {}):
        return name
    if space.design.stopping:
        return f"{name}, since design {space.design.name} trains every cell at full length"
    count = trials_per_arm(space.search, space.sizes)
    side = "fewer than" if count < FEW_TRIALS else "at least"
    return f"{name}, the default for arms of {side} {FEW_TRIALS} trials (here {count})"


def _trials(
    arm: Arm, place: int, groups: int, search: SearchConfig, tuned: Mapping[str, Tuned]
) -> int | None:
    if search.sampler == "grid":
        return prod(len(tuned[key].values or ()) for key in arm.tuned)
    if search.allocation != "equal" or search.trials is None:
        return None
    return search.trials // groups + (place < search.trials % groups)


def _lowest(tuned: Tuned) -> Any:
    """The low end of a range, or the first value of a list."""
    return tuned.low if tuned.values is None else tuned.values[0]


def _epochs(arm: Arm, tuned: Mapping[str, Tuned]) -> int:
    lows = {
        key.partition(".")[2]: _lowest(tuned[key])
        for key in arm.tuned
        if key.startswith("training.")
    }
    training = {**arm.sections["training"], **lows}
    epochs: int = {**load_recipe(training.get("recipe", "quick")), **training}["epochs"]
    return epochs
