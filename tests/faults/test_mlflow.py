"""A real MLflow server that fails in many ways: the view catches up by itself, training continues."""

import contextlib
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest

from karat.cli.main import main
from karat.errors import JournalError
from karat.journal.journal import Event
from karat.journal.layout import JOURNAL
from karat.study.audit import audit
from karat.tracking.sync import sync, tracking_uri
from tests.conftest import ROOT
from tests.faults.mlflow_proxy import BAD_MODES, MlflowProxy, Mode, mlflow_proxy
from tests.faults.mlflow_server import MlflowServer, mlflow_server
from tests.launched import Launch
from tests.marks import further
from tests.tracking.test_sync import Writer
from tests.waiting import PATIENCE_S, wait_until

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning"),  # of MLflow itself
    pytest.mark.xdist_group("mlflow"),  # one process starts the server
]
When = Literal["start", "middle", "end"]
SHORT_TIMEOUT_S = "2"  # below the proxy's `SLOW_S`, and far above what a healthy answer takes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def proxy(server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowProxy]:
    with mlflow_proxy(server.port) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
        yield proxy


class Study:
    """A growing journal that a view in a thread follows."""

    def __init__(self, folder: Path, server: MlflowServer, **follow: Any) -> None:
        self.folder, self.write = folder, Writer(folder, name=folder.name)
        self._server, self._ended = server, threading.Event()
        self._threads = ThreadPoolExecutor(1)
        self.view: Future[None] = self._threads.submit(
            sync, folder, follow=True, owner_alive=lambda: not self._ended.is_set(), **follow
        )

    def end(self) -> None:
        """Write the last event of the driver."""
        self.write("study_ended", status="failed", cause="nothing_completed")
        self.leave()

    def leave(self) -> None:
        """Close the journal, as a driver that exits does."""
        self.write.close()
        self._ended.set()

    def shown(self) -> dict[str, set[int]]:
        """Return the epochs of every trial that the server has, bypassing the proxy."""
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            return self._ask(MlflowClient(self._server.uri))
        except MlflowException:  # the one-second limit is meant for the view; retry
            return {}

    def wait_for(self, epochs: dict[str, set[int]], what: str) -> None:
        """Until the server has these epochs; asked five times a second, since answers are costly."""
        wait_until(lambda: self.shown() == epochs, what, poll_s=0.2)

    def _ask(self, client: Any) -> dict[str, set[int]]:
        experiment = client.get_experiment_by_name(self.folder.name)
        runs = client.search_runs([experiment.experiment_id]) if experiment else []
        return {
            run.data.tags["karat.trial"]: {
                point.step for point in client.get_metric_history(run.info.run_id, "val_accuracy")
            }
            for run in runs
            if "karat.trial" in run.data.tags
        }


@contextlib.contextmanager
def followed(folder: Path, server: MlflowServer, **follow: Any) -> Iterator[Study]:
    study = Study(folder, server, **follow)
    try:
        yield study
        study.leave()
        study.view.result(PATIENCE_S)
    finally:
        study.leave()
        with contextlib.suppress(Exception):
            study.view.exception(PATIENCE_S)


@pytest.mark.parametrize("when", further(["middle", "start", "end"]))
@pytest.mark.parametrize("mode", further(BAD_MODES, keep=4))
@pytest.mark.usefixtures("without_question")
def test_view_catches_up_after_an_outage(
    mode: Mode,
    when: When,
    proxy: MlflowProxy,
    server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if mode == "hang":
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", SHORT_TIMEOUT_S)
    name = f"{mode}-{when}".replace(" ", "-")

    def outage() -> None:
        wait_until(lambda: "fails, retrying" in caplog.text, "a failure")
        proxy.mode = "healthy"

    with followed(tmp_path / name, server, poll_s=0.02, give_up_s=PATIENCE_S) as study:
        if when == "start":
            proxy.mode = mode
        study.write.begin()
        study.write.ask(0)
        study.write.segment(0)
        study.write.report(0, 1, 0.5)
        if when == "start":
            outage()
        study.wait_for({"0": {1}}, "the first report")
        if when == "middle":
            proxy.mode = mode
        study.write.report(0, 2, 0.6)
        study.write.end(0, "stopped")
        study.write.ask(1)
        study.write.segment(1)
        study.write.report(1, 1, 0.4)
        if when == "middle":
            outage()
        study.wait_for({"0": {1, 2}, "1": {1}}, "all reports")
        if when == "end":
            proxy.mode = mode
        study.write.end(1, "failed", "out of memory")
        study.end()
        if when == "end":
            outage()
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    assert audit(tmp_path / name) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["429", "hang"])
@pytest.mark.usefixtures("without_question")
def test_view_comes_back_soon_after_a_long_outage(
    mode: Mode, proxy: MlflowProxy, server: MlflowServer, tmp_path: Path
) -> None:
    """With the production timeouts, and a `Retry-After` of an hour."""
    with followed(tmp_path / f"back-{mode}", server) as study:
        proxy.mode = mode
        study.write.begin()
        study.write.ask(0)
        study.write.segment(0)
        study.write.report(0, 1, 0.5)
        time.sleep(7)
        proxy.mode = "healthy"
        # `wait_for` has far less patience than the hour that the server asks for.
        study.wait_for({"0": {1}}, "the first report")
        study.write.end(0, "stopped")
        study.end()
    assert audit(tmp_path / f"back-{mode}") == []


