"""MLflow shows what the journal says, even if MLflow or the driver fails."""

import errno
import fcntl
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from karat.journal.journal import Journal, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.models.build import build_model
from karat.tracking.record import Record
from karat.tracking.runs import KERNELS_PARAM
from karat.tracking.sync import TrackingError, sync, tracking_uri
from karat.tracking.trial_run import params_of, trial_params
from karat.tracking.view import View
from karat.training.checkpoint import load_checkpoint, newest_first
from karat.training.config import TrialConfig
from karat.training.trainer import Trainer
from tests.conftest import ROOT
from tests.journals import why
from tests.waiting import PATIENCE_S

NAME, UID = "tiny-grid", "0123456789abcdef"
LABELS = {"softmax": "softmax", "fourier": "fourier grid_size=3 blockwise"}
TRAINING = {"recipe": "quick", "epochs": 1, "warmup_epochs": 0, "learning_rate": 0.004}

pytestmark = pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning")  # from MLflow


def config_of(arm: str) -> dict[str, dict[str, Any]]:
    own = {"grid_size": 3, "rank": 4} if arm == "fourier" else {}
    return {
        "data": {"name": "digits"},
        "model": {"name": "vit_micro", "embed_dim": 12, "depth": 1, "num_heads": 1},
        "attention": {"basis": arm, **own},
        "training": dict(TRAINING),
    }


class Writer:
    """Writes a journal like a driver; the events are one second apart."""

    def __init__(self, folder: Path, *, start: float = 1_750_000_000.0, name: str = NAME) -> None:
        self.folder, self.name, self.closed = folder, name, False
        self._clock = itertools.count(start)
        self._journal = Journal.open(folder, clock=lambda: next(self._clock))

    def __call__(self, kind: str, **data: Any) -> None:
        self._journal.append(kind, **data)

    def begin(
        self,
        *,
        metric: str = "val_accuracy",
        mode: str = "max",
        space: Mapping[str, Any] | None = None,
    ) -> None:
        self(
            "study_created",
            name=self.name,
            uid=UID,
            question="Is it better than softmax?",
            space=space or {},
            space_hash="5eed",
            seed=1,
            metric=metric,
            mode=mode,
            reference="softmax",
            arms=[],
            excluded=[],
            search={"sampler": "tpe", "trials": 3, "metric": metric, "mode": mode},
            early_stopping={},
            confirm={
                "seeds": 2,
                "by": "attention.basis",
                "smallest_difference": 0.005,
                "alpha": 0.05,
            },
            data={"fingerprint": "f", "classes": list("0123456789")},
            totals={"search": 3, "confirm": 4},
        )
        self.launch()

    def launch(self) -> None:
        self("launched", slots=1, pid=1, environment={})

    def ask(self, trial: int, arm: str = "fourier", phase: str = "search", index: int = 0) -> None:
        self(
            "trial_asked",
            trial=trial,
            phase=phase,
            arm=LABELS[arm],
            factors={"attention.basis": arm},
            tuned={"training.learning_rate": 0.004},
            config=config_of(arm),
            seed=100 + index,
            seed_index=index,
            epochs=1,
        )

    def segment(self, trial: int, segment: int = 0, from_epoch: int = 0) -> None:
        self("segment_started", trial=trial, segment=segment, from_epoch=from_epoch)

    def report(
        self, trial: int, epoch: int, accuracy: float, segment: int = 0, **more: Any
    ) -> None:
        metrics = {"val_accuracy": accuracy, "val_loss": 1 - accuracy, "train_loss": 0.5}
        data = {"trial": trial, "segment": segment, "epoch": epoch, "seconds": 0.25}
        self("reported", **data, metrics=metrics, **more)

    def end(self, trial: int, status: str = "completed", reason: str = "") -> None:
        self("trial_ended", trial=trial, status=status, **why(status, reason))

    def whole(
        self,
        trial: int,
        accuracy: float,
        arm: str = "fourier",
        ends: str = "completed",
        **asked: Any,
    ) -> None:
        self.ask(trial, arm, **asked)
        self.segment(trial)
        self.report(trial, 1, accuracy)
        self.end(trial, ends)

    def interrupt(self, *trials: int) -> None:
        for trial in trials:
            self("segment_ended", trial=trial, segment=0, cause="interrupted")
        self("interrupted", cause="signal", details={"signal": "SIGTERM"})

    def close(self) -> None:
        if not self.closed:
            self._journal.close()
            self.closed = True


