"""The variables that Ray and Tune read. A file of its own: a node of a cluster needs nothing else of karat."""

import os

from karat.execution.local_ray import close_environment
from karat.system.paths import add_to_python_path

_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # karat's handler passes SIGINT to Tune as SIGUSR1
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def prepare_environment(address: str) -> None:
    """Set the variables that Ray and Tune read in the driver; every worker inherits them.

    Args:
        address: address of Ray's head.
    """
    os.environ.update(_ENVIRONMENT)
    close_environment(address)
    add_to_python_path(os.environ)
