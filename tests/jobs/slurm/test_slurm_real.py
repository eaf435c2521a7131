"""Studies on a real Slurm of two nodes: to their end, through everything that Slurm does to jobs."""

import contextlib
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from karat.causes import SegmentEnd
from karat.cli.main import main
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL, MLFLOW_DATABASE
from karat.journal.state import StudyState
from karat.study.audit import audit
from tests.jobs.slurm.local_slurm import Site, slurm_site, why_not
from tests.launched import NO_MLFLOW
from tests.waiting import PATIENCE_S

WriteSpace = Callable[..., Path]
WHY_NOT = why_not()
# Each group has a site of its own, so that two workers share the wait for Slurm's minutes.
ONE, OTHER = pytest.mark.xdist_group("slurm"), pytest.mark.xdist_group("slurm-2")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(WHY_NOT is not None, reason=f"no Slurm: {WHY_NOT}"),
]


def storage_at(folder: Path, empty_database: Path) -> Path:
    """A storage whose MLflow database exists: its tables take so long here that a job ends before them."""
    folder.mkdir()
    shutil.copy(empty_database, folder / MLFLOW_DATABASE)
    return folder


def cluster(time_limit: str = '"00:30:00"') -> tuple[str, str]:
    """An exchange that puts the site into the small space."""
    slurm = f"nodes: 2, cpus_per_node: 1, time_limit: {time_limit}"
    return ("study: small\n", f"study: small\ncluster: {{slurm: {{{slurm}}}}}\n")


NOT_AT_AN_END = (
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "SIGNALING",
    "COMPLETING",
    "REQUEUED",
    "NODE_FAIL",
)
SLOWER = (("epochs: 4", "epochs: 8"), ("depth: 1", "depth: 4"), ("trials: 6", "trials: 3"))
# For a study that is to come to its end: four runs of its confirmation, two on each node.
TO_ITS_END = (*SLOWER, ("[1, 2]", "[2]"))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with (
        tempfile.TemporaryDirectory(prefix="ks-", dir="/tmp") as name,
        slurm_site(Path(name)) as it,
    ):
        yield it


