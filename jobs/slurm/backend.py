"""One Slurm job that holds a whole study.

Its batch script (`jobs.slurm.script`) ends in `jobs/slurm/job.py`, which starts Ray on all nodes, runs
the study and requeues the job before its time limit.
"""

import contextlib
import os
import shlex
from dataclasses import replace

from jobs import Backend, Submission, Submitted
from jobs.slurm.checks import Busy, checks_of, look, refuse_unseen, refuse_without_data
from jobs.slurm.commands import nodes_of_site, run
from jobs.slurm.script import LOGS, script
from jobs.slurm.settings import SlurmSettings
from jobs.slurm.validation import check_settings, check_site
from karat.space.site import Machines
from karat.study.folder import put_aside
from karat.system.checks import Check
from karat.terminal import make_console

_NODES_S = 10  # for nodes to be asked before submission


class Slurm(Backend[SlurmSettings]):
    """The whole study as one job, or as an array of short ones."""

    settings = SlurmSettings

    def machines(self, settings: SlurmSettings) -> Machines:
        """The nodes of the job."""
        return Machines(settings.nodes, settings.cpus_per_node, settings.gpus_per_node)

    def text(self, submission: Submission[SlurmSettings]) -> str:
        """The batch script."""
        return script(submission)

    def submit(self, submission: Submission[SlurmSettings]) -> Submitted:
        """Check what can be checked, and hand the script to `sbatch`."""
        check_settings(submission)
        check_site(submission, nodes_of_site())
        check_nodes(submission)
        logs = submission.storage / LOGS
        logs.mkdir(parents=True, exist_ok=True)
        run("sbatch", "--test-only", text=script(submission))
        if "--fresh" in submission.arguments:
            submission = _put_aside(submission)
        job = run("sbatch", "--parsable", text=script(submission)).strip().partition(";")[0]
        suffix = "_*.log" if submission.settings.array else ".log"
        return Submitted(
            id=job,
            watch=f"tail -F {shlex.quote(str(logs))}/{submission.space.name}-{job}{suffix}",
            stop=f"scancel {job}",
        )

    def checks(self, submission: Submission[SlurmSettings]) -> list[Check]:
        """Whether the job fits; then what as many nodes as it will have say, if some are free."""
        return checks_of(submission)


def check_nodes(submission: Submission[SlurmSettings]) -> None:
    """Refuse storage or data that nodes do not see; where none is free to be asked, the job will look.

    Raises:
        InputError: with the nodes' names.
    """
    with contextlib.suppress(Busy):
        looks = look(submission, wait_s=_NODES_S)
        refuse_unseen(submission.storage, looks)
        refuse_without_data(submission, looks)


def _put_aside(submission: Submission[SlurmSettings]) -> Submission[SlurmSettings]:
    """Do what `--fresh` says now: a requeued job must not do it again."""
    os.umask(0o077)
    put_aside(submission.storage / submission.space.name, make_console())
    kept = tuple(word for word in submission.arguments if word != "--fresh")
    return replace(submission, arguments=kept)
