"""What every cluster keeps to, and one more that is a folder somewhere else."""

import ast
import dataclasses
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import jobs
from jobs import BACKENDS, Submission
from jobs.site import check_site, settings_for
from karat.cli.exit_status import FAILED, OK, WRONG_INPUT
from karat.cli.launch import launch
from karat.cli.main import main
from karat.errors import InputError, PluginError
from karat.space.reader import load_space
from karat.space.site import Site
from karat.system.checks import examine
from tests.conftest import ROOT

WriteSpace = Callable[..., Path]
# Of settings that have no default, for those clusters that have such.
NEEDED = {"kubernetes": {"image": "karat", "claim": "studies"}}
BACKEND = """
from dataclasses import dataclass

from jobs import Backend, Submission, Submitted
from karat.settings import at_least
from karat.space.site import Machines


@dataclass(frozen=True, kw_only=True)
class Settings:
    slots: int = 1

    def __post_init__(self):
        at_least("slots", self.slots, 1)


class Queue(Backend[Settings]):
    settings = Settings

    def machines(self, settings):
        return Machines(settings.slots, 64, 0)

    def text(self, submission):
        words = " ".join([*submission.program, *submission.arguments])
        return f"{submission.settings.slots} slots for: python {words}"

    def submit(self, submission):
        return Submitted(id="7", watch="qtail 7", stop="qdel 7")

    def checks(self, submission):
        return [("queue", lambda: f"{submission.settings.slots} slots")]
"""
AddCluster = Callable[..., Path]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AddCluster]:
    """Adds a cluster: its folder, somewhere on the path of the package, and nothing else."""
    place = tmp_path / "more"
    monkeypatch.setattr(jobs, "__path__", [*jobs.__path__, str(place)])
    monkeypatch.setattr(BACKENDS, "_known", {})

    def write(name: str, text: str = BACKEND) -> Path:
        folder = place / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "backend.py").write_text(text)
        importlib.invalidate_caches()
        return folder

    yield write
    for module in [m for m in sys.modules if m.startswith("jobs.") and m not in IN_THE_HOUSE]:
        if str(place) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


IN_THE_HOUSE = {f"jobs.{path.stem}" for path in (ROOT / "jobs").iterdir()}


def submission_to(name: str, space: Path, storage: Path) -> Submission[object]:
    return Submission(
        space=load_space(space),
        space_file=space,
        program=("-m", "a.program"),
        arguments=("--space", str(space), "--storage", str(storage), "--set", "seed=3"),
        storage=storage,
        code=ROOT,
        settings=settings_for(Site(backends={name: NEEDED.get(name, {})}), name),
    )


def test_the_clusters_are_the_folders_with_a_backend() -> None:
    assert list(BACKENDS) == ["kubernetes", "ray", "slurm"]


@pytest.mark.parametrize("name", BACKENDS)
def test_settings_are_a_frozen_dataclass_that_documents_every_field(name: str) -> None:
    settings = BACKENDS[name].settings
    assert settings.__dataclass_params__.frozen
    for field in dataclasses.fields(settings):
        assert field.kw_only
        assert field.name in str(settings.__doc__), f"{name}.{field.name} is not documented"


