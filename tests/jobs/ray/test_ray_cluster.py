"""What is asked of Ray's Jobs API, and what is refused before anything is submitted."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from jobs import Submission
from jobs.command_line import launch_words
from jobs.ray import backend, checks
from jobs.ray.backend import RayCluster
from jobs.ray.client import check_nodes, check_version, token_of
from jobs.ray.node_check import looked_at
from jobs.ray.settings import RaySettings
from jobs.ray.upload import check_size, files_of, space_inside, stage
from karat.errors import InputError
from karat.space.settings import ResourceConfig
from karat.system.checks import examine
from tests.jobs.compose.stack import submission_of

HERE = Path(__file__).parent
TOKEN = "0123456789abcdef" * 4


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small checkout, or an environment's packages: code, and much that is not to be sent."""
    root = tmp_path / "repository"
    for name, size in {
        "launch.py": 10,
        "karat/a.py": 20,
        "karat/datasets/digits.py": 30,
        "karat/__pycache__/a.pyc": 1000,
        "karat/.hidden": 10,
        "karat/weights/large": 5_000_000,
        "karat/weights/small": 1_000_000,
        "jobs/b.py": 10,
        "pyproject.toml": 10,
        "karat_attention-1.dist-info/METADATA": 10,
        "torch/lib/x": 10_000,
        "studies/small/journal.jsonl": 10_000,
        "data/cifar/x": 10_000,
        "karat/studies/x": 10_000,
        ".git/x": 1000,
        "env/pyvenv.cfg": 10,
        "env/lib/x": 1000,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    (root / ".venv").symlink_to(root / "env")
    (root / "karat" / "linked").symlink_to(root / "data")
    return root


@pytest.fixture
def submission(write_space: Callable[..., Path], repository: Path) -> Submission[RaySettings]:
    given = submission_of(write_space(), RaySettings(storage="/studies"))
    return replace(given, code=repository)


@contextmanager
def dashboard(version: str = "2.60.0") -> Iterator[str]:
    """A server that answers as Ray's dashboard does to whoever has the token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(json.dumps({"ray_version": version}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_text_is_the_stored_one(submission: Submission[RaySettings]) -> None:
    assert RayCluster().text(submission) == (HERE / "ray_cluster.json").read_text()


def test_code_is_sent_and_data_studies_and_environments_are_not(repository: Path) -> None:
    sent = {str(path) for path in files_of(repository, [repository / "karat/studies"])}
    assert sent == {
        *("pyproject.toml", "karat_attention-1.dist-info/METADATA", "jobs/b.py"),
        *("karat/a.py", "karat/datasets/digits.py"),
        *("karat/weights/large", "karat/weights/small"),
    }


def test_too_large_upload_is_refused_with_the_largest_folders(repository: Path) -> None:
    with pytest.raises(
        InputError, match=r"6\.0 MB would be sent.*at most 2 .*karat/weights 6\.0 MB"
    ):
        check_size(repository, files_of(repository), 2)


def test_size_is_looked_at_before_the_cluster_is(
    submission: Submission[RaySettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    ray = RaySettings(address="http://127.0.0.1:1", storage="/studies", largest_upload_mb=1)
    with pytest.raises(InputError, match="largest_upload_mb"):
        RayCluster().submit(replace(submission, settings=ray))


def test_space_from_elsewhere_is_sent_along(
    submission: Submission[RaySettings], tmp_path: Path
) -> None:
    folder = tmp_path / "staged"
    folder.mkdir()
    stage(submission, files_of(submission.code), folder)
    inside = space_inside(submission)
    assert str(inside) == "submitted/space.yaml"
    assert (folder / inside).read_text() == submission.space_file.read_text()
    assert (folder / "karat/a.py").exists()


def test_words_get_the_places_over_there() -> None:
    given = ("--space=x.yaml", "--storage", "here", "--set", "a=b c", "--name", "n")
    assert launch_words(("-m", "a.program"), given, Path("q.yaml"), Path("/s")) == [
        *("python", "-m", "a.program", "--space", "q.yaml", "--storage", "/s"),
        *("--set", "a=b c", "--name", "n"),
    ]


def test_missing_token_is_refused() -> None:
    with pytest.raises(InputError, match="token is missing: set RAY_AUTH_TOKEN"):
        token_of({"RAY_AUTH_TOKEN": ""})
    with pytest.raises(InputError, match="RAY_AUTH_TOKEN_PATH = /nowhere/token: No such file"):
        token_of({"RAY_AUTH_TOKEN_PATH": "/nowhere/token"})


def test_token_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert token_of({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}) == TOKEN


def test_wrong_token_other_version_and_no_answer_are_refused() -> None:
    with dashboard() as address:
        check_version(address, TOKEN)
        with pytest.raises(InputError, match="refuses the token"):
            check_version(address, "wrong")
    with pytest.raises(InputError, match="no Ray dashboard answers there"):
        check_version(address, TOKEN)
    with (
        dashboard("2.59.1") as address,
        pytest.raises(InputError, match=r"runs Ray 2\.59\.1, karat here 2\.60\.0"),
    ):
        check_version(address, TOKEN)


@pytest.mark.parametrize(
    "answer", [b"\x00\x00\x12\x04 no HTTP\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n\r\n[]"]
)
def test_port_of_something_else_than_a_dashboard_is_refused(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once() -> None:
            with server.accept()[0] as line:
                line.recv(4096)
                line.sendall(answer)

        thread = threading.Thread(target=answer_once, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match=f"{address}: no Ray dashboard answers there"):
            check_version(address, TOKEN)
        thread.join(10)


def test_no_node_with_room_for_a_trial_is_refused() -> None:
    nodes = [{"node": "a (1)", "resources": {"CPU": 8.0, "GPU": 1.0}, "wrong": []}]
    check_nodes(nodes, ResourceConfig(cpus=8, gpus=1))
    with pytest.raises(InputError, match=r"has 2 processes.* 1 CPUs and 1 GPUs.* 8 CPUs and 1 GPU"):
        check_nodes(nodes, ResourceConfig(gpus=2))


def test_room_is_looked_for_for_all_processes_of_a_trial() -> None:
    node = {"node": "a (1)", "resources": {"CPU": 4.0}, "wrong": []}
    with pytest.raises(InputError, match=r"has 16 processes.* 1 CPUs and 0 GPUs.* have 4 CPUs"):
        check_nodes([node], ResourceConfig(processes=16))
    check_nodes([node] * 4, ResourceConfig(processes=16))


def test_node_that_does_not_see_the_storage_is_named() -> None:
    wrong = ["there is no folder /studies"]
    nodes = [
        {"node": "a (1)", "resources": {"CPU": 8.0}, "wrong": []},
        {"node": "b (2)", "resources": {"CPU": 8.0}, "wrong": wrong},
    ]
    with pytest.raises(InputError, match=r"b \(2\): there is no folder /studies"):
        check_nodes(nodes, ResourceConfig())


def test_another_folder_of_the_same_name_is_noticed(tmp_path: Path) -> None:
    (tmp_path / ".token").write_text("token")
    assert looked_at(str(tmp_path), "token", []) == []
    assert looked_at(str(tmp_path), "other", []) == [
        f"{tmp_path} is another folder there than on the head"
    ]
    assert looked_at(str(tmp_path), "token", ["/nowhere/data"]) == ["there is no /nowhere/data"]


def test_job_gets_what_was_typed(
    submission: Submission[RaySettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, str] = {}

    @contextmanager
    def staged(_: Submission[RaySettings]) -> Iterator[tuple[None, str]]:
        yield None, "folder"

    def ask(_: None, **given: str) -> str:
        asked.update(given)
        return "karat-small-1"

    node = {"node": "a (1)", "resources": {"CPU": 8.0}, "wrong": []}
    monkeypatch.setattr(backend, "staged", staged)
    monkeypatch.setattr(backend, "look", lambda *_: {"nodes": [node]})
    monkeypatch.setattr(backend, "ask_for_job", ask)
    done = RayCluster().submit(replace(submission, arguments=(*submission.arguments, "--fresh")))
    assert done.id == "karat-small-1"
    assert asked["entrypoint"].endswith(" --fresh")


def test_relative_data_is_refused(submission: Submission[RaySettings]) -> None:
    space = replace(submission.space, data={"name": "image_folder", "root": "images"})
    with pytest.raises(InputError, match=r"data\.root = 'images': must be absolute"):
        RayCluster().text(replace(submission, space=space))


def test_secret_in_what_is_submitted_is_refused(
    submission: Submission[RaySettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "RAY_AUTH_TOKEN", TOKEN)
    assert TOKEN not in RayCluster().text(submission)
    with pytest.raises(InputError, match="holds a password or token"):
        RayCluster().text(replace(submission, environment={"MLFLOW_TRACKING_TOKEN": TOKEN}))


def found_of(
    submission: Submission[RaySettings], monkeypatch: pytest.MonkeyPatch, **second: object
) -> dict[str, str]:
    """What the doctor says of a cluster of two nodes, the second of them with something wrong."""
    sound = {
        "resources": {"CPU": 2.0},
        "wrong": [],
        "apart_s": 0.0,
        "versions": [True, "as pinned"],
    }
    nodes = [{"node": "a (1)", **sound}, {"node": "b (2)", **sound, **second}]
    head = {"disk": [True, "9 GB free"], "mlflow": [False, "http://m takes no run"]}
    monkeypatch.setattr(checks, "check_version", lambda *_: None)
    monkeypatch.setattr(checks, "token_of", lambda _: TOKEN)
    monkeypatch.setattr(checks, "examine_nodes", lambda *_: {"nodes": nodes, "head": head})
    return {each.name: str(each) for each in examine(checks.checks_of(submission))}


def test_doctor_tells_what_every_node_and_the_head_see(
    submission: Submission[RaySettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = found_of(submission, monkeypatch)
    assert list(said) == ["ray", "nodes", "packages", "shared", "clocks", "disk", "mlflow"]
    assert [text[:5] for text in said.values()] == ["ok   "] * 6 + ["FAILS"]
    assert "/studies can be written from 2 nodes" in said["shared"]
    assert "on the head: http://m takes no run" in said["mlflow"]


@pytest.mark.parametrize(
    ("wrong", "name", "message"),
    [
        ({"wrong": ["there is no folder /studies"]}, "shared", "b (2): there is no folder"),
        ({"apart_s": -90.0}, "clocks", "clocks differ from the head: b (2) by -90 s"),
        ({"versions": [False, "torch is 2.0"]}, "packages", "b (2): torch is 2.0"),
    ],
)
def test_doctor_names_the_node(
    submission: Submission[RaySettings],
    monkeypatch: pytest.MonkeyPatch,
    wrong: dict[str, object],
    name: str,
    message: str,
) -> None:
    said = found_of(submission, monkeypatch, **wrong)
    assert said[name].startswith("FAILS")
    assert message in said[name]
    assert said["nodes"].startswith("ok")


def test_doctor_says_that_the_nodes_could_not_be_asked(
    submission: Submission[RaySettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    said = [str(each) for each in examine(checks.checks_of(submission))]
    assert all(each.startswith("FAILS") for each in said)
    assert "the Ray cluster's token is missing" in said[0]
    assert "the nodes could not be asked" in said[2]
