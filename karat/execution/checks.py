"""What a study needs of a machine: versions, GPUs, storage, disk, ports, token."""

import importlib.metadata
import os
import shutil
import socket
import stat
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

from karat.execution.local_ray import LOOPBACK
from karat.system.checks import Unwell
from karat.system.disk_quota import GB
from karat.system.paths import CODE

_PINNED = CODE / "requirements.txt"


_CHECKED = ("torch", "torchvision", "timm", "ray", "optuna", "mlflow")


LEAST_GB = 2.0


_CONTAINER_SECRETS = Path("/run/secrets")  # read-only, with modes that nobody inside can change


def versions() -> str:
    """Python and the packages are those that karat is tested with."""
    if sys.version_info[:2] != (3, 11):
        raise Unwell(f"this is Python {sys.version.split()[0]}; karat needs 3.11")
    lines = (line.split(";")[0].strip() for line in _PINNED.read_text().splitlines())
    pinned = dict(line.split("==", 1) for line in lines if "==" in line and line[0] != "#")
    wrong = []
    for name in _CHECKED:
        wanted = _pinned(pinned, name)
        try:
            there = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            there = "missing"
        if there.partition("+")[0] != wanted:
            wrong.append(f"{name} is {there}, not {wanted}")
    if wrong:
        raise Unwell(f"{'; '.join(wrong)}: run `make`, or install requirements.txt")
    return ", ".join(["Python 3.11", *(f"{name} {_pinned(pinned, name)}" for name in _CHECKED)])


def _pinned(pinned: Mapping[str, str], package: str) -> str:
    """The version that is wanted; the list may name extras, as in `ray[tune]`."""
    return next(version for name, version in pinned.items() if name.split("[")[0] == package)


def gpus(wanted: float) -> str:
    """There are as many GPUs as a trial wants."""
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if wanted > len(names):
        raise Unwell(
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
                raise Unwell(
                    f"{storage} does not give back what was written; use another --storage"
                )
        finally:
            first.unlink(missing_ok=True)
            second.unlink(missing_ok=True)
    except OSError as error:
        raise Unwell(
            f"{storage} cannot be written ({error.strerror}): mend that, or use another --storage"
        ) from error
    return f"{storage.resolve()} can be written"


def disk(storage: Path, least_gb: float) -> str:
    """There is room."""
    there = next(path for path in (storage.resolve(), *storage.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free / GB
    if free < least_gb:
        raise Unwell(f"{free:.1f} GB are free in {there}, below {least_gb:g}: make room")
    return f"{free:.0f} GB free"


def ports() -> str:
    """Ports of this machine can be had."""
    try:
        with socket.socket() as one, socket.socket() as other:
            one.bind((LOOPBACK, 0))
            other.bind((LOOPBACK, 0))
    except OSError as error:
        raise Unwell(
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
        raise Unwell(f"RAY_AUTH_TOKEN_PATH: {path} holds no token; write one, or unset it")
    if not stat.S_IMODE(path.stat().st_mode) & 0o077:
        return f"{path}, readable by you alone"
    if not stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
        return f"{path}, in a folder that is yours alone"
    if path.is_relative_to(_CONTAINER_SECRETS) and not os.access(path, os.W_OK):
        return f"{path}, given to this container"
    raise Unwell(f"RAY_AUTH_TOKEN_PATH: others may read {path}: chmod 600 {path}")
