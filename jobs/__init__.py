"""How a study reaches a cluster: one file for each way, found by its name in `WAYS`.

Each file has a pure function that makes the text of what is submitted, and `submit`, which
hands it over. `--dry-run` shows the text whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.site import ClusterConfig

if TYPE_CHECKING:
    from karat.space.space import Space


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What is submitted, whatever the way.

    Args:
        space: the checked question.
        space_file: its path.
        arguments: of `launch.py`, but for `--submit` and `--dry-run`, each a word.
        storage: folder of all studies.
        repository: karat's own folder.
        cluster: the site.
        environment: variables that the launch needs, without secrets.
    """

    space: "Space"
    space_file: Path
    arguments: tuple[str, ...]
    storage: Path
    repository: Path
    cluster: ClusterConfig
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """What became of it: the job's id, and commands (as one would type them) to handle it."""

    id: str
    watch: str
    stop: str
    resume: str