@pytest.fixture
def writer(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Writer]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    writer = Writer(tmp_path / NAME)
    yield writer
    writer.close()
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"mlflow.db", "mlruns", "elsewhere", NAME}
    assert {path.name for path in tmp_path.glob("mlruns/*")} <= {NAME}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a trial that was trained for one epoch with seed 101."""
    folder = tmp_path_factory.mktemp("trained")
    Trainer(TrialConfig.from_sections(config_of("fourier")), 101, folder=folder).run_epoch()
    return folder


def client_of(folder: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri(folder), registry_uri=tracking_uri(folder))


def runs_of(folder: Path) -> dict[str, Any]:
    """All active runs of the study's experiment by name; names must be unique."""
    client = client_of(folder)
    experiment = client.get_experiment_by_name(NAME)
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    by_name = {run.info.run_name: run for run in runs}
    assert len(by_name) == len(runs)
    return by_name


def content_of(folder: Path) -> dict[str, Any]:
    """Everything that MLflow shows of the study, without MLflow's ids."""
    client, content = client_of(folder), {}
    for name, run in runs_of(folder).items():
        curves = {
            metric: [
                (p.step, p.value, p.timestamp)
                for p in client.get_metric_history(run.info.run_id, metric)
            ]
            for metric in run.data.metrics
        }
        tags = {key: value for key, value in run.data.tags.items() if "parentRunId" not in key}
        files = sorted(file.path for file in client.list_artifacts(run.info.run_id))
        times = (run.info.status, run.info.start_time, run.info.end_time)
        content[name] = (times, tags, run.data.params, curves, files)
    return content


def trial_run(folder: Path, number: int = 0) -> Any:
    [run] = [r for r in runs_of(folder).values() if r.data.tags.get("karat.trial") == str(number)]
    return run


def complete_study(write: Writer, trained: Path) -> None:
    """Three search trials, then two cells with two seeds; trial 6 is the best trial of the best cell."""
    write.begin()
    write.whole(0, 0.5)
    write.ask(1)
    write.segment(1)
    write.report(1, 1, 0.3)
    write.end(1, "stopped", "early stopping at epoch 1")
    write.whole(2, 0.6, "softmax")
    write("confirmation_planned", cells=[], skipped=[])
    write.whole(3, 0.99, "softmax", phase="confirm")
    write.whole(4, 0.80, phase="confirm")
    write.whole(5, 0.10, "softmax", phase="confirm", index=1)
    write.whole(6, 0.90, phase="confirm", index=1)
    shutil.copytree(trained, write.folder / "trials" / "0006")
    (write.folder / "report.md").write_text("# verdict")
    write("study_ended", status="completed")


def test_a_trial_is_shown_whole(writer: Writer) -> None:
    writer.begin()
    writer.whole(0, 0.5)
    writer.ask(1, "softmax", "confirm", 2)
    sync(writer.folder, owner_alive=lambda: True)

    runs = runs_of(writer.folder)
    study = runs[NAME]
    assert study.info.status == "RUNNING"
    assert study.data.tags["mlflow.note.content"] == "Is it better than softmax?"
    assert study.data.metrics == {"search_trials_ended": 1, "search_best_val_accuracy": 0.5}
    assert set(runs) == {
        NAME,
        "0000 fourier grid_size=3 blockwise",
        "confirm 0001 softmax seed 2",
    }
    run = trial_run(writer.folder)
    assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
    assert run.data.params["training.learning_rate"] == "0.004"
    assert run.data.params["seed"] == "100"
    assert run.data.metrics["val_accuracy"] == 0.5
    place = client_of(writer.folder).download_artifacts(run.info.run_id, "config.yaml")
    assert yaml.safe_load(Path(place).read_text()) == config_of("fourier")
    assert run.info.artifact_uri.startswith((writer.folder.parent / "mlruns" / NAME).as_uri())