@pytest.mark.usefixtures("without_question")
def test_server_that_is_slow_to_take_files_is_given_more_time(
    proxy: MlflowProxy, server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", SHORT_TIMEOUT_S)
    with followed(tmp_path / "slow", server, poll_s=0.02) as study:
        proxy.mode = "slow uploads"
        study.write.begin()
        study.write.whole(0, 0.5, ends="stopped")
        study.wait_for({"0": {1}}, "the report")
        study.end()
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
    assert audit(tmp_path / "slow") == []


def test_damaged_journal_ends_the_view_at_once(
    proxy: MlflowProxy, server: MlflowServer, tmp_path: Path
) -> None:
    proxy.mode = "500"
    folder = tmp_path / "damaged"
    study = Study(folder, server)
    study.write.begin()
    with (folder / JOURNAL).open("ab") as journal:
        journal.write(b'{"v":1,"seq":2,"time":1.0,"kind":"nonsense","data":{},"crc":"0"}\n')
    with pytest.raises(JournalError, match="is damaged"):
        study.view.result(PATIENCE_S)
    study.leave()


@contextlib.contextmanager
def locked(database: Path, seconds: float) -> Iterator[None]:
    """Lock the database from another connection for that many seconds after the block begins."""
    begun, release = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("PRAGMA busy_timeout = 10000")
            connection.execute("BEGIN EXCLUSIVE")
            begun.set()
            release.wait(seconds)
            connection.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert begun.wait(PATIENCE_S)
        yield
        thread.join()
    finally:
        release.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("whose", "when"), [("own", "start"), ("own", "middle"), ("server's", "middle")]
)
@pytest.mark.usefixtures("without_question")
def test_locked_database_delays_the_view_and_loses_nothing(
    whose: str,
    when: When,
    server: MlflowServer,
    empty_database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = tmp_path / "mlflow.db"
    if whose == "own":
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        shutil.copy(empty_database, database)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        database = server.database
    folder = tmp_path / f"locked-{when}"
    lock = contextlib.ExitStack()
    with followed(folder, server) as study, lock:
        if when == "start":
            lock.enter_context(locked(database, 10))
        study.write.begin()
        study.write.whole(0, 0.5, ends="stopped")
        if when == "middle":
            wait_until(lambda: bool(runs_at(folder)), "a run")
            lock.enter_context(locked(database, 10))
        study.write.whole(1, 0.5, ends="stopped")
        lock.close()
        study.end()
    assert audit(folder) == []


def runs_at(folder: Path) -> list[Any]:
    """Return the runs of the study in MLflow; none while MLflow does not answer."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri(folder))
    experiment = client.get_experiment_by_name(folder.name)
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.slow
@pytest.mark.usefixtures("without_question")
def test_killed_view_creates_no_run_twice(
    place: str, server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    folder = tmp_path / f"killed-{place}"
    write = Writer(folder, name=folder.name)
    write.begin()
    write.whole(0, 0.5, ends="stopped")
    write.ask(1)
    for count in (1, 2):
        fault = f"view.push.{place}@{count}=kill:{tmp_path / f'once{count}'}"
        process = subprocess.Popen(
            [sys.executable, "-m", "karat", "sync", str(folder), "--follow"],
            stdin=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "KARAT_FAULT": fault},
        )
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
        write.segment(1, count - 1, from_epoch=count - 1)
        write.report(1, count, 0.5, segment=count - 1)
        write("segment_ended", trial=1, segment=count - 1, cause="lost")
    write.end(1, "stopped")
    write("study_ended", status="failed", cause="nothing_completed")
    write.close()
    assert main(["sync", str(folder)]) == 0
    assert len(runs_at(folder)) == 3
    assert audit(folder) == []


def overheads(events: list[Event]) -> list[tuple[int, float]]:
    """Return number and time without training of each report, except the first of a segment.

    The time is a share of the reported epoch's, since on a busy machine both take longer.
    """
    last: dict[int, float] = {}
    found = []
    for event in events:
        number = event.data.get("trial", -1)
        if event.kind == "segment_started":
            last.pop(number, None)
        elif event.kind == "reported":
            if number in last:
                trained_s = event.data["seconds"]
                found.append((event.seq, (event.time - last[number] - trained_s) / trained_s))
            last[number] = event.time
    return found


@pytest.mark.slow
def test_training_does_not_notice_that_the_server_is_killed(
    launch: Launch, write_space: Callable[..., Path], tmp_path: Path
) -> None:
    storage, service = tmp_path / "studies", tmp_path / "service"
    service.mkdir()
    longer = (("epochs: 4", "epochs: 8"), ("depth: 1", "depth: 5"), ("trials: 6", "trials: 3"))
    with mlflow_server(service) as server:
        study = launch(write_space(*longer), storage, MLFLOW_TRACKING_URI=server.uri)
        study.wait_for("reported", 12)
        server.kill()
        down = study.events[-1].seq
        study.wait_for("reported", study.count("reported") + 30)
        up = study.events[-1].seq
        server.start(wait=False)
        study.end()
        with pytest.MonkeyPatch.context() as here:
            here.setenv("MLFLOW_TRACKING_URI", server.uri)
            assert main(["audit", str(study.folder)]) == 0
    found = overheads(study.events)
    before = [each for seq, each in found if seq <= down]
    during = [each for seq, each in found if down < seq <= up]
    assert study.events[-1].seq > up, "the study was over before the server came back"
    assert len(during) > 20
    # One slow report is the machine; training that waits for a server has many.
    assert statistics.median(during) < 0.5 + statistics.median(before)
