"""The audit accepts an undamaged study and names every violated invariant."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from karat.cli.main import main
from karat.journal.journal import Event, Journal, read_events
from karat.journal.layout import JOURNAL, MLFLOW_DATABASE
from karat.study.audit import audit
from karat.tracking.sync import sync
from karat.training.checkpoint import save_series
from tests import journals

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning"),  # from MLflow
    pytest.mark.usefixtures("without_question"),
]
Change = Callable[[list[Event]], list[tuple[str, dict[str, Any]]]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete study with checkpoints, in MLflow."""
    folder = tmp_path_factory.mktemp("audit") / "fourier-grid"
    plan = journals.Plan(levels=(1,), sharings=("blockwise",))
    journals.write(folder, journals.study(plan))
    for event in read_events(folder / JOURNAL):
        if event.kind == "trial_ended" and event.data["status"] == "completed":
            own = folder / "trials" / f"{event.data['trial']:04d}"
            save_series(own, "best", journals.EPOCHS, {"model": {"w": torch.ones(2)}})
    return folder


@pytest.fixture
def study(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # No model can be built from the synthetic configurations of these trials.
    monkeypatch.setattr("karat.tracking.models.registry.register_best", lambda *_: None)
    folder = tmp_path / whole.name
    shutil.copytree(whole, folder)
    return folder


def rewrite(folder: Path, change: Change) -> None:
    """Replace the study's journal by one with other events."""
    path = folder / JOURNAL
    events = list(read_events(path))
    content = change(events)
    path.unlink()
    times = iter(range(len(content)))
    with Journal.open(folder, clock=lambda: 1.7e9 + next(times)) as journal:
        for kind, data in content:
            journal.append(kind, **data)


def plain(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
    return [(event.kind, dict(event.data)) for event in events]


def last_of(content: list[tuple[str, dict[str, Any]]], kind: str) -> int:
    return max(place for place, (each, _) in enumerate(content) if each == kind)


def without_last(kind: str) -> Change:
    def change(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
        content = plain(events)
        del content[last_of(content, kind)]
        return content

    return change


def twice(kind: str) -> Change:
    def change(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
        content = plain(events)
        place = last_of(content, kind)
        return [*content[: place + 1], content[place], *content[place + 1 :]]

    return change


def with_last(kind: str, **data: Any) -> Change:
    def change(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
        content = plain(events)
        place = last_of(content, kind)
        content[place] = (kind, {**content[place][1], **data})
        return content

    return change


def with_placed(segment: int) -> Change:
    """A `segment_placed` for another segment than the last one started."""

    def change(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
        content = plain(events)
        place = last_of(content, "segment_started")
        data = {"trial": content[place][1]["trial"], "segment": segment}
        return [*content[: place + 1], ("segment_placed", data), *content[place + 1 :]]

    return change


def test_undamaged_study_passes(study: Path) -> None:
    assert audit(study, tracking=False) == []
    sync(study)
    assert audit(study) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (twice("trial_asked"), "was asked for twice"),
        (twice("segment_started"), "started while another one ran"),
        (twice("reported"), "epoch 10 after epoch 10"),
        (without_last("reported"), "is complete after epoch 9 of 10"),
        (with_last("reported", epoch=12), "epoch 12 after epoch 9"),
        (with_last("reported", segment=4), "a report from segment 4, which is not running"),
        (with_placed(4), "a worker for segment 4, which is not running"),
        (with_last("segment_started", segment=3), "segment 3 where 0 was expected"),
        (with_last("segment_started", from_epoch=5), "starts after epoch 5, which was never"),
        (twice("trial_ended"), "trial_ended after the trial ended"),
        (without_last("trial_ended"), "has not ended"),
        (with_last("trial_asked", seed_index=0, seed=1), None),
    ],
)
def test_broken_order_is_named(study: Path, change: Change, message: str | None) -> None:
    rewrite(study, change)
    found = audit(study, tracking=False)
    if message is None:
        assert found == []
    else:
        assert any(message in line for line in found), found


def again_from(epoch: int, **data: Any) -> Change:
    """The last trial loses its worker before its last epoch and resumes in another segment."""

    def change(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
        content = plain(events)
        place = last_of(content, "reported")
        trial = {"trial": content[place][1]["trial"]}
        lost = {**trial, "segment": 0, "cause": "lost"}
        started = {**trial, "segment": 1, "from_epoch": epoch, **data}
        last = content[place][1]
        before = content[place - 1][1]["metrics"]  # without test values
        reports = [
            {**last, "segment": 1, "epoch": e, "metrics": before}
            for e in range(epoch + 1, last["epoch"])
        ]
        return [
            *content[:place],
            ("segment_ended", lost),
            ("segment_started", started),
            *(("reported", report) for report in reports),
            ("reported", {**last, "segment": 1}),
            *content[place + 1 :],
        ]

    return change


@pytest.mark.parametrize(
    ("epoch", "passed_over", "needed"),
    [
        (9, (), 0),
        (8, (), 1),
        (8, ("damaged",), 0),
        (0, (), 2),
        (0, ("damaged",), 2),
        (0, ("damaged", "missing"), 0),
    ],
)
def test_epochs_repeated_without_a_reason_are_named(
    study: Path, epoch: int, passed_over: tuple[str, ...], needed: int
) -> None:
    rewrite(study, again_from(epoch, **({"passed_over": passed_over} if passed_over else {})))
    found = audit(study, tracking=False)
    if not needed:
        assert found == []
        return
    (line,) = found
    assert f"starts again after epoch {epoch}, but 9 were reported" in line
    assert f"checkpoints skipped: {needed} needed, {len(passed_over)} named" in line


def test_lost_trial_is_named(study: Path) -> None:
    def without_one(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
        last = max(e.data["trial"] for e in events if e.kind == "trial_asked")
        return [(e.kind, dict(e.data)) for e in events if e.data.get("trial") != last]

    rewrite(study, without_one)
    assert any("the study is complete with" in line for line in audit(study, tracking=False))


def test_damaged_and_missing_checkpoints_are_named(study: Path) -> None:
    paths = sorted(study.glob("trials/*/best-*.pt"))
    paths[0].write_bytes(paths[0].read_bytes()[:-1] + b"x")
    paths[1].unlink()
    paths[2].with_suffix(".json").unlink()
    found = audit(study, tracking=False)
    assert len(found) == 3
    assert any("its sha256 differs from the manifest" in line for line in found)
    assert any("there is no checkpoint of its best epoch" in line for line in found)


def test_missing_and_surplus_runs_in_mlflow_are_named(study: Path) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import RunStatus

    from karat.tracking.sync import tracking_uri

    assert any("MLflow has no run of trial 0" in line for line in audit(study))
    assert not (study.parent / MLFLOW_DATABASE).exists()  # an audit changes nothing
    sync(study)
    client = MlflowClient(tracking_uri(study))
    experiment = client.get_experiment_by_name(study.name)
    runs = {
        run.data.tags["karat.trial"]: run
        for run in client.search_runs([experiment.experiment_id], max_results=1000)
        if "karat.trial" in run.data.tags
    }
    client.update_run(runs["0"].info.run_id, status=RunStatus.to_string(RunStatus.RUNNING))
    client.delete_run(runs["1"].info.run_id)
    client.create_run(experiment.experiment_id, tags=runs["2"].data.tags)
    found = audit(study)
    for message in (
        "MLflow shows trial 0 as RUNNING, but no driver is running",
        "MLflow has no run of trial 1",
        "MLflow has 2 runs of trial 2",
    ):
        assert any(message in line for line in found), found


@pytest.mark.slow
def test_value_in_mlflow_that_differs_from_the_journal_is_named(study: Path) -> None:
    from mlflow import MlflowClient

    from karat.tracking.sync import tracking_uri

    sync(study)
    client = MlflowClient(tracking_uri(study))
    experiment = client.get_experiment_by_name(study.name)
    [run] = client.search_runs([experiment.experiment_id], "tags.`karat.trial` = '0'")
    client.log_metric(run.info.run_id, "val_accuracy", 0.125, step=journals.EPOCHS)
    client.log_metric(run.info.run_id, "val_loss", 0.125, step=journals.EPOCHS)
    [line] = audit(study)
    assert "MLflow shows val_accuracy 0.125 for trial 0; the journal has 0." in line
    client.delete_run(run.info.run_id)
    sync(study)
    assert audit(study) == []


def test_command_exits_with_1_and_one_line_for_each_fault(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(study), "--no-tracking"]) == 0
    assert "all invariants hold" in capsys.readouterr().out
    rewrite(study, without_last("trial_ended"))
    assert main(["audit", str(study), "--no-tracking"]) == 1
    assert "has not ended" in capsys.readouterr().out


@pytest.mark.slow
def test_segment_that_ends_earlier_than_the_one_before_is_no_violation_in_mlflow(
    study: Path,
) -> None:
    def lost_in_its_second_epoch(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
        content = plain(events)
        place = next(p for p, (_, data) in enumerate(content) if data.get("status") == "stopped")
        trial, report = content[place][1]["trial"], content[place - 1][1]
        assert report["epoch"] == 1
        further = {**report["metrics"], "val_accuracy": 0.125}
        more = [
            ("reported", {**report, "epoch": 2, "metrics": further}),
            ("segment_ended", {"trial": trial, "segment": 0, "cause": "lost"}),
            ("segment_started", {"trial": trial, "segment": 1, "from_epoch": 1}),
        ]
        return [*content[:place], *more, *content[place:]]

    rewrite(study, lost_in_its_second_epoch)
    sync(study)
    assert not [line for line in audit(study) if "MLflow" in line]
