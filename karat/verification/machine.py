"""Whether a study ran on a machine like this one."""

from collections.abc import Mapping
from typing import Any

from karat.journal.state import StudyState
from karat.system.environment import describe_environment


def is_of_this_machine(state: StudyState) -> bool:
    """Whether all launches had this machine's processor and version of torch."""
    here = _machine(describe_environment())
    return all(_machine(launch.environment) == here for launch in state.launches)


def _machine(environment: Mapping[str, Any]) -> tuple[Any, Any]:
    return environment.get("cpu"), environment.get("packages", {}).get("torch")
