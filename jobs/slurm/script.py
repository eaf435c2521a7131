"""The batch script of a study, as text; pure functions of a submission."""

import shlex
import sys
from pathlib import Path

from jobs import Submission
from jobs.slurm.settings import SlurmSettings
from karat.execution.ray_internals import NETWORK

LOGS = ".slurm"  # below the storage; no study has a name with a dot


def script(submission: Submission[SlurmSettings], python: str = sys.executable) -> str:
    """The batch script.

    Args:
        submission: what is submitted.
        python: that runs karat on every node, where there is no image.
    """
    settings = submission.settings
    return "\n".join(
        [
            "#!/bin/bash -l",
            f"# karat: {submission.space.name}. Submitted again, it resumes.",
            *(f"#SBATCH {option}" for option in _options(submission)),
            "set -eo pipefail",  # no -u: module files and activation scripts use variables that are not set
            "umask 077",
            *_exports(submission),
            *(['eval "$KARAT_SETUP"'] if setup_of(settings) else []),
            "exec " + " \\\n    ".join(_job_words(submission, python)),
            "",
        ]
    )


def runner(submission: Submission[SlurmSettings], python: str = sys.executable) -> tuple[str, ...]:
    """The words that run Python on a node."""
    settings = submission.settings
    if settings.image is None:
        return (python,)
    data = data_of(submission)
    folders = (submission.code, submission.storage, submission.space_file.parent)
    binds = dict.fromkeys((*folders, *([data] if data is not None else [])))
    gpu = ("--nv",) if settings.gpus_per_node else ()
    return (
        *("apptainer", "exec", *gpu),
        *(word for path in binds for word in ("--bind", str(path))),
        *(settings.image, "python"),
    )


def data_of(submission: Submission[SlurmSettings]) -> Path | None:
    """The folder of the user's data; None for data that needs none."""
    root = submission.space.data.get("root")
    return None if root is None else Path(root).expanduser().absolute()


def _options(submission: Submission[SlurmSettings]) -> list[str]:
    name, settings = submission.space.name, submission.settings
    log = submission.storage / LOGS / f"{name}-{'%A_%a' if settings.array else '%j'}.log"
    given = {
        "job-name": f"karat-{name}",
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "nodes": settings.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": settings.cpus_per_node,
        "gpus-per-node": settings.gpus_per_node or None,
        "mem": f"{int(settings.memory_gb * 1e9 / 2**20)}M" if settings.memory_gb else None,
        "time": settings.time_limit,
        "signal": f"B:USR1@{settings.notice_s}",
        "array": f"1-{settings.array}%1" if settings.array else None,
        "output": f'"{log}"' if " " in str(log) else log,
        "open-mode": "append",
    }
    return [
        *(f"--{key}={value}" for key, value in given.items() if value is not None),
        "--no-requeue" if settings.array else "--requeue",
    ]


def setup_of(settings: SlurmSettings) -> str:
    """Lines of shell that every node runs first."""
    modules = [shlex.join(["module", "load", *settings.modules])] if settings.modules else []
    return "\n".join([*modules, *settings.setup])


def _exports(submission: Submission[SlurmSettings]) -> list[str]:
    settings, values = submission.settings, {**NETWORK, **submission.environment}
    if settings.array:
        values["KARAT_IF_LOCKED"] = "leave"
    if setup_of(settings):
        values["KARAT_SETUP"] = setup_of(settings)
    return [f"export {key}={shlex.quote(value)}" for key, value in values.items()]


def _job_words(submission: Submission[SlurmSettings], python: str) -> list[str]:
    settings, job = submission.settings, submission.code / "jobs" / "slurm" / "job.py"
    return [
        shlex.join(["python3" if settings.image else python, str(job)]),
        f"--cpus {settings.cpus_per_node} --gpus {settings.gpus_per_node}"
        f" --wait-minutes {settings.wait_minutes:g}"
        + ("" if settings.array else f" --requeue --notice-s {settings.notice_s}"),
        f"--storage {shlex.quote(str(submission.storage))}",
        f"--runner {shlex.quote(shlex.join(runner(submission, python)))}",
        shlex.join(["--", *submission.program, *submission.arguments]),
    ]
