"""`--submit`: a checked launch is handed to a cluster, by the file of `jobs` that knows how."""

import argparse
import importlib
import json
import os
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from jobs.site import TOLD, ClusterConfig, cluster_of
from karat.space.space import Space
from karat.system.paths import CODE
from karat.system.redact import without_secrets

if TYPE_CHECKING:
    from jobs import Submission

_FILES = {"slurm": "slurm", "ray": "ray_jobs", "kubernetes": "kubernetes"}
_HANDED_ON = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")


def hand_over(space: Space, options: argparse.Namespace, console: Console) -> None:
    """Submit a launch, or show what would be submitted.

    Args:
        space: the checked question, at its site.
        options: of `launch.py`; `submit` names the way.
        console: the terminal.

    Raises:
        InputError: the cluster refuses.
    """
    way = way_of(options.submit)
    submission = describe(space, options, arguments(options))
    if options.dry_run:
        _print(console, way.text(submission).rstrip())
        return
    done = way.submit(submission)
    _print(console, f"submitted: {space.name} is job {done.id}")
    named = ["--cluster", options.cluster] if options.cluster is not None else []
    _print(console, f"    watch   {done.watch}")
    _print(console, f"    stop    {done.stop}")
    _print(console, f"    resume  {' '.join([done.resume, *map(shlex.quote, named)])}")


def way_of(name: str) -> Any:
    """The file of `jobs` that knows this way."""
    return importlib.import_module(f"jobs.{_FILES[name]}.backend")


def describe(
    space: Space, options: argparse.Namespace, arguments: tuple[str, ...] = ()
) -> "Submission":
    """What is to be submitted, with absolute paths.

    The launch is told what its site is: files that describe it are not where it will run.
    """
    from jobs import Submission

    file = options.space.resolve()
    return Submission(
        space=space,
        space_file=file,
        arguments=arguments,
        storage=options.storage.resolve(),
        repository=CODE,
        cluster=space.cluster,
        environment=_handed_on(os.environ) | {TOLD: json.dumps(space.cluster.prices)},
    )


def arguments(options: argparse.Namespace) -> tuple[str, ...]:
    """The words of `launch.py` that mean the same elsewhere, and without submission."""
    words = ["--space", str(options.space.resolve()), "--storage", str(options.storage.resolve())]
    for flag, values in (("--set", options.set), ("--extend", options.extend)):
        words += [word for value in values for word in (flag, value)]
    if options.name is not None:
        words += ["--name", options.name]
    return (*words, *(["--fresh"] if options.fresh else []))


def _handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that a launch needs; one with a password in it is left to the site."""
    given = {key: environment[key] for key in _HANDED_ON if environment.get(key)}
    return {key: value for key, value in given.items() if without_secrets(value) == value}


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def named_site(options: argparse.Namespace) -> ClusterConfig | None:
    """What `--cluster` means, in place of what the space says."""
    return None if options.cluster is None else cluster_of(options.cluster, options.space)