class Launched:
    """A study that is submitted; its command may be given again."""

    def __init__(self, site: Site, space: Path, storage: Path) -> None:
        self.site, self.storage = site, storage
        self.words = ("--space", str(space), "--storage", str(storage), "--submit", "slurm")
        self.job = ""
        self.submit()

    def submit(self) -> None:
        said = self.site.launch(*self.words)
        found = re.search(r"is job (\d+)", said)
        assert found, said
        self.job = found[1]

    @property
    def events(self) -> list[Event]:
        journal = self.storage / "small" / JOURNAL
        return list(read_events(journal)) if journal.exists() else []

    @property
    def log(self) -> str:
        files = sorted((self.storage / ".slurm").glob("*.log"))
        return "\n".join(path.read_text() for path in files)

    def count(self, kind: str) -> int:
        return sum(event.kind == kind for event in self.events)

    def wait(self, what: str, reached: Callable[[], bool], limit_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + limit_s
        while not reached():
            if time.monotonic() > deadline:
                pytest.fail(f"not in {limit_s:g} s: {what}\n{self.overview()}")
            time.sleep(0.5)

    def wait_for_reports(self, more: int) -> None:
        wanted = self.count("reported") + more

        def reached() -> bool:
            reports = [event.data["trial"] for event in self.events if event.kind == "reported"]
            return len(reports) >= wanted and len(set(reports)) >= 2  # on both nodes

        self.wait(f"{more} reports of two trials", reached)

    def wait_for_state(self, wanted: str, limit_s: float = 2 * PATIENCE_S) -> None:
        def reached() -> bool:
            state = self.site.state(self.job)
            if state and state not in {wanted, *NOT_AT_AN_END}:
                pytest.fail(f"the job is {state}, not {wanted}\n{self.overview()}")
            return state == wanted

        self.wait(wanted, reached, limit_s)

    def overview(self) -> str:
        """What there is to see, the job's processes first; not so long that a log would cut it."""
        job = self.site.run("scontrol", "--oneliner", "show", "job", self.job, check=False)
        parts = (job[:600], *left_running(self.site), self.log[-1500:], self.site.logs())
        return "\n".join(parts)

    def check_end(self) -> StudyState:
        """The study is complete, and whole; nothing of the job is left."""
        events = self.events
        state = StudyState.of(events)
        assert state.status == "completed", self.log
        assert not any(trial.status == "failed" for trial in state.trials.values())
        assert {e.data["slots"] for e in events if e.kind == "launched"} == {2}
        self.check_journal()
        return state

    def check_journal(self) -> None:
        """The journal is sound, and nothing of the job is left."""
        folder = self.storage / "small"
        assert audit(folder) == []
        assert main(["replay", str(folder)]) == 0
        assert main(["audit", str(folder)]) == 0
        assert left_running(self.site) == []


def left_running(site: Site) -> list[str]:
    """What of jobs still runs: node, start of the job, process, since when, and its words."""
    found = []
    for process in processes(site, ""):
        with contextlib.suppress(psutil.Error):
            given, since = process.environ(), time.time() - process.create_time()
            start = f"{given.get('SLURMD_NODENAME')}, start {given.get('SLURM_RESTART_COUNT', 0)}"
            words = " ".join(process.cmdline())[:150]
            found.append(f"{start}: {process.status()} for {since:.0f} s: {words}")
    return found


def processes(site: Site, name: str) -> Iterator[psutil.Process]:
    """What runs in a job of the site, and is called so."""
    for process in psutil.process_iter():
        try:
            given = process.environ()
            ours = given.get("SLURM_CONF") == site.environment["SLURM_CONF"]
            if ours and "SLURM_JOB_ID" in given and name in process.name():
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def kill_node(site: Site, name: str) -> None:
    """Kill all there is of a node, as when its machine loses power: slurmd first, which would tell."""
    site.node(name).kill()
    ours = [p for p in processes(site, "") if p.environ().get("SLURMD_NODENAME") == name]
    steps = {each for p in ours for each in p.parents() if each.name() == "slurmstepd"}
    for process in [*steps, *ours]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def ended(events: list[Event]) -> dict[int, Event]:
    return {e.data["trial"]: e for e in events if e.kind == "trial_ended"}


@ONE
@pytest.mark.parametrize(
    ("exchange", "message"),
    [
        (("nodes: 2", "nodes: 2, partition: shirt"), "no such partition. did you mean 'short'?"),
        (("nodes: 2", "nodes: 3"), "slurm.nodes = 3: partition short has 2 nodes"),
        (("cpus_per_node: 1", "gpus_per_node: 1"), "has 0 nodes with 4 CPUs and 1 GPUs"),
    ],
)
def test_what_the_site_cannot_run_is_refused_and_nothing_submitted(
    site: Site, write_space: WriteSpace, tmp_path: Path, exchange: tuple[str, str], message: str
) -> None:
    space = write_space(cluster(), exchange)
    words = ("--space", str(space), "--storage", str(tmp_path), "--submit", "slurm", "--dry-run")
    assert "#SBATCH" in site.launch(*words)
    said = site.launch(*words[:-1], check=False)
    assert said.startswith("error: ")
    assert message in said
    assert "small" not in site.run("squeue", "--noheader", "--format=%j")


@ONE
def test_storage_that_a_node_cannot_see_is_refused_by_the_nodes_name(
    site: Site, write_space: WriteSpace
) -> None:
    words = ("--space", str(write_space(cluster())), "--storage", str(site.only_on_n1 / "studies"))
    said = site.launch(*words, "--submit", "slurm", check=False)
    assert "only-on-n1/studies: n2 cannot read and write it" in said
    assert "small" not in site.run("squeue", "--noheader", "--format=%j")
    examined = site.run(
        sys.executable, "-m", "karat", "doctor", "--submit", "slurm", *words, check=False
    )
    assert "ok     nodes     karat runs on n1, n2" in examined
    assert "FAILS  shared    --storage" in examined
    assert "ok     clocks" in examined


def token_of(site: Site) -> str:
    """The token of the Ray cluster that runs now, which no command shows."""
    token = next(processes(site, "raylet")).environ()["RAY_AUTH_TOKEN"]
    assert len(token) == 64
    for process in psutil.process_iter(["cmdline"]):
        assert token not in " ".join(process.info["cmdline"] or [])
    return token


@ONE
def test_scancel_loses_nothing_and_the_same_command_goes_on_to_the_end_and_hides_its_token(
    site: Site, write_space: WriteSpace, tmp_path: Path, empty_database: Path
) -> None:
    storage = storage_at(tmp_path / "studies", empty_database)
    launched = Launched(site, write_space(cluster(), *TO_ITS_END), storage)
    launched.wait_for_reports(8)
    site.run("scancel", launched.job)
    launched.wait("the end of the job", lambda: launched.job not in site.run("squeue", "-h"))
    before = launched.events
    assert before[-1].kind == "interrupted", launched.log
    assert left_running(site) == []
    left = {e.data["cause"] for e in before if e.kind == "segment_ended"}
    assert left == {SegmentEnd.PAUSED}, "checkpoints were not written in time"

    launched.submit()
    launched.wait("both nodes", lambda: len(list(processes(site, "raylet"))) == 2)
    token = token_of(site)
    launched.wait_for_state("COMPLETED")
    launched.check_end()
    assert launched.events[: len(before)] == before
    assert token not in launched.log
    assert not [
        p for p in launched.storage.rglob("*") if p.is_file() and token.encode() in p.read_bytes()
    ]


@OTHER
def test_short_jobs_of_an_array_are_one_study(
    site: Site, write_space: WriteSpace, tmp_path: Path
) -> None:
    # What MLflow has after an interruption is looked at above.
    space = write_space(cluster('"00:30:00", array: 3'), *TO_ITS_END, NO_MLFLOW)
    launched = Launched(site, space, tmp_path / "studies")
    launched.wait_for_reports(8)
    site.run("scancel", f"{launched.job}_1")  # as if its time were over
    launched.wait("the end of all", lambda: launched.job not in site.run("squeue", "-h"))
    launched.check_end()
    assert launched.count("launched") == 2
    assert launched.count("interrupted") == 1
    assert "this study is finished" in launched.log  # says the third


@ONE
def test_job_at_its_time_limit_is_requeued_and_goes_on_by_itself(
    site: Site, write_space: WriteSpace, tmp_path: Path
) -> None:
    longer = ("epochs: 4", "epochs: 36")
    space = write_space(cluster('"00:30:00", notice_s: 90'), longer, *SLOWER[1:], NO_MLFLOW)
    launched = Launched(site, space, tmp_path / "studies")
    launched.wait_for_reports(4)
    # Slurm counts in minutes: one to two are left, less than the notice, which comes at once.
    site.set_time_limit(launched.job, 2 + site.minutes_of(launched.job))
    launched.wait_for_state("PENDING")
    before = launched.events
    assert before[-1].kind == "interrupted", "the study was over before the time limit"
    assert before[-1].data["details"].get("signal") == "SIGINT"
    site.set_time_limit(launched.job, 30)
    launched.wait_for_reports(
        4
    )  # that a resumed study comes to its end is shown by the tests above
    assert launched.count("launched") == 2
    site.run("scancel", launched.job)
    launched.wait("the end of the job", lambda: launched.job not in site.run("squeue", "-h"))
    assert launched.events[: len(before)] == before
    assert {e.data["cause"] for e in launched.events if e.kind == "segment_ended"} == {"paused"}
    launched.check_journal()
    assert "requeued, to be resumed" in launched.log


@OTHER
def test_node_that_goes_down_costs_no_more_than_epochs_and_the_job_goes_on_by_itself(
    site: Site, write_space: WriteSpace, tmp_path: Path
) -> None:
    space = write_space(cluster(), *TO_ITS_END, NO_MLFLOW)
    launched = Launched(site, space, tmp_path / "studies")
    launched.wait_for_reports(8)
    kill_node(site, "n2")
    site.run("scontrol", "update", "nodename=n2", "state=down", "reason=test")
    launched.wait_for_state("PENDING")
    before = ended(launched.events)
    site.start_node("n2")
    site.run("scontrol", "update", "nodename=n2", "state=resume")
    launched.wait_for_state("COMPLETED")
    launched.check_end()
    after = ended(launched.events)
    assert {number: after[number] for number in before} == before
