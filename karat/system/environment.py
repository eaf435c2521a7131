"""A description of where a study ran: versions, code and hardware."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from karat import __version__
from karat.system.paths import CODE

_PACKAGES = ("torch", "torchvision", "timm", "ray", "optuna", "mlflow", "numpy", "scikit-learn")
# Of drivers for NVIDIA (Linux, and Windows below Linux) and AMD.
_GPU_DEVICES = ("nvidia[0-9]*", "dxg", "kfd")
_NO_CHECKOUT = {"commit": "not a git checkout", "altered": False}


def describe_environment() -> dict[str, Any]:
    """Versions of packages, karat's commit, whether its checkout was modified, and the hardware."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "karat": __version__,
        "git": _git(),
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "gpus": (gpus := _gpus()),
        **({"tf32": tf32()} if gpus else {}),
    }


def tf32() -> dict[str, bool]:
    """Whether torch rounds the factors of float32 products on a GPU to TF32 (10 bits of mantissa).

    karat leaves torch's defaults: not in matrix products, but in convolutions, of which a model has one, the
    patch embedding.
    """
    import torch

    return {
        "products": torch.get_float32_matmul_precision() != "highest",
        "convolutions": bool(torch.backends.cudnn.allow_tf32),
    }


def _gpus() -> list[str]:
    """Names of the GPUs; torch, which takes seconds to load, is asked only where there is a device."""
    if not any(path for pattern in _GPU_DEVICES for path in Path("/dev").glob(pattern)):
        return []
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _git() -> dict[str, Any]:
    def run(*arguments: str) -> str:
        # Without optional locks, `git status` cannot disturb a git command of the user.
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(CODE), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout.strip()

    # Installed packages may lie inside another project's checkout; its commit is not karat's.
    if not (CODE / ".git").exists():
        return _NO_CHECKOUT
    try:
        return {"commit": run("rev-parse", "HEAD"), "altered": bool(run("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return _NO_CHECKOUT


def cpu_name() -> str:
    """The processor's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
