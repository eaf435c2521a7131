"""A real MLflow server that fails in every way: the view catches up by itself, training goes on."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest

from karat.audit import audit
from karat.tracking import sync
from tests.faults.mlflow_proxy import BAD_MODES, MlflowProxy, Mode, mlflow_proxy
from tests.faults.mlflow_server import MlflowServer, mlflow_server
from tests.test_tracking import Writer

When = Literal["start", "middle", "end"]


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
    """A journal that grows, while a view in a thread follows it."""

    def __init__(self, folder: Path, server: MlflowServer, **follow: Any) -> None:
        self.folder, self.write = folder, Writer(folder, name=folder.name)
        self._server, self._ended = server, threading.Event()
        self._threads = ThreadPoolExecutor(1)
        self.view: Future[None] = self._threads.submit(
            sync, folder, follow=True, owner_alive=lambda: not self._ended.is_set(), **follow
        )

    def end(self) -> None:
        """The last words of the driver."""
        self.write("study_ended", status="failed", reason="no trial was completed")
        self.leave()

    def leave(self) -> None:
        """The driver is gone."""
        if not self._ended.is_set():
            self.write.close()
            self._ended.set()

    def shown(self) -> dict[str, set[int]]:
        """Epochs of every trial that the server has, asked for behind the proxy's back."""
        from mlflow import MlflowClient

        client = MlflowClient(self._server.uri)
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
        study.view.result(60)
    finally:
        study.leave()
        with contextlib.suppress(Exception):
            study.view.exception(60)


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + seconds, "it did not come"
        time.sleep(0.05)
    return time.monotonic() - begun


@pytest.mark.parametrize("when", ["start", "middle", "end"])
@pytest.mark.parametrize("mode", BAD_MODES)
def test_view_catches_up_after_an_outage(
    mode: Mode,
    when: When,
    proxy: MlflowProxy,
    server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    name = f"{mode}-{when}".replace(" ", "-")

    def outage() -> None:
        wait_until(lambda: "fails, trying on" in caplog.text)
        proxy.mode = "healthy"

    with followed(tmp_path / name, server, poll_s=0.02, give_up_s=30) as study:
        if when == "start":
            proxy.mode = mode
        study.write.begin()
        study.write.ask(0)
        study.write.segment(0)
        study.write.report(0, 1, 0.5)
        if when == "start":
            outage()
        wait_until(lambda: study.shown() == {"0": {1}})
        if when == "middle":
            proxy.mode = mode
        study.write.report(0, 2, 0.6)
        study.write.end(0, "stopped")
        study.write.ask(1)
        study.write.segment(1)
        study.write.report(1, 1, 0.4)
        if when == "middle":
            outage()
        wait_until(lambda: study.shown() == {"0": {1, 2}, "1": {1}})
        if when == "end":
            proxy.mode = mode
        study.write.end(1, "failed", "out of memory")
        study.end()
        if when == "end":
            outage()
    assert audit(tmp_path / name) == []
