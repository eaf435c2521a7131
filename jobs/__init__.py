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
    """One kind of cluster.

    A backend has no state: one is made wherever one is needed. It is handed a `Submission` in which
    everything has been checked but for what only this cluster knows. The order is always the same:

    1. The part of the site file that has the cluster's name becomes `settings`, a frozen,
       keyword-only dataclass (`karat.settings`). Unknown keys, wrong types and whatever its
       `__post_init__` refuses are reported with file and key, before anything runs and also for
       clusters that are not asked for: it must not look at the machine or at the network. A
       cluster of which the site says nothing gets the defaults, if every setting has one.
    2. `machines` is asked for by a dry run, to price the study there.
    3. `text` is asked for by `--submit NAME --dry-run`, which prints it and does no more.
    4. `checks` are asked for by `karat doctor --submit NAME`, which makes each of them.
    5. `submit` is called by `--submit NAME`, once.

    Inside the cluster the job runs `python`, the submission's `program`, and its `arguments`, with
    `--space` and `--storage` replaced where the paths are others there (`jobs.command_line`). The
    job must set `RAY_ADDRESS` to the running Ray that the launch is to join, as Ray's own jobs do;
    give the launch SIGTERM or SIGINT, once, when it is to shut down, and time to do so; and hand on
    the exit status: 0 complete, 1 failed, 2 wrong input, 75 interrupted.

    Errors: `InputError` for what the user can mend, with what was wrong and what would be right,
    `StudyError` where the cluster does not do what it is asked for. Nothing else is caught.
    """

    settings: ClassVar[type[Any]]
    # Whether the cluster runs a job again after every other exit status than 0. Then the program
    # ends with 0 where another attempt would change nothing, and says so.
    retries_failed_jobs: ClassVar[bool] = False

    def machines(self, settings: S) -> "Machines | None":
        """The machines that a study would have there; None where the cluster would have to be asked."""
        return None

    @abc.abstractmethod
    def text(self, submission: Submission[S]) -> str:
        """What would be submitted, whole, as a person reads it.

        A pure function of the submission: it neither looks at the cluster nor writes, and needs none
        of the cluster's programs. No secret may be in it (`jobs.command_line.refuse_secrets`).

        Raises:
            InputError: what would be refused on any cluster of this kind.
        """

    @abc.abstractmethod
    def submit(self, submission: Submission[S]) -> Submitted:
        """Refuse what can be refused, hand the study over, and return without waiting for its end.

        A study of this name that was submitted before goes on; with `--fresh` among the arguments it
        begins anew, once, whatever restarts the job.

        Raises:
            InputError: what the cluster refuses or lacks; then nothing was submitted.
            StudyError: the cluster did not take it.
        """

    @abc.abstractmethod
    def checks(self, submission: Submission[S]) -> "list[Check]":
        """What a study needs of the cluster, in the order in which it should be looked at.

        Each check says what it found, or raises `karat.system.checks.CheckFailed` with what is wrong and
        what to do; it leaves nothing behind on the cluster.
        """


BACKENDS: Catalog[Backend[Any]] = Catalog(Backend, "--submit", inside="backend")  # type: ignore[type-abstract]
