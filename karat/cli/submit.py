"""`--submit`: a checked launch is handed to a cluster, by the folder of `jobs` that has its name."""

import argparse
import json
import os
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from jobs import BACKENDS, Backend, Submission
from jobs.site import settings_for
from karat.cli.command import launch_as_typed
from karat.cli.in_cluster import RETRIED
from karat.space.site import SITE_VARIABLE, Site, read_site
from karat.space.space import Space
from karat.system.paths import CODE
from karat.system.redact import without_secrets

_PROGRAM = ("-m", "karat.cli.in_cluster")
_HANDED_ON = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")


def named_site(options: argparse.Namespace) -> Site | None:
    """What `--cluster` means, in place of what the space says."""
    return None if options.cluster is None else read_site(options.cluster, options.space)


def backend_of(options: argparse.Namespace) -> Backend[Any]:
    """What `--submit` names.

    Raises:
        SettingError: no such cluster; the message lists the known ones, the nearest first.
    """
    return BACKENDS[options.submit]()


def hand_over(space: Space, options: argparse.Namespace, console: Console) -> None:
    """Submit a launch, or show what would be submitted.

    Args:
        space: the checked question, at its site.
        options: of the launch; `submit` names the cluster.
        console: the terminal.

    Raises:
        InputError: the cluster refuses.
    """
    backend, words = backend_of(options), arguments(options)
    submission = describe(space, options, words)
    if options.dry_run:
        _print(console, backend.text(submission).rstrip())
        return
    done = backend.submit(submission)
    _print(console, f"submitted: {space.name} is job {done.id}")
    _print(console, f"    watch   {done.watch}")
    _print(console, f"    stop    {done.stop}")
    _print(console, f"    resume  {launch_as_typed(_resuming(words, options))}")


def describe(
    space: Space, options: argparse.Namespace, arguments: tuple[str, ...] = ()
) -> Submission[Any]:
    """What is to be submitted, with absolute paths.

    The launch is told the prices of its site: the file that has them is not where it will run.

    Raises:
        InputError: the site lacks a setting that the cluster needs, or has a wrong one.
    """
    retried = (RETRIED,) if backend_of(options).retries_failed_jobs else ()
    return Submission(
        space=space,
        space_file=options.space.resolve(),
        program=(*_PROGRAM, *retried),
        arguments=arguments,
        storage=options.storage.resolve(),
        code=CODE,
        settings=settings_for(space.cluster, options.submit),
        environment=_handed_on(os.environ) | {SITE_VARIABLE: json.dumps(space.cluster.prices)},
    )


def arguments(options: argparse.Namespace) -> tuple[str, ...]:
    """The words of a launch that mean the same elsewhere, and without submission."""
    words = ["--space", str(options.space.resolve()), "--storage", str(options.storage.resolve())]
    for flag, values in (("--set", options.set), ("--extend", options.extend)):
        words += [word for value in values for word in (flag, value)]
    if options.name is not None:
        words += ["--name", options.name]
    return (*words, *(["--fresh"] if options.fresh else []))


def _resuming(words: tuple[str, ...], options: argparse.Namespace) -> list[str]:
    """The words that submit the study again; what `--fresh` says is done."""
    named = ["--cluster", options.cluster] if options.cluster is not None else []
    return [*(word for word in words if word != "--fresh"), "--submit", options.submit, *named]


def _handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that a launch needs; one with a password in it is left to the site."""
    given = {key: environment[key] for key in _HANDED_ON if environment.get(key)}
    return {key: value for key, value in given.items() if without_secrets(value) == value}


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
