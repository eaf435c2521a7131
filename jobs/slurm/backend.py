"""One Slurm job that holds a whole study: its text, and its submission.

The text is a batch script that ends in `jobs/slurm/job.py`, which starts Ray on all nodes, runs
the study and requeues the job before its time limit.
"""

import contextlib
import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from jobs import Submission, Submitted
from jobs.slurm.script import LOGS, config_of, text
from jobs.slurm.settings import SlurmConfig
from jobs.slurm.site import check_settings, check_site, nodes_of_site, run

_NODES_S = 10  # for nodes to be asked before submission


def submit(submission: Submission) -> Submitted:
    """Check what can be checked, hand the script to `sbatch`, and say how to handle the job.

    Raises:
        InputError: Slurm would refuse it, or it could not get anywhere.
    """
    config = config_of(submission)
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


def check_nodes(submission: Submission, config: SlurmConfig) -> None:
    """Refuse storage or data that nodes do not see; where none is free to be asked, the job will look.

    Raises:
        InputError: with the nodes' names.
    """
    from jobs.slurm.checks import Busy, look, refuse_unseen, refuse_without_data

    with contextlib.suppress(Busy):
        looks = look(submission, config, wait_s=_NODES_S)
        refuse_unseen(submission.storage, looks)
        refuse_without_data(submission, looks)


def checks(submission: Submission) -> list[tuple[str, Callable[[], str]]]:
    """What `python -m karat doctor --submit slurm` asks beyond this machine."""
    from jobs.slurm import checks as slurm_checks

    return slurm_checks.checks(submission)


def _put_aside(submission: Submission) -> Submission:
    """Do what `--fresh` says now: a requeued job must not do it again."""
    from rich.console import Console

    from karat.study.folder import put_aside

    os.umask(0o077)
    put_aside(Path(submission.storage) / submission.space.name, Console())
    kept = tuple(word for word in submission.arguments if word != "--fresh")
    return replace(submission, arguments=kept)