def test_sync_twice_makes_no_second_run(writer: Writer) -> None:
    writer.begin()
    writer.whole(0, 0.5)
    writer.ask(1)
    writer.segment(1)
    writer.report(1, 1, 0.4)
    sync(writer.folder)
    first = content_of(writer.folder)
    sync(writer.folder)
    assert content_of(writer.folder) == first


def test_followed_live_or_synced_from_nothing_is_the_same(
    writer: Writer, empty_database: Path, tmp_path: Path
) -> None:
    def segment_again_from_an_earlier_epoch() -> None:
        writer.segment(0, 1, from_epoch=0)
        writer.report(0, 1, 0.45, segment=1)

    steps: list[Callable[[], None]] = [
        writer.begin,
        lambda: writer.ask(0),
        lambda: writer.segment(0),
        lambda: writer.report(0, 1, 0.5),
        lambda: writer("segment_ended", trial=0, segment=0, cause="lost"),
        segment_again_from_an_earlier_epoch,
        lambda: writer.end(0),
        lambda: writer("study_ended", status="failed", cause="nothing_completed"),
    ]

    def next_step() -> bool:
        if steps:
            steps.pop(0)()
        return bool(steps)

    sync(writer.folder, follow=True, owner_alive=next_step, poll_s=0)
    other = tmp_path / "elsewhere" / NAME
    other.mkdir(parents=True)
    shutil.copy(writer.folder / "journal.jsonl", other)
    shutil.copy(empty_database, other.parent / "mlflow.db")
    sync(other)
    assert content_of(other) == content_of(writer.folder)
    assert len(content_of(other)["0000 fourier grid_size=3 blockwise"][3]["val_accuracy"]) == 2


def test_the_kernel_that_was_used_is_a_parameter_and_stays_the_first(writer: Writer) -> None:
    writer.begin()
    writer.ask(0)
    writer.segment(0)
    sync(writer.folder)
    writer.report(0, 1, 0.5, kernels=["recompute"])
    sync(writer.folder)
    assert trial_run(writer.folder).data.params[KERNELS_PARAM] == "recompute"
    writer.segment(0, 1, from_epoch=1)
    writer.report(0, 2, 0.6, segment=1, kernels=["triton"])
    writer.end(0)
    sync(writer.folder)
    assert trial_run(writer.folder).data.params[KERNELS_PARAM] == "recompute"


def test_stopped_and_failed_trials_are_told_apart(writer: Writer) -> None:
    writer.begin()
    for number, (status, reason) in enumerate(
        [("completed", ""), ("stopped", ""), ("failed", "out of memory")]
    ):
        writer.ask(number)
        writer.segment(number)
        writer.report(number, 1, 0.5)
        writer.end(number, status, reason)
    sync(writer.folder)
    shown = [
        (run.info.status, run.data.tags["karat.status"], run.data.tags["karat.reason"])
        for run in (trial_run(writer.folder, number) for number in range(3))
    ]
    assert shown == [
        ("FINISHED", "completed", ""),
        ("FINISHED", "stopped early", "early stopping at epoch 1"),
        ("FAILED", "failed", "out of memory"),
    ]


