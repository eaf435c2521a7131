"""TODO"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from jobs import Submission
from jobs.slurm.settings import SlurmConfig
from karat.errors import InputError, nearest
from karat.forecast.plan import longest_epoch_s
from karat.space.settings import ResourceConfig

_ANSWER_S = 60.0


_START_MARGIN_S = 60.0


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
