"""`--submit`: submits a launch to a cluster through the backend of that name, a folder of `jobs`."""

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
_PASSED_ON = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")


def named_site(options: argparse.Namespace) -> Site | None:
    """Read the site that `--cluster` names; None without it, so that the search space decides."""
    return None if options.cluster is None else read_site(options.cluster, options.space)


def backend_of(options: argparse.Namespace) -> Backend[Any]:
    """Return the backend that `--submit` names.

    Raises:
        SettingError: unknown cluster; the message lists the known ones, the nearest first.
    """
    return BACKENDS[options.submit]()


def submit_launch(space: Space, options: argparse.Namespace, console: Console) -> None:
    """Submit a launch, or show what would be submitted.

    Args:
        space: the validated search space, with the settings of its site.
        options: flags of the launch; `submit` names the cluster.
        console: the terminal.

    Raises:
        InputError: the cluster rejects the job.
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
    """Return the submission, with absolute paths.

    The prices of the site go into the environment, since the site's file does not exist on the
    cluster.

    Raises:
        InputError: a setting of the site that the cluster needs is missing or wrong.
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
        environment=_passed_on(os.environ) | {SITE_VARIABLE: json.dumps(space.cluster.prices)},
    )


def arguments(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the arguments with which the cluster runs the launch: without `--submit`."""
    words = ["--space", str(options.space.resolve()), "--storage", str(options.storage.resolve())]
    for flag, values in (("--set", options.set), ("--extend", options.extend)):
        words += [word for value in values for word in (flag, value)]
    if options.name is not None:
        words += ["--name", options.name]
    return (*words, *(["--fresh"] if options.fresh else []))


def _resuming(words: tuple[str, ...], options: argparse.Namespace) -> list[str]:
    """Return the arguments that resume the study: without `--fresh`, which is done by then."""
    named = ["--cluster", options.cluster] if options.cluster is not None else []
    return [*(word for word in words if word != "--fresh"), "--submit", options.submit, *named]


def _passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a launch needs, except those that contain a password.

    A password would be readable in the job's description: the site has to provide it.
    """
    given = {key: environment[key] for key in _PASSED_ON if environment.get(key)}
    return {key: value for key, value in given.items() if without_secrets(value) == value}


def _print(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True)
