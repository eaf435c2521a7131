"""TODO"""

import shlex
import sys
from pathlib import Path

from jobs import Submission
from jobs.slurm.settings import SlurmConfig

LOGS = ".slurm"  # below the storage; no study has a name with a dot


def text(submission: Submission, python: str = sys.executable) -> str:
    """The batch script.

    Args:
        submission: what is submitted.
        python: that runs karat on every node, where there is no image.
    """
    config = config_of(submission)
    return "\n".join(
        [
            "#!/bin/bash -l",
            f"# karat: {submission.space.name}. Submitted again, it goes on.",
            *(f"#SBATCH {option}" for option in _options(submission, config)),
            "set -eo pipefail",  # no -u: what modules and environments run does not stand it
            "umask 077",
            *_exports(submission, config),
            *(['eval "$KARAT_SETUP"'] if setup_of(config) else []),
            "exec " + " \\\n    ".join(_job_words(submission, config, python)),
            "",
        ]
    )


def runner(submission: Submission, python: str = sys.executable) -> tuple[str, ...]:
    """The words that run Python on a node."""
    config = config_of(submission)
    if config.image is None:
        return (python,)
    data = data_of(submission)
    folders = (submission.repository, submission.storage, submission.space_file.parent)
    binds = dict.fromkeys((*folders, *([data] if data is not None else [])))
    gpu = ("--nv",) if config.gpus_per_node else ()
    return (
        *("apptainer", "exec", *gpu),
        *(word for path in binds for word in ("--bind", str(path))),
        *(config.image, "python"),
    )


def data_of(submission: Submission) -> Path | None:
    """The folder of the user's data; None for data that needs none."""
    root = submission.space.data.get("root")
    return None if root is None else Path(root).expanduser().absolute()


def config_of(submission: Submission) -> SlurmConfig:
    return submission.cluster.slurm or SlurmConfig()


def _options(submission: Submission, config: SlurmConfig) -> list[str]:
    name = submission.space.name
    log = submission.storage / LOGS / f"{name}-{'%A_%a' if config.array else '%j'}.log"
    given = {
        "job-name": f"karat-{name}",
        "partition": config.partition,
        "account": config.account,
        "qos": config.qos,
        "constraint": config.constraint,
        "nodes": config.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": config.cpus_per_node,
        "gpus-per-node": config.gpus_per_node or None,
        "mem": f"{int(config.memory_gb * 1e9 / 2**20)}M" if config.memory_gb else None,
        "time": config.time_limit,
        "signal": f"B:USR1@{config.notice_s}",
        "array": f"1-{config.array}%1" if config.array else None,
        "output": f'"{log}"' if " " in str(log) else log,
        "open-mode": "append",
    }
    return [
        *(f"--{key}={value}" for key, value in given.items() if value is not None),
        "--no-requeue" if config.array else "--requeue",
    ]


def setup_of(config: SlurmConfig) -> str:
    """Lines of shell that every node runs first."""
    modules = [shlex.join(["module", "load", *config.modules])] if config.modules else []
    return "\n".join([*modules, *config.setup])


def _exports(submission: Submission, config: SlurmConfig) -> list[str]:
    values = dict(submission.environment)
    if config.array:
        values["KARAT_IF_LOCKED"] = "leave"
    if setup_of(config):
        values["KARAT_SETUP"] = setup_of(config)
    return [f"export {key}={shlex.quote(value)}" for key, value in values.items()]


def _job_words(submission: Submission, config: SlurmConfig, python: str) -> list[str]:
    repository = submission.repository
    return [
        shlex.join(["python3" if config.image else python, str(repository / "jobs/slurm/job.py")]),
        f"--cpus {config.cpus_per_node} --gpus {config.gpus_per_node}"
        f" --wait-minutes {config.wait_minutes:g}"
        + ("" if config.array else f" --requeue --notice-s {config.notice_s}"),
        f"--storage {shlex.quote(str(submission.storage))}",
        f"--runner {shlex.quote(shlex.join(runner(submission, python)))}",
        shlex.join(["--", str(repository / "launch.py"), *submission.arguments]),
    ]
