"""Called by `ray start` (`RAY_START_HOOK`) before it starts anything."""

from typing import Any

NAME = f"{__name__}.without_client_server"


def without_client_server(parameters: Any, head: bool) -> None:
    """Switch off Ray's server for remote clients, for which there is no option."""
    parameters.ray_client_server_port = None
