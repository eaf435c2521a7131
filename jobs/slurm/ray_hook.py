"""Called by `ray start`, which finds it by an environment variable, before it starts anything."""

from typing import Any

VARIABLE = "RAY_START_HOOK"
NAME = f"{__name__}.without_client_server"


def without_client_server(parameters: Any, head: bool) -> None:
    """Switch off Ray's server for remote clients, for which there is no option."""
    parameters.ray_client_server_port = None
