"""Called by `ray start`, which finds it by an environment variable, before it starts anything."""

from typing import Any

from karat.execution.ray_internals import leave_out_monitors

VARIABLE = "RAY_START_HOOK"
NAME = f"{__name__}.only_what_is_needed"


def only_what_is_needed(parameters: Any, head: bool) -> None:
    """Leave out Ray's server for remote clients, for which there is no option, and its monitors."""
    parameters.ray_client_server_port = None
    leave_out_monitors()
