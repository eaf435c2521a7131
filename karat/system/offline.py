"""Telemetry and model hubs are off unless the user turns them on.

The switches are environment variables, so that child processes inherit them. A variable that the
user has set is left alone.
"""

import os

SWITCHES = {
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_OFFLINE": "1",  # timm downloads pretrained weights from there
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def go_offline() -> None:
    """Set the switches; call this before ray, mlflow or timm is imported, which read them once."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
