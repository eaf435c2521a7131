"""After a journal was cut, MLflow shows its present trials, not earlier ones with the same numbers."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.study.audit import audit
from karat.tracking.models import registry
from karat.tracking.runs import FINGERPRINT_TAG, KERNELS_PARAM
from karat.tracking.sync import sync
from tests.tracking.test_sync import (
    UID,
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
LEAVE = {"tracking": {"deleted_runs": "leave"}}


def cut(write: Writer, kind: str) -> Writer:
    """Cut the journal before its first event of this kind, as a repair may, and open it again."""
    write.close()
    path = write.folder / JOURNAL
    kept = next(event.seq for event in read_events(path) if event.kind == kind)
    os.truncate(path, sum(map(len, path.read_bytes().splitlines(keepends=True)[:kept])))
    return Writer(write.folder, start=1_760_000_000.0)


def catch_up(write: Writer) -> None:
    sync(write.folder, owner_alive=lambda: False, give_up_s=0)


@pytest.mark.parametrize("space", [{}, LEAVE], ids=["recreate", "leave"])
@pytest.mark.parametrize("ended", [False, True], ids=["unfinished", "ended"])
def test_another_trial_with_the_same_number_has_a_separate_run(
    ended: bool, space: dict[str, Any], writer: Writer
) -> None:
    writer.begin(space=space)
    writer.ask(0)
    writer.segment(0)
    writer.report(0, 1, 0.5)
    if ended:
        writer.end(0, "stopped")
    catch_up(writer)
    before = trial_run(writer.folder)
    again = cut(writer, "trial_asked")
    again.whole(0, 0.7, "softmax", ends="stopped")
    again.interrupt()
    again.close()
    named = "MLflow shows another configuration or kernel for trial 0"
    assert named in audit(writer.folder)
    catch_up(writer)
    run = trial_run(writer.folder)
    assert run.info.run_id != before.info.run_id
    assert run.data.params["attention.basis"] == "softmax"
    assert run.data.metrics["val_accuracy"] == 0.7
    assert audit(writer.folder) == []
    catch_up(writer)
    assert trial_run(writer.folder).info.run_id == run.info.run_id


def test_same_trial_computed_by_another_kernel_has_a_separate_run(writer: Writer) -> None:
    writer.begin()
    writer.ask(0)
    writer.segment(0)
    writer.report(0, 1, 0.5, kernels=["recompute"])
    catch_up(writer)
    again = cut(writer, "segment_started")
    again.segment(0)
    again.report(0, 1, 0.5, kernels=["triton"])
    again.end(0, "stopped")
    again.close()
    catch_up(writer)
    assert trial_run(writer.folder).data.params[KERNELS_PARAM] == "triton"


def test_same_trial_again_keeps_its_run(writer: Writer) -> None:
    writer.begin()
    writer.whole(0, 0.5, ends="stopped")
    catch_up(writer)
    before = trial_run(writer.folder).info.run_id
    again = cut(writer, "reported")
    again.report(0, 1, 0.5)
    again.end(0, "stopped")
    again.close()
    catch_up(writer)
    assert trial_run(writer.folder).info.run_id == before


def test_run_of_an_older_version_without_fingerprint_is_accepted(writer: Writer) -> None:
    writer.begin()
    writer.whole(0, 0.5, ends="stopped")
    writer.interrupt()
    writer.close()
    catch_up(writer)
    before = {run.info.run_id for run in runs_of(writer.folder).values()}
    client_of(writer.folder).delete_tag(trial_run(writer.folder).info.run_id, FINGERPRINT_TAG)
    assert audit(writer.folder) == []
    catch_up(writer)
    assert {run.info.run_id for run in runs_of(writer.folder).values()} == before


@pytest.mark.parametrize(
    ("fingerprint", "made"), [("ours", []), (None, []), ("of another", ["a new version"])]
)
def test_model_of_another_trial_with_that_number_is_not_the_best_model(
    fingerprint: str | None, made: list[str], writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.begin()
    writer.whole(0, 0.5, phase="confirm")
    state = StudyState.of(read_events(writer.folder / JOURNAL))
    tags = {"karat.study_uid": UID, "karat.trial": "0"}
    if fingerprint:
        ours = state.trials[0].fingerprint
        tags[FINGERPRINT_TAG] = ours if fingerprint == "ours" else fingerprint
    client = SimpleNamespace(search_model_versions=lambda _: [SimpleNamespace(tags=tags)])
    done: list[str] = []
    monkeypatch.setattr(registry, "kept_model", lambda *_: None)
    monkeypatch.setattr(registry, "_logged_model", lambda *_: "model")
    monkeypatch.setattr(registry, "_create_version", lambda *_: done.append("a new version"))
    registry.register_best(client, "sqlite:///mlflow.db", state, writer.folder, {0: "r"})
    assert done == made
