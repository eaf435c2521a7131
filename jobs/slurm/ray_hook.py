"""Called by `ray start` (`RAY_START_HOOK`) before it starts anything."""

from typing import Any

NAME = f"{__name__}.without_client_server"


def without_client_server(parameters: Any, head: bool) -> None:
    """Ray's server for clients from elsewhere, for which no option says no, is not wanted."""
    parameters.ray_client_server_port = None
