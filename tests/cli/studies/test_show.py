"""`karat show`: a study's facts, and one trial with why it ended."""

import json
from pathlib import Path

import pytest

from karat.cli.main import main
from karat.cli.studies.watching.decisions import rung_of, why_ended
from karat.journal.journal import Event
from karat.journal.layout import trial_folder
from tests import journals
from tests.cli.conftest import Run
from tests.journals import Plan
from tests.report.test_attention import LABEL, SOUND, watched


def test_a_study_is_shown_with_question_answer_and_costs(said: Run) -> None:
    text = said("show", "end")
    assert "state         completed" in text
    assert "27.20 points above softmax" in " ".join(text.split())
    assert "factor        attention.grid_size: 1, 3, 5, 7" in text
    assert "min" in text.partition("used ")[2][:40]
    assert "karat best" in text


def test_a_study_that_runs_shows_what_runs_and_gives_no_verdict(said: Run) -> None:
    text = said("show", "running")
    assert "state         running" in text
    assert "There is no answer yet" in text
    assert "running  arm" in text


def test_a_killed_study_is_not_called_running(said: Run) -> None:
    assert "killed; the command that launched it goes on" in said("show", "confirming")


def test_a_stopped_trial_shows_the_numbers_behind_it(said: Run) -> None:
    state = journals.study(Plan()).state
    trial = next(each for each in state.trials.values() if each.status == "stopped")
    found = rung_of(trial, 1, state)
    assert found is not None
    assert len(found.others) == 2, "the two that ran in full; the fourth trial came later"
    text = " ".join(said("show", "end", str(trial.number)).split())
    assert f"early stopping at epoch 1, val_accuracy {100 * found.value:.2f} %" in text
    assert f"place {found.place} of 3 after that epoch" in text
    assert f"the best {100 * max(found.others):.2f}" in text


def test_a_failed_trial_says_why(said: Run) -> None:
    assert "failed: loss is NaN at epoch 1" in said("show", "end", "7")


def test_segments_say_why_each_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = journals.study(Plan(until="created"))
    chosen = journals.arms_of(Plan())[0]
    journals.ask(script, 0, "search", chosen, {"training.learning_rate": 0.004}, 0)
    lost = {"cause": "lost", "details": {"what": "worker", "killed_by": "kernel"}}
    script.add("segment_ended", trial=0, segment=0, **lost)
    script.add("segment_started", trial=0, segment=1, from_epoch=0)
    journals.train(script, Plan(), 0, 0.7, 3, False)
    journals.write(tmp_path / "lost", script)
    assert main(["show", str(tmp_path / "lost"), "0"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "killed by the kernel: out of memory; tried again" in text
    assert "not ended" in text
    assert main(["show", str(tmp_path / "lost"), "0", "--json"]) == 0
    segments = json.loads(capsys.readouterr().out)["segments"]
    assert [(each["cause"], each["to_epoch"]) for each in segments] == [("lost", 0), (None, 3)]


def test_settings_are_resolved_with_their_recipe() -> None:
    from karat.cli.studies.show_trial import resolved

    script = journals.study(Plan(until="created"))
    script.events[0].data["recipes"] = {"quick": {"epochs": 12, "batch_size": 64}}  # type: ignore[index]
    journals.ask(
        script, 0, "search", journals.arms_of(Plan())[3], {"training.learning_rate": 1.0}, 0
    )
    state = script.state
    found = resolved(state.trials[0], state)
    assert found["training.epochs"] == journals.EPOCHS
    assert found["training.batch_size"] == 64
    assert found["training.learning_rate"] == 1.0
    assert found["attention.grid_size"] == 3


def test_deleted_checkpoints_are_told(studies: Path, said: Run) -> None:
    assert "checkpoint missing: deleted since" in " ".join(said("show", "end", "40").split())
    folder = trial_folder(studies / "end", 41)
    folder.mkdir(parents=True)
    (folder / "tested-00010.pt").touch()
    assert str(folder / "tested-00010.pt") in " ".join(said("show", "end", "41").split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "end", "99"), "there is no trial 99; it has 0 to 60"),
        (("show", "created", "0"), "there is no trial 0; it has none yet"),
        (("show", "ennd"), "did you mean 'end'?"),
        (("show", "end", "--mlflow"), "is about one trial"),
    ],
)
def test_wrong_input_is_one_line(said: Run, words: tuple[str, ...], message: str) -> None:
    text = said(*words, status=2)
    assert message in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("command", ["show", "best", "watch", "report"])
def test_a_study_of_a_later_version_is_one_line(said: Run, command: str) -> None:
    text = said(command, "later", status=1)
    assert "unknown kind 'moved_to_the_moon'. If a later version of karat wrote it" in text
    assert text.count("\n") == 1


def test_trials_of_all_arms_are_compared_where_the_rule_does() -> None:
    script = journals.study(Plan())
    first = script.events[0]
    rule = {**first.data["early_stopping"], "by_arm": False}
    script.events[0] = Event(0, first.time, first.kind, {**first.data, "early_stopping": rule})
    state = script.state
    trial = next(each for each in state.trials.values() if each.status == "stopped")
    found = rung_of(trial, 1, state)
    assert found is not None
    assert len(found.others) > 10
    assert f"place {found.place} of {1 + len(found.others)} " in why_ended(trial, state)


def test_the_health_of_attention_has_a_table_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = watched({LABEL: SOUND})
    folder = journals.write(tmp_path / "watched", script)
    run = next(t for t in script.state.of_phase("confirm") if t.arm == LABEL)
    assert main(["show", str(folder), str(run.number)]) == 0
    text = capsys.readouterr().out
    epochs, _, attention = text.partition("\nattention\n")
    assert "entropy" not in epochs
    assert attention.split()[:3] == ["epoch", "entropy", "effective_rank"]
