"""`python -m karat doctor`: check that this machine, or a cluster, has what a study needs.

Each check is a small function. It returns what it found, or raises `CheckFailed` with what is wrong
and how to fix it. The checks of a cluster are in `jobs`.
"""

import argparse
import dataclasses
import os
from pathlib import Path

from jobs.site import check_site
from karat.cli.command import Command
from karat.cli.exit_status import FAILED, OK, printable
from karat.cli.launch import add_cluster_arguments
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.submit import backend_of, describe, named_site
from karat.errors import InputError
from karat.execution.checks import LEAST_GB, disk, gpus, ports, token, versions, writable
from karat.forecast.matching import Estimating
from karat.space.overrides import space_path
from karat.space.reader import load_space
from karat.space.settings import ResourceConfig
from karat.system.checks import Check, examine
from karat.tracking.checks import tracking


def checks_here(storage: Path, resources: ResourceConfig, *, elsewhere: bool) -> list[Check]:
    """Return the checks of this machine.

    Args:
        storage: folder of all studies.
        resources: resources of a trial.
        elsewhere: whether trials run on a cluster instead of this machine.
    """
    return [
        ("versions", versions),
        ("gpus", lambda: gpus(0 if elsewhere else resources.gpus_at_most)),
        ("storage", lambda: writable(storage)),
        ("disk", lambda: disk(storage, resources.disk_gb or LEAST_GB)),
        ("ports", ports),
        ("token", token),
        ("mlflow", lambda: tracking(os.environ.get("MLFLOW_TRACKING_URI"))),
    ]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--space", type=space_path, help="search space whose needs are checked")
    add_cluster_arguments(parser, "check this cluster too", "clusters/NAME.yaml")
    parser.add_argument(
        "--storage", type=Path, default=Path("studies"), help="folder of all studies (studies/)"
    )
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    if options.submit and options.space is None:
        raise InputError("--submit: needs --space, the study whose job is checked")
    space = None
    if options.space is not None:
        space = load_space(options.space, cluster=named_site(options), measuring=Estimating())
        check_site(space.cluster)
    resources = ResourceConfig() if space is None else space.resources
    checks = checks_here(options.storage, resources, elsewhere=options.submit is not None)
    if options.submit and space is not None:
        checks += backend_of(options).checks(describe(space, options))
    findings = examine(checks)
    ok = all(each.ok for each in findings)
    if options.json:
        print_json("doctor", {"ok": ok, "checks": [dataclasses.asdict(each) for each in findings]})
        return OK if ok else FAILED
    for each in findings:
        print(printable(str(each)), flush=True)
    return OK if ok else FAILED


DOCTOR = Command(_add_arguments, _run)
