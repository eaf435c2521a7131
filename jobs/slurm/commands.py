"""Slurm's own commands, and what they say of a site."""

import re
import shutil
import subprocess
from dataclasses import dataclass

from karat.errors import InputError

_ANSWER_S = 60.0


@dataclass(frozen=True)
class Node:
    """A node of the site, in one of its partitions."""

    name: str
    partition: str
    default: bool
    cpus: int
    gpus: int


def nodes_of_site() -> list[Node]:
    """The nodes that `sinfo` lists.

    Raises:
        InputError: there is no Slurm here, or it does not answer.
    """
    nodes = []
    for line in run("sinfo", "--noheader", "--Node", "--format=%N|%P|%c|%G").splitlines():
        name, partition, cpus, gres = line.strip().split("|")
        gpus = sum(map(int, re.findall(r"gpu:(?:[^:,()]+:)?(\d+)", gres)))
        default = partition.endswith("*")
        nodes.append(Node(name, partition.rstrip("*"), default, int(cpus.rstrip("+")), gpus))
    return nodes


def run(*words: str, text: str | None = None) -> str:
    """What a command of Slurm prints.

    Raises:
        InputError: it is not installed, fails or does not answer; with its own message.
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