def test_interrupted_trial_is_killed_and_resumes_in_the_same_run(writer: Writer) -> None:
    writer.begin()
    writer.ask(0)
    writer.segment(0)
    writer.report(0, 1, 0.5)
    writer.interrupt(0)
    sync(writer.folder, owner_alive=lambda: False)
    killed = trial_run(writer.folder)
    assert killed.info.status == "KILLED"
    assert killed.data.tags["karat.status"] == "interrupted"
    assert killed.data.tags["karat.reason"] == "SIGTERM"
    assert runs_of(writer.folder)[NAME].info.status == "KILLED"

    writer.launch()
    writer.segment(0, 1, from_epoch=1)
    sync(writer.folder, owner_alive=lambda: True)
    resumed = trial_run(writer.folder)
    assert resumed.info.run_id == killed.info.run_id
    assert resumed.info.status == runs_of(writer.folder)[NAME].info.status == "RUNNING"
    assert resumed.data.tags["karat.reason"] == ""

    writer.report(0, 2, 0.6, segment=1)
    writer.end(0)
    sync(writer.folder, owner_alive=lambda: True)
    ended = trial_run(writer.folder)
    assert (ended.info.run_id, ended.info.status) == (killed.info.run_id, "FINISHED")
    history = client_of(writer.folder).get_metric_history(ended.info.run_id, "val_accuracy")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.6)]


def test_a_resumed_study_is_followed_before_its_journal_says_so(writer: Writer) -> None:
    writer.begin()
    writer.ask(0)
    writer.interrupt()
    looks = itertools.count()

    def driver_is_slow_to_launch() -> bool:
        look = next(looks)
        if look == 2:
            writer.launch()
            writer.segment(0)
            writer.report(0, 1, 0.7)
            writer.end(0)
        return look < 3

    sync(writer.folder, follow=True, owner_alive=driver_is_slow_to_launch, poll_s=0)
    assert trial_run(writer.folder).info.status == "FINISHED"


def test_runs_of_a_driver_that_died_do_not_stay_running(writer: Writer) -> None:
    writer.begin()
    writer.ask(0)
    writer.segment(0)
    alive = iter([True, True, False])
    sync(writer.folder, follow=True, owner_alive=lambda: next(alive), poll_s=0)
    run = trial_run(writer.folder)
    assert run.info.status == runs_of(writer.folder)[NAME].info.status == "KILLED"
    assert run.data.tags["karat.reason"] == "the driver exited unexpectedly"


def test_a_trial_that_lost_its_worker_runs_on(writer: Writer) -> None:
    writer.begin()
    writer.ask(0)
    writer.segment(0)
    writer("segment_ended", trial=0, segment=0, cause="lost", details={"what": "worker"})
    sync(writer.folder)  # the journal is open, so the driver counts as alive
    assert trial_run(writer.folder).info.status == "RUNNING"


def test_best_checkpoint_of_a_completed_trial_is_kept_with_its_manifest(
    writer: Writer, trained: Path
) -> None:
    writer.begin()
    for number in (0, 1):
        writer.ask(number)
        writer.segment(number)
        shutil.copytree(trained, writer.folder / "trials" / f"{number:04d}")
    sync(writer.folder)
    client, run = client_of(writer.folder), trial_run(writer.folder)
    assert client.list_artifacts(run.info.run_id, "checkpoints") == []
    writer.end(0)
    writer.end(1, "stopped")
    sync(writer.folder)
    stopped = trial_run(writer.folder, 1)
    assert client.list_artifacts(stopped.info.run_id, "checkpoints") == []
    folder = Path(client.download_artifacts(run.info.run_id, "checkpoints"))
    assert sorted(p.name for p in folder.iterdir()) == ["best-00001.json", "best-00001.pt"]
    assert load_checkpoint(folder / "best-00001.pt")["model"]


