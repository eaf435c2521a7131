"""The settings of a Slurm site (`slurm:` in a file of `clusters/`)."""

import re
from dataclasses import dataclass

from karat.errors import SettingError
from karat.settings import above, at_least

_WORD = re.compile(r"[\w.,:&|()\[\]*@+-]+", re.ASCII)
_TIME = re.compile(r"(\d+-)?\d{1,2}:\d{2}:\d{2}")


@dataclass(frozen=True, kw_only=True)
class SlurmSettings:
    """One Slurm job that holds the whole study.

    Args:
        partition, account, qos, constraint: as `sbatch` takes them; left out where None.
        nodes: machines of the job.
        cpus_per_node: CPU cores on each; also Ray's.
        gpus_per_node: GPUs on each; also Ray's.
        memory_gb: of each node, in units of 10^9 bytes; None leaves it to the site.
        time_limit: `HH:MM:SS` or `D-HH:MM:SS`, after which the job is requeued and resumes.
        notice_s: seconds before the time limit at which running trials are told to write checkpoints.
        array: number of short jobs, one after the other, in place of requeueing; None for one job.
        modules: to be loaded by `module load`.
        setup: lines of shell that are run first on every node.
        image: of Apptainer, in which everything runs; None for none.
        wait_minutes: how long the job waits for slow nodes, before it continues without them.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodes: int = 1
    cpus_per_node: int = 4
    gpus_per_node: int = 0
    memory_gb: float | None = None
    time_limit: str = "04:00:00"
    notice_s: int = 300
    array: int | None = None
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    image: str | None = None
    wait_minutes: float = 10

    def __post_init__(self) -> None:
        at_least("nodes", self.nodes, 1)
        at_least("cpus_per_node", self.cpus_per_node, 1)
        at_least("gpus_per_node", self.gpus_per_node, 0)
        above("memory_gb", self.memory_gb, 0)
        above("wait_minutes", self.wait_minutes, 0)
        at_least("notice_s", self.notice_s, 30)
        at_least("array", self.array, 1)
        for key in ("partition", "account", "qos", "constraint"):
            if not _WORD.fullmatch(getattr(self, key) or "none"):
                raise SettingError(key, "must be one word", getattr(self, key))
        if not _TIME.fullmatch(self.time_limit):
            raise SettingError("time_limit", "must be HH:MM:SS or D-HH:MM:SS", self.time_limit)
        if self.time_limit_s <= self.notice_s:
            rule = f"must be more than notice_s, {self.notice_s} seconds"
            raise SettingError("time_limit", rule, self.time_limit)

    @property
    def time_limit_s(self) -> int:
        """The time limit in seconds."""
        days, _, rest = self.time_limit.rpartition("-")
        hours, minutes, seconds = map(int, rest.split(":"))
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
