"""`karat ui` finds the page that shows the runs, and leaves no process behind."""

import os
import shutil
import socket
import sys
import urllib.request
from pathlib import Path

import optuna
import psutil
import pytest

from karat.cli.exit_status import OK, WRONG_INPUT
from karat.cli.main import main
from karat.cli.web.mlflow_pages import runs_page, where_runs_are
from karat.cli.web.servers import HOST, free_port, serving
from karat.errors import InputError, StudyError
from karat.planning.optuna_storage import write_optuna
from karat.space.reader import load_space
from karat.tracking.client import tracking_uri
from tests.conftest import ROOT
from tests.journals import LEARNING_RATE, Plan, study, write
from tests.studies import state_of

pytestmark = pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning")  # from MLflow

# A server with a child of its own, as MLflow's is.
SERVER = """
import http.server, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return write(tmp_path / "studies" / "fourier-grid", study(Plan(until="searching")))


def test_the_address_opens_the_runs_and_not_the_page_for_language_models() -> None:
    assert runs_page("http://127.0.0.1:5000/", "1") == (
        "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning"
    )
    assert "secret" not in runs_page("https://me:secret@mlflow.example", None)


def test_a_server_of_the_environment_is_named_and_none_is_started(
    folder: Path,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert main(["ui", "--storage", str(folder.parent), "--no-browser"]) == OK
    assert "http://127.0.0.1:1/#/experiments?" in capsys.readouterr().out
    assert main(["ui", "--storage", str(folder.parent), "--port", "5000"]) == WRONG_INPUT
    assert "--port: MLFLOW_TRACKING_URI names a server" in capsys.readouterr().err


def test_what_mlflow_does_not_have_is_said_with_the_way_to_get_it(
    folder: Path, empty_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui", str(folder)]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert f"mlflow.db: does not exist yet; `python -m karat sync {folder}` writes it" in said
    shutil.copy(empty_database, folder.parent / "mlflow.db")
    assert main(["ui", str(folder)]) == WRONG_INPUT
    assert "fourier-grid: MLflow has no such study" in capsys.readouterr().err


def test_a_launch_names_the_page_where_mlflow_is_a_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = state_of(folder)
    assert where_runs_are(folder, state) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    page = where_runs_are(folder, state)
    assert page is not None
    assert page.startswith("http://127.0.0.1:1/#/experiments?")
    assert tracking_uri(folder) == "http://127.0.0.1:1"


def test_a_taken_port_is_refused_if_named_and_else_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: is taken"):
            free_port(5000, port)
        assert free_port(port, None) > port
    with pytest.raises(InputError, match="must be from 1 to 65535"):
        free_port(5000, 70_000)


def test_no_process_is_left_when_the_server_is_no_longer_wanted() -> None:
    port = free_port(18_000, None)
    page = f"http://{HOST}:{port}/"
    command = [sys.executable, "-c", SERVER, str(port)]
    with serving(command, os.environ, page) as server:
        tree = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert len(tree) == 2
        with urllib.request.urlopen(page) as answer:
            assert answer.status == 200
    assert not [each for each in tree if each.is_running() and each.status() != "zombie"]


def test_a_server_that_ends_at_once_says_why() -> None:
    command = [sys.executable, "-c", "raise SystemExit('the database is of another version')"]
    with (
        pytest.raises(StudyError, match="status 1: the database is of another version"),
        serving(command, os.environ, "http://127.0.0.1:1/"),
    ):
        raise AssertionError("it never answers")


def test_optuna_gets_the_search_with_its_stops_and_failures(folder: Path, tmp_path: Path) -> None:
    space = load_space(ROOT / "search_spaces" / "rank.yaml")
    assert space.tuned["training.learning_rate"].low == LEARNING_RATE["low"]
    state = state_of(folder)
    file = tmp_path / "optuna.db"
    names = write_optuna(state, space, file)
    assert len(names) == len({trial.arm for trial in state.of_phase("search")})
    found = {
        trial.user_attrs["karat.trial"]: trial
        for name in names
        for trial in optuna.load_study(study_name=name, storage=f"sqlite:///{file}").trials
    }
    assert found.keys() == {trial.number for trial in state.of_phase("search")}
    words = {"completed": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
    for trial in state.of_phase("search"):
        shown = found[trial.number]
        assert shown.state.name == words.get(trial.status, "RUNNING")
        assert shown.params == dict(trial.tuned)
        assert len(shown.intermediate_values) == len(trial.reports)


def test_without_the_dashboard_the_command_that_installs_it_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["ui", str(folder), "--optuna"]) == WRONG_INPUT
    assert "pip install optuna-dashboard" in capsys.readouterr().err
