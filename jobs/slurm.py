"""One Slurm job that holds a whole study: its text, and its submission.

The text is a batch script that ends in `jobs/slurm_job.py`, which starts Ray on all nodes, runs
the study and requeues the job before its time limit.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobs import Submission, Submitted
from karat.clusters import SlurmConfig
from karat.dryrun import longest_epoch_s
from karat.errors import InputError, nearest
from karat.space import ResourceConfig

LOGS = ".slurm"  # below the storage; no study has a name with a dot
_ANSWER_S = 60.0
_START_MARGIN_S = 60.0
_NODES_S = 10  # for nodes to be asked before submission


def text(submission: Submission, python: str = sys.executable) -> str:
    """The batch script.

    Args:
        submission: what is submitted.
        python: that runs karat on every node, where there is no image.
    """
    config = _config(submission)
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


def submit(submission: Submission) -> Submitted:
    """Check what can be checked, hand the script to `sbatch`, and say how to handle the job.

    Raises:
        InputError: Slurm would refuse it, or it could not get anywhere.
    """
    config = _config(submission)
    check_settings(submission, config)
    check_site(submission, config, nodes_of_site())
    check_nodes(submission, config)
    logs = submission.storage / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    run("sbatch", "--test-only", text=text(submission))
    if "--fresh" in submission.arguments:
        submission = _put_aside(submission)
    job = run("sbatch", "--parsable", text=text(submission)).strip().partition(";")[0]
    log = logs / (f"{submission.space.name}-{job}" + ("_*.log" if config.array else ".log"))
    return Submitted(
        id=job,
        watch=f"tail -F {shlex.quote(str(logs))}/{log.name}",
        stop=f"scancel {job}",
        resume=shlex.join(["python", "launch.py", *submission.arguments, "--submit", "slurm"]),
    )


@dataclass(frozen=True)
class Node:
    """A node of the site, in one of its partitions."""

    name: str
    partition: str
    default: bool
    cpus: int
    gpus: int


def nodes_of_site() -> list[Node]:
    """What `sinfo` knows."""
    nodes = []
    for line in run("sinfo", "--noheader", "--Node", "--format=%N|%P|%c|%G").splitlines():
        name, partition, cpus, gres = line.strip().split("|")
        gpus = sum(map(int, re.findall(r"gpu:(?:[^:,()]+:)?(\d+)", gres)))
        default = partition.endswith("*")
        nodes.append(Node(name, partition.rstrip("*"), default, int(cpus.rstrip("+")), gpus))
    return nodes


def check_settings(submission: Submission, config: SlurmConfig) -> None:
    """Refuse what is wrong at any site.

    Raises:
        InputError: what, and what would be right.
    """
    _check_room(submission.space.resources, config)
    usable = config.time_limit_s - config.notice_s - _START_MARGIN_S
    epoch = longest_epoch_s(submission.space)
    if epoch > usable:
        raise InputError(
            f"slurm.time_limit = {config.time_limit}: about {max(0, usable):.0f} s are for training "
            f"(less notice_s, {config.notice_s}, and a minute to start), and an epoch takes about "
            f"{epoch:.0f} s; give the job more time"
        )
    if config.array and any(word.startswith("--extend") for word in submission.arguments):
        raise InputError("--extend: does not go with slurm.array, each job of which would extend")
    if any(c in str(submission.storage) for c in "\n\"'\\%"):
        raise InputError(f"--storage {submission.storage}: Slurm takes no quotes or % in paths")


def _check_room(resources: ResourceConfig, config: SlurmConfig) -> None:
    processes = resources.of_processes
    for name, wanted, each, there in (
        ("gpus", resources.gpus_at_most, resources.gpus_of_process, config.gpus_per_node),
        ("cpus", resources.cpus, resources.cpus, config.cpus_per_node),
    ):
        room = config.nodes * int(there / each) if each else processes
        if room < processes:
            raise InputError(
                f"resources.{name} = {wanted:g}: a node of the job has {there} "
                f"(slurm.{name}_per_node), and its nodes ({config.nodes}) hold {room} of the "
                f"{processes} processes of a trial, each of which is on one node"
            )


def check_site(submission: Submission, config: SlurmConfig, nodes: Sequence[Node]) -> None:
    """Refuse what no node of this site can run.

    Raises:
        InputError: what, and what would be right.
    """
    known = {node.partition for node in nodes}
    if config.partition is not None and not set(config.partition.split(",")) & known:
        rule = f"there is no such partition. {nearest(config.partition, known)}"
        raise InputError(f"slurm.partition = {config.partition!r}: {rule}")
    names = {node.partition for node in nodes if node.default}
    if config.partition is not None:
        names = set(config.partition.split(","))
    ours = [node for node in nodes if node.partition in names]
    if not ours:
        raise InputError(
            f"slurm.partition: must be given, there is no default. {nearest('', known)}"
        )
    where = f"partition {', '.join(sorted(names))}"
    most = max(node.gpus for node in ours)
    wanted = submission.space.resources.gpus_at_most
    if wanted > config.nodes * most:
        raise InputError(
            f"resources.gpus = {wanted:g}: no node of {where} has more than {most} "
            f"(slurm.nodes = {config.nodes})"
        )
    fitting = [n for n in ours if n.gpus >= config.gpus_per_node and n.cpus >= config.cpus_per_node]
    if len({node.name for node in fitting}) < config.nodes:
        raise InputError(
            f"slurm.nodes = {config.nodes}: {where} has {len(fitting)} nodes with "
            f"{config.cpus_per_node} CPUs and {config.gpus_per_node} GPUs "
            f"(at most {max(node.cpus for node in ours)} and {most})"
        )


def check_nodes(submission: Submission, config: SlurmConfig) -> None:
    """Refuse storage or data that nodes do not see; where none is free to be asked, the job will look.

    Raises:
        InputError: with the nodes' names.
    """
    from jobs.slurm_checks import Busy, look, refuse_unseen, refuse_without_data

    with contextlib.suppress(Busy):
        looks = look(submission, config, wait_s=_NODES_S)
        refuse_unseen(submission.storage, looks)
        refuse_without_data(submission, looks)


def checks(submission: Submission) -> list[tuple[str, Callable[[], str]]]:
    """What `python -m karat doctor --submit slurm` asks beyond this machine."""
    from jobs import slurm_checks

    return slurm_checks.checks(submission)


def run(*words: str, text: str | None = None) -> str:
    """What a command of Slurm prints.

    Raises:
        InputError: it is not there, or refuses; with its own words.
    """
    if shutil.which(words[0]) is None:
        raise InputError(f"--submit slurm: there is no {words[0]} here; submit from a login node")
    try:
        done = subprocess.run(
            words, input=text, capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{words[0]}: Slurm did not answer in {_ANSWER_S:.0f} s") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise InputError(f"{' '.join(words[:2])}: {said}")
    return done.stdout


def runner(submission: Submission, python: str = sys.executable) -> tuple[str, ...]:
    """The words that run Python on a node."""
    config = _config(submission)
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


def _config(submission: Submission) -> SlurmConfig:
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
        shlex.join(["python3" if config.image else python, str(repository / "jobs/slurm_job.py")]),
        f"--cpus {config.cpus_per_node} --gpus {config.gpus_per_node}"
        f" --wait-minutes {config.wait_minutes:g}"
        + ("" if config.array else f" --requeue --notice-s {config.notice_s}"),
        f"--storage {shlex.quote(str(submission.storage))}",
        f"--runner {shlex.quote(shlex.join(runner(submission, python)))}",
        shlex.join(["--", str(repository / "launch.py"), *submission.arguments]),
    ]


def _put_aside(submission: Submission) -> Submission:
    """Do what `--fresh` says now: a requeued job must not do it again."""
    from rich.console import Console

    from karat.driver import put_aside

    os.umask(0o077)
    put_aside(Path(submission.storage) / submission.space.name, Console())
    kept = tuple(word for word in submission.arguments if word != "--fresh")
    return replace(submission, arguments=kept)
