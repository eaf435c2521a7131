"""Runs deleted in MLflow are created again or left alone, as configured, and never stop the view."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from karat.cli.main import main
from karat.errors import InputError
from karat.space.reader import load_space
from karat.study.audit import audit
from karat.tracking.sync import sync
from tests.tracking.test_sync import (
    NAME,
    Writer,
    client_of,
    runs_of,
    trial_run,
    writer,
)

__all__ = ["writer"]  # a fixture
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning"),  # from MLflow
    pytest.mark.usefixtures("without_question"),
]
WriteSpace = Callable[..., Path]
LEAVE = {"tracking": {"deleted_runs": "leave"}}
WHAT = ["trial", "study", "experiment"]


def begin(write: Writer, space: dict[str, Any]) -> None:
    """One trial that has ended, and one that is running."""
    write.begin(space=space)
    write.whole(0, 0.5, ends="stopped")
    write.ask(1)
    write.segment(1)
    write.report(1, 1, 0.4)


def end(write: Writer) -> None:
    """The running trial and the study end."""
    write.report(1, 2, 0.6)
    write.end(1, "stopped")
    write.whole(2, 0.5, ends="stopped")
    write("study_ended", status="failed", cause="nothing_completed")


def delete(what: str, folder: Path) -> list[str]:
    """Delete a trial, study or experiment as MLflow's web interface does; returns ids of deleted runs."""
    client, runs = client_of(folder), runs_of(folder)
    if what == "experiment":
        client.delete_experiment(runs[NAME].info.experiment_id)
        return [run.info.run_id for run in runs.values()]
    gone = runs[NAME] if what == "study" else trial_run(folder, 1)
    client.delete_run(gone.info.run_id)
    return [gone.info.run_id]


def follow(write: Writer, *steps: Callable[[], Any], **more: Any) -> None:
    """Follow the journal; between two reads, call the next step."""
    rest = list(steps)

    def next_step() -> bool:
        if rest:
            rest.pop(0)()
        return bool(rest)

    sync(write.folder, follow=True, owner_alive=next_step, poll_s=0, **more)


def content_of(folder: Path, runs: list[str]) -> list[Any]:
    """The whole content of runs, deleted or not."""
    found = [client_of(folder).get_run(run) for run in runs]
    return [(run.info.lifecycle_stage, run.info.status, run.data.to_dictionary()) for run in found]


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("when", ["before", "while following"])
def test_deleted_run_is_created_again_with_all_its_data(
    what: str, when: str, writer: Writer
) -> None:
    begin(writer, {})
    sync(writer.folder, owner_alive=lambda: True)
    if when == "before":
        delete(what, writer.folder)
        end(writer)
        sync(writer.folder, owner_alive=lambda: False)
    else:
        follow(writer, lambda: None, lambda: delete(what, writer.folder), lambda: end(writer))
    writer.close()
    assert audit(writer.folder) == []
    run, study = trial_run(writer.folder, 1), runs_of(writer.folder)[NAME]
    history = client_of(writer.folder).get_metric_history(run.info.run_id, "val_accuracy")
    assert [(point.step, point.value) for point in history] == [(1, 0.4), (2, 0.6)]
    for number in range(3):
        tags = trial_run(writer.folder, number).data.tags
        assert tags["mlflow.parentRunId"] == study.info.run_id


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("when", ["before", "while following"])
def test_deleted_run_is_left_alone_where_the_space_says_so(
    what: str, when: str, writer: Writer
) -> None:
    begin(writer, LEAVE)
    sync(writer.folder, owner_alive=lambda: True)
    gone: list[str] = []

    def delete_it() -> None:
        gone.extend(delete(what, writer.folder))

    if when == "before":
        delete_it()
        before = content_of(writer.folder, gone)
        end(writer)
        sync(writer.folder, owner_alive=lambda: False)
    else:
        follow(writer, lambda: None, delete_it, lambda: end(writer))
        before = content_of(writer.folder, gone)
        sync(writer.folder, owner_alive=lambda: False)
    writer.close()
    after = content_of(writer.folder, gone)
    assert after == before
    assert {stage for stage, *_ in after} == {"deleted"}
    shown = set(runs_of(writer.folder))
    missing = {"trial": {1}, "study": set(), "experiment": {0, 1, 2}}[what]
    assert {name[:4] for name in shown - {NAME}} == {f"{n:04d}" for n in {0, 1, 2} - missing}
    assert (NAME in shown) == (what == "trial")
    assert audit(writer.folder) == []


def test_command_line_overrides_the_space(writer: Writer) -> None:
    begin(writer, {})
    sync(writer.folder, owner_alive=lambda: True)
    delete("trial", writer.folder)
    end(writer)
    writer.close()
    study = str(writer.folder)
    assert main(["sync", study, "--deleted-runs", "leave"]) == 0
    assert any("MLflow has no run of trial 1" in line for line in audit(writer.folder))
    assert main(["audit", study, "--deleted-runs", "leave"]) == 0
    assert main(["sync", study]) == 0
    assert main(["audit", study]) == 0


def test_run_deleted_and_restored_beside_its_replacement_is_one_again(writer: Writer) -> None:
    begin(writer, {})
    sync(writer.folder, owner_alive=lambda: True)
    [gone] = delete("trial", writer.folder)
    end(writer)
    sync(writer.folder, owner_alive=lambda: False)
    client_of(writer.folder).restore_run(gone)
    sync(writer.folder, owner_alive=lambda: False)
    writer.close()
    assert audit(writer.folder) == []


def test_request_executed_after_its_timeout_leaves_one_run(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    calls, real, late = itertools.count(), MlflowClient.create_run, []

    def times_out_at_first(self: Any, *arguments: Any, **more: Any) -> Any:
        if next(calls) < 3:
            late.append(lambda: real(self, *arguments, **more))
            raise MlflowException("timed out")
        return real(self, *arguments, **more)

    monkeypatch.setattr(MlflowClient, "create_run", times_out_at_first)
    begin(writer, {})
    idle = [lambda: None] * 6
    follow(writer, *idle, lambda: [call() for call in late], lambda: end(writer))
    writer.close()
    assert len(late) == 3
    assert audit(writer.folder) == []


def test_policy_for_deleted_runs_is_not_part_of_the_question(write_space: WriteSpace) -> None:
    plain = load_space(write_space())
    added = ("confirm:", "tracking: {deleted_runs: leave}\nconfirm:")
    asked = load_space(write_space(added))
    assert (plain.tracking.deleted_runs, asked.tracking.deleted_runs) == ("recreate", "leave")
    assert plain.hash == asked.hash
    assert asked.source["tracking"] == {"deleted_runs": "leave"}


def test_unknown_policy_for_deleted_runs_is_refused(write_space: WriteSpace) -> None:
    path = write_space(("confirm:", "tracking: {deleted_runs: leve}\nconfirm:"))
    with pytest.raises(InputError, match=r"tracking.deleted_runs = 'leve': .*leave"):
        load_space(path)
