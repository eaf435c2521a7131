"""What is refused before a submission: what a job of these settings, or no node of the site, can run."""

from collections.abc import Sequence

from jobs import Submission
from jobs.slurm.commands import Node
from jobs.slurm.settings import SlurmSettings
from karat.errors import InputError, nearest
from karat.forecast.plan import longest_epoch_s
from karat.space.settings import ResourceConfig

_START_MARGIN_S = 60.0


def check_settings(submission: Submission[SlurmSettings]) -> None:
    """Refuse what is wrong at any site.

    Raises:
        InputError: what, and what would be right.
    """
    settings = submission.settings
    _check_room(submission.space.resources, settings)
    usable = settings.time_limit_s - settings.notice_s - _START_MARGIN_S
    epoch = longest_epoch_s(submission.space)
    if epoch > usable:
        raise InputError(
            f"slurm.time_limit = {settings.time_limit}: about {max(0, usable):.0f} s are for training "
            f"(less notice_s, {settings.notice_s}, and a minute to start), and an epoch takes about "
            f"{epoch:.0f} s; give the job more time"
        )
    if settings.array and any(word.startswith("--extend") for word in submission.arguments):
        raise InputError("--extend: does not go with slurm.array, each job of which would extend")
    if any(c in str(submission.storage) for c in "\n\"'\\%"):
        raise InputError(f"--storage {submission.storage}: Slurm takes no quotes or % in paths")


def _check_room(resources: ResourceConfig, settings: SlurmSettings) -> None:
    processes = resources.num_processes
    for name, wanted, each, there in (
        ("gpus", resources.gpus_at_most, resources.gpus_per_process, settings.gpus_per_node),
        ("cpus", resources.cpus, resources.cpus, settings.cpus_per_node),
    ):
        room = settings.nodes * int(there / each) if each else processes
        if room < processes:
            raise InputError(
                f"resources.{name} = {wanted:g}: a node of the job has {there} "
                f"(slurm.{name}_per_node), and its nodes ({settings.nodes}) hold {room} of the "
                f"{processes} processes of a trial, each of which is on one node"
            )


def check_site(submission: Submission[SlurmSettings], nodes: Sequence[Node]) -> None:
    """Refuse what no node of this site can run.

    Raises:
        InputError: what, and what would be right.
    """
    settings, known = submission.settings, {node.partition for node in nodes}
    if settings.partition is not None and not set(settings.partition.split(",")) & known:
        rule = f"there is no such partition. {nearest(settings.partition, known)}"
        raise InputError(f"slurm.partition = {settings.partition!r}: {rule}")
    names = {node.partition for node in nodes if node.default}
    if settings.partition is not None:
        names = set(settings.partition.split(","))
    ours = [node for node in nodes if node.partition in names]
    if not ours:
        raise InputError(
            f"slurm.partition: must be given, there is no default. {nearest('', known)}"
        )
    where = f"partition {', '.join(sorted(names))}"
    most = max(node.gpus for node in ours)
    wanted = submission.space.resources.gpus_at_most
    if wanted > settings.nodes * most:
        raise InputError(
            f"resources.gpus = {wanted:g}: no node of {where} has more than {most} "
            f"(slurm.nodes = {settings.nodes})"
        )
    fitting = [
        n for n in ours if n.gpus >= settings.gpus_per_node and n.cpus >= settings.cpus_per_node
    ]
    if len({node.name for node in fitting}) < settings.nodes:
        raise InputError(
            f"slurm.nodes = {settings.nodes}: {where} has {len(fitting)} nodes with "
            f"{settings.cpus_per_node} CPUs and {settings.gpus_per_node} GPUs "
            f"(at most {max(node.cpus for node in ours)} and {most})"
        )
