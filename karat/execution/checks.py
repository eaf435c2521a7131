"""What a study needs of a machine: versions, GPUs, storage, disk, ports, token."""

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
_CONTAINER_SECRETS = Path("/run/secrets")  # read-only, with modes that nobody inside can change


def versions() -> str:
    """Python and the packages are those that karat is tested with."""
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
    """There are as many GPUs as a trial wants."""
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if wanted > len(names):
        raise CheckFailed(
            f"resources.gpus = {wanted:g}, and torch sees {len(names)}: look at nvidia-smi and "
            "CUDA_VISIBLE_DEVICES, or use 0"
        )
    return ", ".join(names) or "none; trials run on the CPU"


def writable(storage: Path) -> str:
    """A file can be written to the storage, renamed, and read again."""
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
                    f"{storage} does not give back what was written; use another --storage"
                )
        finally:
            first.unlink(missing_ok=True)
            second.unlink(missing_ok=True)
    except OSError as error:
        raise CheckFailed(
            f"{storage} cannot be written ({error.strerror}): mend that, or use another --storage"
        ) from error
    return f"{storage.resolve()} can be written"


def disk(storage: Path, least_gb: float) -> str:
    """There is room."""
    there = next(path for path in (storage.resolve(), *storage.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free / GB
    if free < least_gb:
        raise CheckFailed(f"{free:.1f} GB are free in {there}, below {least_gb:g}: make room")
    return f"{free:.0f} GB free"


def ports() -> str:
    """Ports of this machine can be had."""
    try:
        with socket.socket() as one, socket.socket() as other:
            one.bind((LOOPBACK, 0))
            other.bind((LOOPBACK, 0))
    except OSError as error:
        raise CheckFailed(
            f"no port of {LOOPBACK} can be had ({error.strerror}); Ray needs some"
        ) from error
    return f"free ports on {LOOPBACK}"


def token() -> str:
    """No token that Ray would use lies open; without one, every launch draws its own."""
    if "RAY_AUTH_TOKEN" in os.environ:
        return "RAY_AUTH_TOKEN is used"
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not given:
        return "drawn anew by every launch"
    path = Path(given)
    if not path.is_file() or not path.read_text().strip():
        raise CheckFailed(f"RAY_AUTH_TOKEN_PATH: {path} holds no token; write one, or unset it")
    if not stat.S_IMODE(path.stat().st_mode) & 0o077:
        return f"{path}, readable by you alone"
    if not stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
        return f"{path}, in a folder that is yours alone"
    if path.is_relative_to(_CONTAINER_SECRETS) and not os.access(path, os.W_OK):
        return f"{path}, given to this container"
    raise CheckFailed(f"RAY_AUTH_TOKEN_PATH: others may read {path}: chmod 600 {path}")