@pytest.mark.parametrize("name", BACKENDS)
def test_text_is_pure_and_starts_the_program_with_what_was_typed(
    name: str, write_space: WriteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    submission = submission_to(name, write_space(), tmp_path / "studies")
    before = sorted(tmp_path.rglob("*"))
    backend = BACKENDS[name]()
    text = backend.text(submission)
    assert "-m a.program" in text
    assert "--set seed=3" in text
    assert backend.text(submission) == text
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", BACKENDS)
def test_every_check_says_something_where_there_is_no_such_cluster(
    name: str, write_space: WriteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for variable in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(variable, raising=False)
    submission = submission_to(name, write_space(), tmp_path / "studies")
    found = examine(BACKENDS[name]().checks(submission))
    assert len({each.name for each in found}) == len(found) > 0
    assert not found[0].ok
    assert all(each.message for each in found)


def test_nobody_outside_a_clusters_folder_names_it() -> None:
    """But one cluster may build on another, as a RayJob does on Ray's own jobs."""
    folders = {f"jobs.{name}" for name in BACKENDS}
    outside = [*(ROOT / "karat").rglob("*.py"), *(ROOT / "jobs").glob("*.py"), ROOT / "launch.py"]
    for path in outside:
        for node in ast.walk(ast.parse(path.read_text())):
            named = {
                *([node.module] if isinstance(node, ast.ImportFrom) and node.module else []),
                *([each.name for each in node.names] if isinstance(node, ast.Import) else []),
                *([node.value] if isinstance(node, ast.Constant) else []),
            }
            for name in map(str, named):
                assert ".".join(name.split(".")[:2]) not in folders, f"{path} names {name}"


def test_cluster_is_added_by_its_folder_alone(
    add: AddCluster, write_space: WriteSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add("queue")
    space = write_space(("study: small\n", "study: small\ncluster: {queue: {slots: 9}}\n"))
    words = ["--space", str(space), "--storage", str(tmp_path / "studies")]
    assert launch([*words, "--submit", "queue", "--dry-run"]) == OK
    assert capsys.readouterr().out.startswith(
        f"9 slots for: python -m karat.cli.in_cluster --space {space} --storage {tmp_path}/studies"
    )
    assert launch([*words, "--submit", "queue"]) == OK
    assert "submitted: small is job 7\n    watch   qtail 7\n" in capsys.readouterr().out
    assert launch([*words, "--dry-run"]) == OK
    assert "on queue (9 x 64 CPUs, 0 GPUs), 576" in " ".join(capsys.readouterr().out.split())
    main(["doctor", *words, "--submit", "queue"])
    assert "ok     queue     9 slots" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        launch(["--help"])
    assert "{kubernetes,queue,ray,slurm}" in capsys.readouterr().out


def test_settings_of_an_added_cluster_are_checked_like_those_of_the_others(
    add: AddCluster, write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    add("queue")
    space = write_space(("study: small\n", "study: small\ncluster: {queue: {slots: 0}}\n"))
    assert launch(["--space", str(space)]) == WRONG_INPUT
    assert f"{space}:2: cluster: queue.slots = 0: must be at least 1" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"queue\.slot: unknown key. did you mean 'slots'"):
        check_site(Site(backends={"queue": {"slot": 1}}))


@pytest.mark.parametrize("command", ["launch", "doctor"])
def test_unknown_cluster_lists_the_known_ones_nearest_first(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "--space", str(write_space()), "--submit", "slrum"]) == WRONG_INPUT
    said = "--submit = 'slrum': unknown. did you mean 'slurm'? Known: kubernetes, ray, slurm"
    assert said in capsys.readouterr().err


def test_error_of_a_backend_that_fails_to_import_comes_through(
    add: AddCluster, write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    add("queue", "import no_such_package_of_test\n")
    space = str(write_space())
    with pytest.raises(ModuleNotFoundError, match="no_such_package_of_test"):
        launch(["--space", space, "--submit", "queue", "--dry-run"])
    assert launch(["--space", space, "--submit", "slurm", "--dry-run"]) == OK
    assert "#SBATCH" in capsys.readouterr().out


def test_two_clusters_of_one_name_are_refused(
    add: AddCluster, write_space: WriteSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = add("slurm")
    assert launch(["--space", str(write_space()), "--submit", "slurm", "--dry-run"]) == FAILED
    said = capsys.readouterr().err
    assert f"{ROOT / 'jobs' / 'slurm'} and {folder} have the same name, slurm: rename one" in said


def test_folder_without_exactly_one_backend_is_refused(add: AddCluster) -> None:
    add("queue", "")
    with pytest.raises(PluginError, match=r"queue/backend.py: must define one .* Backend.* none"):
        check_site(Site(backends={"queue": {}}))
