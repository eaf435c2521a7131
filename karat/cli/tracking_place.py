"""A relative `MLFLOW_TRACKING_URI` means the same for every process of a launch, and for every command."""

import os
from collections.abc import MutableMapping

_NAME, _SQLITE = "MLFLOW_TRACKING_URI", "sqlite:///"


def resolve_tracking_uri(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make the path in `MLFLOW_TRACKING_URI` absolute, from the folder of this process.

    To be called before any other process is started. Addresses of servers and absolute paths are not changed.

    Args:
        environment: changed in place.
    """
    given = environment.get(_NAME, "")
    if given.startswith(_SQLITE):
        path, mark, options = given.removeprefix(_SQLITE).partition("?")
        # In memory, or a URI of SQLite's own, which has a scheme.
        if path and not path.startswith(("/", ":memory:", "file:")):
            environment[_NAME] = f"{_SQLITE}{os.path.abspath(path)}{mark}{options}"
    elif given and ":" not in given and given != "databricks":
        environment[_NAME] = os.path.abspath(given)
