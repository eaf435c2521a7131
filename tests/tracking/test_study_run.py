"""The run of a study in MLflow shows the answer; those of trials show what they cost."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from karat.journal.journal import Journal
from karat.journal.layout import FIGURES
from karat.report.answer import answer
from karat.report.facts.summary import summarise
from karat.report.writer import write_report
from karat.tracking.client import open_client
from karat.tracking.sync import sync, tracking_uri
from tests import journals

pytestmark = pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning")  # from MLflow
WORSE = journals.Plan(finals={None: 0.99, 1: 0.90, 3: 0.91, 5: 0.92, 7: 0.93})


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return tmp_path / "study"


def runs_of(folder: Path) -> list[Any]:
    """All runs, that of the study first."""
    client = open_client(tracking_uri(folder))
    [experiment] = [each for each in client.search_experiments() if each.name != "Default"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    return sorted(runs, key=lambda run: int(run.data.tags.get("karat.trial", -1)))


def synced(folder: Path, plan: journals.Plan) -> list[Any]:
    journals.write(folder, journals.study(plan))
    sync(folder, owner_alive=lambda: False)
    return runs_of(folder)


def test_answer_table_and_verdicts_are_on_the_run_of_the_study(folder: Path) -> None:
    study, *_ = synced(folder, WORSE)
    summary = summarise(journals.study(WORSE).state)
    note = study.data.tags["mlflow.note.content"]
    assert study.data.tags["karat.answer"] == answer(summary)
    assert "| arm |" in note
    assert "report.html" in note
    assert len(summary.others) > 1
    for arm in summary.others:
        name = arm.label.replace("=", " ")
        assert arm.comparison is not None
        assert study.data.tags[f"verdict/{name}"] == arm.comparison.verdict
        assert study.data.metrics[f"difference/{name}"] == arm.comparison.difference
        assert study.data.metrics[f"difference_low/{name}"] == arm.comparison.low
        assert study.data.metrics[f"p_holm/{name}"] == arm.comparison.p_holm
        assert study.data.metrics[f"test_accuracy/{name}"] == arm.test.mean


@pytest.mark.slow
def test_the_figures_of_the_report_are_artifacts_of_the_study(folder: Path) -> None:
    script = journals.study(WORSE)
    journals.write(folder, script)
    write_report(folder, script.state)
    sync(folder, owner_alive=lambda: False)
    study, *_ = runs_of(folder)
    found = open_client(tracking_uri(folder)).list_artifacts(study.info.run_id, FIGURES)
    assert {Path(file.path).name for file in found} == {
        p.name for p in (folder / FIGURES).iterdir()
    }
    assert f"{FIGURES}/differences.svg" in [file.path for file in found]


def test_no_verdict_is_shown_before_every_run_has_ended(folder: Path) -> None:
    study, *_ = synced(folder, journals.Plan(until="confirming"))
    assert "There is no answer yet" in study.data.tags["mlflow.note.content"]
    shown = [*study.data.tags, *study.data.metrics]
    assert not [name for name in shown if name.startswith(("verdict", "difference", "p_holm"))]


@pytest.mark.slow
def test_an_answer_is_withdrawn_when_the_study_goes_on(folder: Path) -> None:
    synced(folder, WORSE)
    asked = journals.study(WORSE).state.asked
    with Journal.open(folder) as journal:
        more = {"extend": ["seeds=+5"], "changes": [], "description": {}, "set_aside": []}
        journal.append("study_extended", **more, asked=asked)
        journal.append("launched", slots=1, environment={})
    sync(folder, owner_alive=lambda: True)
    study, *_ = runs_of(folder)
    assert study.info.status == "RUNNING"
    assert not [tag for tag in study.data.tags if tag.startswith(("verdict/", "karat.answer"))]
    assert study.data.tags["mlflow.note.content"] == WORSE.question
    values = [v for name, v in study.data.metrics.items() if name.startswith("difference")]
    assert values
    assert all(map(math.isnan, values))


def test_a_trial_shows_its_costs_and_what_it_is(folder: Path) -> None:
    _, trial, *_ = synced(folder, journals.Plan(until="searched"))
    state = journals.study(journals.Plan(until="searched")).state
    arm = next(each for each in state.created["arms"] if each["label"] == state.trials[0].arm)
    assert trial.data.metrics["parameters"] == arm["parameters"]
    seconds = sum(report.seconds for report in state.trials[0].reports)
    assert trial.data.metrics["train_seconds"] == pytest.approx(seconds)
    assert (
        f"Search of `{state.trials[0].arm}`. training.learning_rate"
        in (trial.data.tags["mlflow.note.content"])
    )


def test_data_set_and_user_are_named(folder: Path) -> None:
    script = journals.study(journals.Plan(until="searched"))
    script.events[0].data["space"]["data"] = {"name": "digits"}
    script.events[0].data["data"]["fingerprint"] = 64 * "f"
    journals.write(folder, script)
    sync(folder, owner_alive=lambda: False)
    study, trial, *_ = runs_of(folder)
    [data] = study.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", 36 * "f")
    for run in (study, trial):
        assert run.data.tags["mlflow.user"] == folder.owner()
        assert run.data.tags["mlflow.source.name"] == "karat"


@pytest.mark.slow
def test_table_too_long_for_a_description_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("karat.tracking.results.answer.TAG_LENGTH", 1500)
    study, *_ = synced(folder, WORSE)
    note = study.data.tags["mlflow.note.content"]
    assert "| arm |" not in note
    assert answer(summarise(journals.study(WORSE).state))[:40] in note.replace("\\", "")
