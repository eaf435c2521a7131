"""`python -m karat doctor`: what a study needs of this machine, each asked by a small function of its own.

A check returns what it found, and raises `Unwell` with what is wrong and what to do. A cluster's own
checks are in `jobs`.
"""

import importlib.metadata
import os
import shutil
import socket
import stat
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from karat.disk import GB
from karat.errors import KaratError
from karat.local_ray import LOOPBACK
from karat.mlflow_client import open_client, patience
from karat.redact import shown_address, without_secrets
from karat.space import ResourceConfig

_PINNED = Path(__file__).resolve().parent.parent / "requirements.txt"
_CHECKED = ("torch", "torchvision", "timm", "ray", "optuna", "mlflow")
LEAST_GB = 2.0
_MLFLOW_S = 20.0
_CLOCKS_APART_S = 5.0
_CONTAINER_SECRETS = Path("/run/secrets")  # read-only, with modes that nobody inside can change


class Unwell(KaratError):
    """A check that fails: what is wrong, and what to do."""


@dataclass(frozen=True)
class Finding:
    """What one check came to."""

    name: str
    ok: bool
    said: str

    def __str__(self) -> str:
        return f"{'ok   ' if self.ok else 'FAILS'}  {self.name:9} {self.said}"


Check = tuple[str, Callable[[], str]]


def examine(checks: Iterable[Check]) -> list[Finding]:
    """Make every check, whatever becomes of those before."""
    return [_made(name, check) for name, check in checks]


def _made(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (KaratError, OSError) as error:
        return Finding(name, False, without_secrets(" ".join(str(error).split())))


def checks_here(storage: Path, resources: ResourceConfig, *, elsewhere: bool) -> list[Check]:
    """The checks of this machine.

    Args:
        storage: folder of all studies.
        resources: of a trial.
        elsewhere: trials do not run here, but on a cluster.
    """
    return [
        ("versions", versions),
        ("gpus", lambda: gpus(0 if elsewhere else resources.gpus_at_most)),
        ("storage", lambda: writable(storage)),
        ("disk", lambda: disk(storage, resources.disk_gb or LEAST_GB)),
        ("ports", ports),
        ("token", token),
        ("mlflow", lambda: tracking(os.environ.get("MLFLOW_TRACKING_URI"))),
    ]


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


def clocks_agree(apart_s: Mapping[str, float], than: str = "here") -> str:
    """Clocks of nodes agree, so that times in a study can be read.

    Args:
        apart_s: how far each node's differs.
        than: from whose.
    """
    wrong = [f"{n} by {s:+.0f} s" for n, s in apart_s.items() if abs(s) > _CLOCKS_APART_S]
    if wrong:
        raise Unwell(f"clocks differ from {than}: {', '.join(wrong)}; have NTP set up there")
    return f"within {_CLOCKS_APART_S:.0f} s of {than}"


def tracking(uri: str | None) -> str:
    """A run can really be written to the MLflow server, and is taken away again."""
    if uri is None:
        return "no MLFLOW_TRACKING_URI: a SQLite file in the storage"
    try:
        with patience(_MLFLOW_S):
            client = open_client(uri)
            known = client.get_experiment_by_name("karat-doctor")
            experiment = known.experiment_id if known else client.create_experiment("karat-doctor")
            run = client.create_run(experiment).info.run_id
            client.log_metric(run, "alive", 1.0)
            client.delete_run(run)
    except Exception as error:
        said = " ".join(without_secrets(str(error)).split())[:200]
        raise Unwell(
            f"{shown_address(uri)} takes no run ({said}): check address, user and password "
            "(MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD)"
        ) from error
    return f"{shown_address(uri)} takes runs"
