"""Checks that a machine has what a study needs: versions, GPUs, storage, disk, ports, token."""

import importlib.metadata
import os
import platform
import shutil
import socket
import stat
import uuid
from pathlib import Path

from karat.execution.local_ray import LOOPBACK
from karat.system.checks import CheckFailed
from karat.system.dependencies import declared
from karat.system.disk_quota import GB

LEAST_GB = 2.0
_CHECKED = ("torch", "torchvision", "timm", "ray", "optuna", "mlflow")
_MISSING = "missing"
_CONTAINER_SECRETS = Path("/run/secrets")  # mounted read-only: nobody in the container can chmod


def versions() -> str:
    """Check that Python and the packages have the versions that karat is tested with."""
    needs = declared()
    python = platform.python_version()
    if not needs.python.contains(python, prereleases=True):
        raise CheckFailed(f"this is Python {python}; karat needs {needs.python}")
    there = {name: _version(name) for name in _CHECKED}
    wrong = [
        f"{name} is {version}, not {str(needs.packages[name]).removeprefix('==')}"
        for name, version in there.items()
        if version == _MISSING or not needs.packages[name].contains(version, prereleases=True)
    ]
    if wrong:
        raise CheckFailed(f"{'; '.join(wrong)}: run `make`, or install requirements.txt")
    return ", ".join([f"Python {python}", *(f"{name} {there[name]}" for name in _CHECKED)])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return _MISSING


def gpus(wanted: float) -> str:
    """Check that the machine has as many GPUs as a trial needs."""
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if wanted > len(names):
        raise CheckFailed(
            f"resources.gpus = {wanted:g}, and torch sees {len(names)}: look at nvidia-smi and "
            "CUDA_VISIBLE_DEVICES, or use 0"
        )
    return ", ".join(names) or "none; trials run on the CPU"


def writable(storage: Path) -> str:
    """Check that a file can be written to the storage, renamed and read again."""
    try:
        storage.mkdir(parents=True, exist_ok=True)
        first, second = (storage / f".doctor-{uuid.uuid4().hex}" for _ in range(2))
        try:
            with first.open("xb") as file:
                file.write(b"karat")
                os.fsync(file.fileno())
            first.rename(second)
            if second.read_bytes() != b"karat":
                raise CheckFailed(
                    f"{storage}: a file was read back with other content; use another --storage"
                )
        finally:
            first.unlink(missing_ok=True)
            second.unlink(missing_ok=True)
    except OSError as error:
        raise CheckFailed(
            f"{storage} cannot be written ({error.strerror}): fix that, or use another --storage"
        ) from error
    return f"{storage.resolve()} can be written"


def disk(storage: Path, least_gb: float) -> str:
    """Check that the disk of the storage has `least_gb` GB free."""
    there = next(path for path in (storage.resolve(), *storage.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free / GB
    if free < least_gb:
        raise CheckFailed(
            f"{free:.1f} GB are free in {there}, {least_gb:g} are needed: free some space"
        )
    return f"{free:.0f} GB free"


def ports() -> str:
    """Check that this machine has free ports on loopback."""
    try:
        with socket.socket() as one, socket.socket() as other:
            one.bind((LOOPBACK, 0))
            other.bind((LOOPBACK, 0))
    except OSError as error:
        raise CheckFailed(
            f"no free port on {LOOPBACK} ({error.strerror}); Ray needs some"
        ) from error
    return f"free ports on {LOOPBACK}"


def token() -> str:
    """Check that only this user can read Ray's token; without one, each launch creates its own."""
    if "RAY_AUTH_TOKEN" in os.environ:
        return "RAY_AUTH_TOKEN is used"
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not given:
        return "none is set; each launch creates its own"
    path = Path(given)
    if not path.is_file() or not path.read_text(encoding="utf-8").strip():
        raise CheckFailed(f"RAY_AUTH_TOKEN_PATH: {path} contains no token; write one, or unset it")
    if not stat.S_IMODE(path.stat().st_mode) & 0o077:
        return f"{path}, readable only by you"
    if not stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
        return f"{path}, in a folder that only you can open"
    if path.is_relative_to(_CONTAINER_SECRETS) and not os.access(path, os.W_OK):
        return f"{path}, mounted into this container"
    raise CheckFailed(f"RAY_AUTH_TOKEN_PATH: other users can read {path}: chmod 600 {path}")
