"""No call to anywhere unless the user asks for it: telemetry and model hubs are off.

Set in the environment, so that it holds in every process that is started from here. A switch
that the user has set is the user's.
"""

import os

SWITCHES = {
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_OFFLINE": "1",  # timm's weights
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def go_offline() -> None:
    """Put the switches into the environment; before ray, mlflow and timm are imported."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
