"""`karat ui`: MLflow, or optuna-dashboard, on this machine, at the page that shows the runs."""

import argparse
import importlib.util
import os
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from karat.cli.command import Command
from karat.cli.exit_status import OK
from karat.cli.studies.named import add_study, state_of, study_names, study_of
from karat.cli.web.servers import HOST, free_port, serving
from karat.errors import InputError, StudyError
from karat.terminal import make_console

if TYPE_CHECKING:
    from subprocess import Popen

    from rich.console import Console

_MLFLOW_PORT, _OPTUNA_PORT = 5000, 8080
_SQLITE = "sqlite:///"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_study(parser, nargs="?")
    parser.add_argument(
        "--port",
        type=int,
        metavar="N",
        help=f"port on 127.0.0.1 (the first free one from {_MLFLOW_PORT}; with --optuna {_OPTUNA_PORT})",
    )
    parser.add_argument(
        "--optuna",
        action="store_true",
        help="show the search of the study in optuna-dashboard instead (pip install optuna-dashboard)",
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="only print the address, open no browser"
    )


def _ui(options: argparse.Namespace) -> int:
    console = make_console()
    if options.optuna:
        return _optuna(options, console)
    folder = study_of(options) if options.study is not None else None
    if folder is None and not study_names(options.storage):
        raise InputError(
            f"{options.storage}: there is no study; --storage names the folder of all studies"
        )
    from karat.cli.web.mlflow_pages import HINT, is_server
    from karat.tracking.client import is_database, tracking_uri

    uri = tracking_uri(folder or options.storage / "any")
    if is_server(uri):
        if options.port is not None:
            raise InputError("--port: MLFLOW_TRACKING_URI names a server, so that none is started")
        _show(_page(uri, uri, folder), options, console)
        console.print(HINT, soft_wrap=True)
        return OK
    if not is_database(uri):
        raise InputError("MLFLOW_TRACKING_URI: must be a database or the address of a server")
    _refuse_missing(uri, folder)
    port = free_port(_MLFLOW_PORT, options.port)
    server = f"http://{HOST}:{port}"
    page = _page(uri, server, folder)
    # An address may contain a password, and command lines can be read by everybody.
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-P", "-m", "mlflow", "server"]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    console.print("starting MLflow", soft_wrap=True)
    try:
        with serving(command, environment, f"{server}/health") as process:
            _show(page, options, console)
            console.print(HINT, soft_wrap=True)
            return _until_ended(process, console)
    except KeyboardInterrupt:
        return OK


def _optuna(options: argparse.Namespace, console: "Console") -> int:
    if options.study is None:
        raise InputError("--optuna: name a study")
    folder = study_of(options)
    state = state_of(folder)
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise InputError(
            "--optuna: optuna-dashboard is not installed; `pip install optuna-dashboard` installs it "
            "(or `pip install 'karat-attention[ui]'`)"
        )
    if not state.created or not state.of_phase("search"):
        raise InputError(f"{folder}: the search has no trial yet")
    from karat.planning.optuna_storage import write_optuna
    from karat.study.description import known_space

    space = known_space(state.created, folder)
    port = free_port(_OPTUNA_PORT, options.port)
    server = f"http://{HOST}:{port}"
    with tempfile.TemporaryDirectory(prefix="karat-") as scratch:
        file = Path(scratch, "optuna.db")
        names = write_optuna(state, space, file)
        console.print(
            f"{len(names)} Optuna studies, one for each arm, copied from the journal: what happens from now on "
            "is not in them",
            soft_wrap=True,
        )
        code = "from optuna_dashboard._cli import main; main()"
        command = [sys.executable, "-P", "-c", code, f"sqlite:///{file}"]
        command += ["--host", HOST, "--port", str(port)]
        try:
            with serving(command, os.environ, server) as process:
                _show(f"{server}/dashboard", options, console)
                return _until_ended(process, console)
        except KeyboardInterrupt:
            return OK


def _page(uri: str, server: str, folder: Path | None) -> str:
    """The page of a study's runs on a server; of all experiments without a study.

    Raises:
        TrackingError: MLflow does not answer.
        InputError: MLflow does not have the study.
    """
    from karat.cli.web.mlflow_pages import experiment_of, runs_page

    if folder is None:
        return runs_page(server, None)
    name = state_of(folder).created.get("name", folder.name)
    experiment = experiment_of(uri, name)
    if experiment is None:
        raise InputError(
            f"{name}: MLflow has no such study; `python -m karat sync {folder}` writes it"
        )
    return runs_page(server, experiment)


def _refuse_missing(uri: str, folder: Path | None) -> None:
    file = Path(uri.removeprefix(_SQLITE))
    if uri.startswith(_SQLITE) and not file.is_file():
        study = folder or "STUDY"
        raise InputError(f"{file}: does not exist yet; `python -m karat sync {study}` writes it")


def _show(page: str, options: argparse.Namespace, console: "Console") -> None:
    console.print(page, soft_wrap=True)
    if not options.no_browser and _has_display():
        webbrowser.open(page)


def _has_display() -> bool:
    return sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _until_ended(process: "Popen[bytes]", console: "Console") -> int:
    console.print("Ctrl-C ends it", soft_wrap=True)
    status = process.wait()
    raise StudyError(f"the server ended by itself, with status {status}")


UI = Command(_add_arguments, _ui)