@pytest.mark.slow
def test_registered_model_predicts_for_any_batch_size(writer: Writer, trained: Path) -> None:
    complete_study(writer, trained)
    sync(writer.folder, owner_alive=lambda: False)
    sync(writer.folder, owner_alive=lambda: False)
    client = client_of(writer.folder)
    [version] = client.search_model_versions(f"name = '{NAME}'")
    assert version.tags["karat.trial"] == "6"
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    assert model.artifact_location.startswith((writer.folder.parent / "mlruns" / NAME).as_uri())
    assert version.tags["karat.study_uid"] == UID
    assert version.run_id == trial_run(writer.folder, 6).info.run_id
    assert trial_run(writer.folder, 6).info.status == "FINISHED"
    study = runs_of(writer.folder)[NAME]
    assert study.info.status == "FINISHED"
    assert [file.path for file in client.list_artifacts(study.info.run_id)] == ["report.md"]

    config = TrialConfig.from_sections(config_of("fourier"))
    expected = build_model(config.model, config.attention, seed=101, **config.data_shape())
    expected.load_state_dict(load_checkpoint(newest_first(trained, "best")[0])["model"])
    loaded = load_registered(writer.folder, f"models:/{NAME}/1")
    assert loaded.eval() is loaded
    with pytest.raises(RuntimeError, match="cannot be trained"):
        loaded.train()
    for size in (1, 2, 3, 300):
        images = torch.rand(size, 1, 8, 8)
        with torch.no_grad():
            logits = expected.eval()(2 * images - 1)  # pixels of the digits are from -1 to 1
            torch.testing.assert_close(loaded(images), logits.softmax(-1))


