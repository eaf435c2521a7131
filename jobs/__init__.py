"""How a study reaches a cluster: one folder for each cluster, and its name is the cluster's.

A folder holds `backend.py` with one public subclass of `Backend`, and whatever files that needs. It
is found by its name, for `--submit NAME` and for `NAME:` in a file of `clusters/`, and is loaded
only where it is named: to add a cluster is to add a folder, and nothing else.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from karat.catalog import Catalog

if TYPE_CHECKING:
    from karat.space.site import Machines
    from karat.space.space import Space
    from karat.system.checks import Check

__all__ = ["BACKENDS", "Backend", "Submission", "Submitted"]

S = TypeVar("S")  # the settings class of a cluster


@dataclass(frozen=True, kw_only=True)
class Submission(Generic[S]):
    """What is submitted, whatever the cluster.

    Args:
        space: the checked question.
        space_file: its absolute path.
        program: words that follow `python`, and start a launch inside the cluster.
        arguments: of the launch, each a word, with absolute paths as they are here.
        storage: absolute path of the folder of all studies, as it is here.
        code: the folder that holds the packages `karat` and `jobs`.
        settings: of this cluster, checked.
        environment: variables that the launch needs, without secrets.
    """

    space: "Space"
    space_file: Path
    program: tuple[str, ...]
    arguments: tuple[str, ...]
    storage: Path
    code: Path
    settings: S
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """What became of it: the job's id, and the commands, as one would type them, for that job.

    Args:
        id: by which the cluster knows the job.
        watch: follows its log.
        stop: ends it by a graceful shutdown, with checkpoints written.
    """

    id: str
    watch: str
    stop: str


class Backend(abc.ABC, Generic[S]):
    """One kind of cluster, such as Slurm.

    A backend has no state: an instance is made wherever one is needed. It is given a `Submission` in
    which everything has been checked that does not depend on the cluster.

    *Settings.* `settings` is a frozen, keyword-only dataclass (`karat.settings`), made from the part of
    the site file that has the backend's name, or from defaults if the site does not name the backend.
    Unknown keys, wrong types and whatever `__post_init__` refuses are reported with file and key before
    anything runs, also for backends that the file names and the user does not ask for. So
    `__post_init__` must not look at this machine or at the network.

    *When what is called.* `machines` by a dry run, to price the study there. `text` by `--submit NAME
    --dry-run`, which prints it and does nothing else. `checks` by `karat doctor --submit NAME`, which
    makes each of them. `submit` by `--submit NAME`, once.

    *What the job must do.* It runs `python`, the submission's `program`, then its `arguments`, in which
    `--space` and `--storage` are replaced if these have other paths there (`jobs.command_line`). It sets
    `RAY_ADDRESS` to a running Ray, which the launch joins, as Ray's own jobs do. For a graceful shutdown
    it sends the launch one SIGTERM or SIGINT, and gives it time. It passes on the exit status: 0
    complete, 1 failed, 2 wrong input, 75 interrupted, to be resumed by the same command.

    *Errors.* `InputError` for what the user can correct: what is wrong, and what would be right.
    `StudyError` if the cluster fails. Other exceptions are defects and are not caught.
    """

    settings: ClassVar[type[Any]]
    # Whether the cluster runs a job again after every exit status but 0. If so, the program ends with
    # 0 where another attempt would change nothing, and prints how the launch ended.
    retries_failed_jobs: ClassVar[bool] = False

    def machines(self, settings: S) -> "Machines | None":
        """The machines that a study would have; None if only the cluster itself knows."""
        return None

    @abc.abstractmethod
    def text(self, submission: Submission[S]) -> str:
        """What would be submitted, whole, as a person reads it.

        A pure function of the submission: it neither asks the cluster nor writes files, and needs
        none of the cluster's programs. If others can read there what was submitted, no secret may be
        in it (`jobs.command_line.refuse_secrets`).

        Raises:
            InputError: what any cluster of this kind would refuse.
        """

    @abc.abstractmethod
    def submit(self, submission: Submission[S]) -> Submitted:
        """Refuse what can be refused, submit the study, and return without waiting for its end.

        A study of this name that was submitted before is resumed. With `--fresh` among the arguments
        it starts from scratch, but only once, however often the job is restarted.

        Raises:
            InputError: what the cluster refuses or lacks; nothing was submitted.
            StudyError: the cluster failed to take it.
        """

    @abc.abstractmethod
    def checks(self, submission: Submission[S]) -> "list[Check]":
        """What a study needs of the cluster, the basics first.

        Each check returns what it found, or raises `karat.system.checks.CheckFailed` with what is wrong
        and what to do; it leaves nothing behind on the cluster.
        """


BACKENDS: Catalog[Backend[Any]] = Catalog(Backend, "--submit", inside="backend")  # type: ignore[type-abstract]