def load_registered(folder: Path, uri: str) -> Any:
    import mlflow

    mlflow.set_tracking_uri(tracking_uri(folder))
    try:
        return mlflow.pytorch.load_model(uri)
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def test_model_without_checkpoint_is_named_and_the_study_still_ends(
    writer: Writer, trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    complete_study(writer, trained)
    shutil.rmtree(writer.folder / "trials")
    sync(writer.folder, owner_alive=lambda: False)
    assert "the model of trial 6 is not registered" in caplog.text
    assert runs_of(writer.folder)[NAME].info.status == "FINISHED"


def test_registration_leaves_the_tracking_address_as_it_was(
    writer: Writer, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = tracking_uri(writer.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    complete_study(writer, trained)
    sync(writer.folder, owner_alive=lambda: False)
    assert os.environ["MLFLOW_TRACKING_URI"] == uri


def test_unreachable_server_gives_up_with_the_way_to_catch_up(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    writer.begin()
    with pytest.raises(TrackingError, match=f"python -m karat sync {writer.folder}") as raised:
        sync(writer.folder, poll_s=0.01, give_up_s=0.1)
    assert "secret" not in str(raised.value) + caplog.text
    assert len(caplog.records) == 1

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    sync(writer.folder)
    assert NAME in runs_of(writer.folder)


def test_an_outage_delays_the_view_and_loses_nothing(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow.exceptions import MlflowException

    writer.begin()
    writer.whole(0, 0.5)
    calls, real = itertools.count(), View._log

    def fails_at_first(self: View, *arguments: Any) -> None:
        if next(calls) < 3:
            raise MlflowException("503 Service Unavailable")
        real(self, *arguments)

    monkeypatch.setattr(View, "_log", fails_at_first)
    sync(writer.folder, follow=True, owner_alive=lambda: next(calls) < 9, poll_s=0.01)
    assert trial_run(writer.folder).data.metrics["val_accuracy"] == 0.5
    assert [record.getMessage().rpartition("mlflow.db")[2] for record in caplog.records] == [
        " fails, retrying: 503 Service Unavailable",
        " works again",
    ]


def test_a_journal_that_cannot_be_read_for_a_while_delays_the_view(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer.begin()
    writer.whole(0, 0.5)
    looks, reads, real = itertools.count(), itertools.count(), Record.read

    def stale_at_first(self: Record) -> None:
        if next(reads) < 2:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(self.path))
        real(self)

    monkeypatch.setattr(Record, "read", stale_at_first)
    sync(writer.folder, follow=True, owner_alive=lambda: next(looks) < 3, poll_s=0.01)
    assert trial_run(writer.folder).data.metrics["val_accuracy"] == 0.5
    assert "Stale file handle" in caplog.text


def test_a_deleted_experiment_is_restored_and_a_deleted_run_made_anew(writer: Writer) -> None:
    writer.begin()
    writer.whole(0, 0.5)
    sync(writer.folder)
    before, client = trial_run(writer.folder), client_of(writer.folder)
    client.delete_experiment(before.info.experiment_id)
    sync(writer.folder)
    assert trial_run(writer.folder).info.run_id == before.info.run_id
    client.delete_run(before.info.run_id)
    sync(writer.folder)
    assert trial_run(writer.folder).data.metrics == before.data.metrics


@pytest.mark.parametrize("swallowed", [{1}, {3}, {4}, {5}, {1, 2, 3, 4, 5, 6, 7}])
def test_success_that_was_none_does_not_pass_for_one(
    swallowed: set[int], writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is not MLflow answers every request with success and stores nothing."""
    from mlflow import MlflowClient

    writer.begin()
    writer.whole(0, 0.5)
    writer.ask(1)
    writer.segment(1)
    writer.report(1, 1, 0.4)
    calls, real = itertools.count(1), MlflowClient.log_batch

    def log_batch(self: Any, *arguments: Any, **more: Any) -> Any:
        return None if next(calls) in swallowed else real(self, *arguments, **more)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    sync(writer.folder, owner_alive=lambda: False, poll_s=0.01)
    assert trial_run(writer.folder).data.metrics["val_accuracy"] == 0.5
    assert trial_run(writer.folder, 1).data.metrics["val_accuracy"] == 0.4
    assert runs_of(writer.folder)[NAME].data.metrics["search_trials_ended"] == 1
    statuses = {run.data.tags["karat.status"] for run in runs_of(writer.folder).values()}
    assert statuses == {"completed", "interrupted"}


def test_two_processes_never_sync_one_study(writer: Writer) -> None:
    lock = os.open(writer.folder / "sync.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(TrackingError, match="another process is syncing"):
        sync(writer.folder)
    os.close(lock)


def test_a_file_system_without_locks_keeps_nothing_from_the_dashboard(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    writer.begin()
    sync(writer.folder, owner_alive=lambda: False, poll_s=0.01)
    assert NAME in runs_of(writer.folder)
    assert "this file system has no locks" in caplog.text


@pytest.mark.slow
def test_follower_outlives_signals_and_ends_with_its_driver(writer: Writer) -> None:
    writer.begin()
    writer.ask(0)
    code = "import sys; from pathlib import Path; from karat.tracking.sync import run_sync\n"
    code += "print('ready', flush=True); sys.exit(run_sync(Path(sys.argv[1]), follow=True))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(writer.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
    while "sync.lock" not in os.listdir(writer.folder):  # the signal handlers are set before
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    writer.segment(0)
    writer.report(0, 1, 0.5)
    writer.end(0)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output) == (0, "ready\n")
    assert trial_run(writer.folder).info.status == "FINISHED"


def test_importing_it_loads_neither_mlflow_nor_torch() -> None:
    code = "import sys, karat.tracking.sync; sys.exit(bool({'mlflow', 'torch'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_environment_names_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking_uri(tmp_path / "a") == f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking_uri(tmp_path / "a") == "http://mlflow:5000"


def test_long_parameters_are_cut() -> None:
    values: Mapping[str, Any] = {"a": {"b": "x" * 7000}, "c": [1, 2]}
    assert params_of(values) == {"a.b": "x" * 6000, "c": "[1, 2]"}


def test_parameters_have_what_a_trial_leaves_to_its_recipe(writer: Writer) -> None:
    writer.begin()
    writer.whole(0, 0.5)
    trial = StudyState.of(read_events(writer.folder / JOURNAL)).trials[0]
    recipes = {"quick": {"weight_decay": 0.05, "learning_rate": 0.003}}
    found = trial_params(trial, recipes)
    assert found["training.weight_decay"] == "0.05"
    assert found["training.learning_rate"] == "0.004"  # of the trial, not of the recipe
    assert "training.weight_decay" not in trial_params(trial, {})  # journals of older versions
