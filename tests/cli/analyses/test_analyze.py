"""`karat analyze`: what it prints, writes and leaves out; the work runs in this process instead of in Ray's."""

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from karat.analyses.running.alone import alone_writing
from karat.analyses.running.images import Looked
from karat.cli.exit_status import FAILED, INTERRUPTED, OK, WRONG_INPUT
from karat.cli.main import main
from karat.execution.tasks.local import Ended
from karat.journal.layout import ANALYSES, CHAPTER, REPORT_HTML, REPORT_MARKDOWN, trial_folder
from karat.system.process.signals import Interruption
from tests.cli.models.test_predict_and_export import written
from tests.studies import state_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("analyze") / "example")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "example")
    return tmp_path / "example"


@pytest.fixture(autouse=True)
def worked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments of every call that Ray would make, in order."""
    calls: list[Any] = []

    def here(
        function: Callable[[Any], Any],
        arguments: Sequence[Any],
        cpus: int,
        on_end: Callable[[Ended[Any, Any]], None],
        *_: object,
    ) -> None:
        for argument in arguments:
            calls.append(argument)
            on_end(Ended(argument=argument, value=function(argument), error=""))

    monkeypatch.setattr("karat.execution.tasks.local.run_tasks", here)
    monkeypatch.setattr(Interruption, "install", lambda self: None)
    return calls


def _analyze(folder: Path, *more: str) -> int:
    return main(["analyze", str(folder), *more])


def test_numbers_pictures_and_the_report_are_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _analyze(folder, "--only", "spectra") == OK
    out = capsys.readouterr().out
    assert "2 results of 1 analysis" in out
    assert f"report: {folder / REPORT_HTML}" in out
    below = folder / ANALYSES / "spectra"
    assert {path.suffix for path in below.iterdir()} == {".npz", ".csv", ".svg", ".png"}
    chapter = json.loads((folder / ANALYSES / CHAPTER).read_text("utf-8"))
    (part,) = chapter["parts"]
    assert [row["arm"] for row in part["numbers"]] == [arm["label"] for arm in chapter["arms"]]
    page = (folder / REPORT_HTML).read_text("utf-8")
    assert "Why: spectra of scores and weights" in page
    assert 'src="data:image/' in page
    assert "(analyses/spectra/spectra." in (folder / REPORT_MARKDOWN).read_text("utf-8")


def test_what_is_there_already_is_not_made_again(folder: Path, worked: list[Any]) -> None:
    assert _analyze(folder, "--only", "spectra") == OK
    assert len(worked) == 2
    assert _analyze(folder, "--only", "spectra") == OK
    assert len(worked) == 2
    assert _analyze(folder, "--only", "spectra", "--images", "9") == OK
    assert len(worked) == 4


def test_a_damaged_result_is_made_again(folder: Path, worked: list[Any]) -> None:
    assert _analyze(folder, "--only", "spectra") == OK
    worked[0].path.write_bytes(b"no result")
    assert _analyze(folder, "--only", "spectra") == OK
    assert [each.trial for each in worked[2:]] == [worked[0].trial]


def test_results_of_other_analyses_stay_in_the_chapter(folder: Path) -> None:
    assert _analyze(folder, "--only", "spectra") == OK
    assert _analyze(folder, "--only", "similarity") == OK
    chapter = json.loads((folder / ANALYSES / CHAPTER).read_text("utf-8"))
    assert {part["analysis"] for part in chapter["parts"]} == {"spectra", "similarity"}


def test_what_is_not_possible_is_left_out_and_the_rest_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = state_of(folder)
    reference = state.reference_arms[0]
    first = next(t for t in state.of_phase("confirm") if t.arm == reference)
    (path,) = trial_folder(folder, first.number).glob("*.pt")
    path.write_bytes(b"no weights")
    assert _analyze(folder, "--only", "spectra") == FAILED
    out = capsys.readouterr().out
    assert f"left out: spectra of trial {first.number} ({reference}): " in out
    assert "damaged" in out
    page = (folder / REPORT_HTML).read_text("utf-8")
    assert "Why: spectra" in page
    assert "Left out: spectra of trial" in page


def test_an_interrupted_run_says_how_to_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def signalled(self: Interruption) -> None:
        self.signal = "SIGTERM"

    monkeypatch.setattr(Interruption, "install", signalled)
    assert _analyze(folder, "--only", "spectra") == INTERRUPTED
    assert "interrupted; go on with: " in capsys.readouterr().out
    assert not (folder / ANALYSES / CHAPTER).exists()


def test_an_image_that_cannot_be_read_is_left_out_for_all_models(
    folder: Path,
    worked: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = Looked(unreadable={3: "cat/0005.jpg: not a readable image"})
    monkeypatch.setattr("karat.analyses.running.images.look_at_images", lambda *_: bad)
    assert _analyze(folder, "--only", "spectra") == FAILED
    assert "left out: 1 image: cat/0005.jpg: not a readable image\n" in capsys.readouterr().out
    assert [each.without for each in worked] == [(3,), (3,)]
    assert all(each.is_done for each in worked)
    assert _analyze(folder, "--only", "spectra") == FAILED  # the same, from what was kept
    assert len(worked) == 2
    monkeypatch.undo()


def test_no_model_is_looked_at_with_data_that_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = Looked(problem="the data has changed")
    monkeypatch.setattr("karat.analyses.running.images.look_at_images", lambda *_: changed)
    assert _analyze(folder, "--only", "spectra,loss_landscape") == FAILED
    out = capsys.readouterr().out
    (line,) = [each for each in out.splitlines() if each.startswith("left out: ")]
    assert line.startswith("left out: loss_landscape and spectra of trial ")
    assert line.endswith(": the data has changed")
    assert "0 results of 2 analyses" in out


def test_a_signal_while_the_report_is_written_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first one ends the command there, also where it was caught as one that stops the work."""
    given: list[Interruption] = []
    monkeypatch.setattr(Interruption, "install", lambda self: given.append(self))

    def signalled(*_: object) -> None:
        given[0]._on_signal(signal.SIGTERM, None)

    monkeypatch.setattr("karat.report.writer.write_report", signalled)
    assert _analyze(folder, "--only", "spectra") == INTERRUPTED
    captured = capsys.readouterr()
    assert captured.err == "interrupted\n"
    assert "Traceback" not in captured.out


def test_a_result_that_another_command_has_replaced_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("karat.analyses.running.tasks.work", lambda task: "")
    assert _analyze(folder, "--only", "spectra") == FAILED
    out = capsys.readouterr().out
    assert out.count("another command has replaced its result") == 1
    assert "left out: spectra of trial 36 (softmax) and trial 38" in out
    assert "No analysis was possible." in (folder / REPORT_HTML).read_text("utf-8")


def test_analyses_that_leave_the_chapter_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _analyze(folder, "--only", "spectra,similarity") == OK
    assert "no longer in the report" not in capsys.readouterr().out
    assert _analyze(folder, "--only", "spectra", "--images", "9") == OK
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("no longer in the report"))
    assert line.endswith(": similarity")


def test_two_commands_write_after_each_other(folder: Path) -> None:
    waited: list[str] = []
    order: list[str] = []

    def second() -> None:
        with alone_writing(folder, lambda: waited.append("second")):
            order.append("second")

    thread = threading.Thread(target=second)
    with alone_writing(folder, lambda: waited.append("first")):
        thread.start()
        while not waited:
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert (waited, order) == (["second"], ["first", "second"])


def test_programs_get_the_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _analyze(folder, "--only", "spectra", "--json") == OK
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "analyze"
    assert {row["arm"] for row in told["analyses"]["spectra"]} == {
        arm["label"] for arm in told["arms"]
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "spektra"], "--only spektra: unknown. did you mean 'spectra'?"),
        (["--trials", "bset"], "--trials bset: unknown."),
        (["--images", "0"], "--images"),
        (["--closed-form", "softmax"], "--closed-form ARM and --out FILE.yaml belong together"),
    ],
)
def test_wrong_input_is_one_line(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _analyze(folder, *arguments) == WRONG_INPUT
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err


def test_a_chapter_about_other_runs_is_not_shown(folder: Path) -> None:
    assert _analyze(folder, "--only", "spectra") == OK
    path = folder / ANALYSES / CHAPTER
    chapter = json.loads(path.read_text("utf-8"))
    chapter["arms"][0]["trials"][0]["fingerprint"] = "other"
    path.write_text(json.dumps(chapter), "utf-8")
    assert main(["report", str(folder)]) == OK
    page = (folder / REPORT_HTML).read_text("utf-8")
    assert "It is about other runs than this study has" in page
    assert "Why: spectra" not in page


@pytest.mark.parametrize("text", ["{", "[]", '{"parts": [{}], "arms": []}', "[" * 100_000])
def test_a_report_with_a_damaged_chapter_says_so(folder: Path, text: str) -> None:
    (folder / ANALYSES).mkdir()
    (folder / ANALYSES / CHAPTER).write_text(text, "utf-8")
    assert main(["report", str(folder)]) == OK
    assert "cannot be read" in (folder / REPORT_HTML).read_text("utf-8")


def test_a_picture_outside_of_the_folder_is_not_shown(folder: Path, tmp_path: Path) -> None:
    assert _analyze(folder, "--only", "spectra") == OK
    (tmp_path / "secret.svg").write_text("<svg/>")
    path = folder / ANALYSES / CHAPTER
    chapter = json.loads(path.read_text("utf-8"))
    chapter["parts"][0]["figures"][0]["file"] = "../../secret.svg"
    path.write_text(json.dumps(chapter), "utf-8")
    assert main(["report", str(folder)]) == OK
    assert "is no picture of the analyses" in (folder / REPORT_HTML).read_text("utf-8")


def test_the_simple_function_found_becomes_an_arm_of_a_new_space(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """How the space is made: tests/analyses/attention/learned/test_closed_form.py; this journal holds none."""
    made: list[Any] = []

    def make(*given: Any) -> str:
        made.append(given)
        return "study: closed\n"

    monkeypatch.setattr("karat.study.description.known_space", lambda *_: "the space")
    monkeypatch.setattr("karat.analyses.attention.learned.closed_form.closed_form_space", make)
    arm = state_of(folder).of_phase("confirm")[-1].arm
    out = tmp_path / "closed.yaml"
    assert _analyze(folder, "--closed-form", arm, "--out", str(out)) == OK
    assert out.read_text() == "study: closed\n"
    ((space, label, found),) = made
    assert (space, label) == ("the space", arm)
    assert found.best is not None
    assert "run it with karat launch --space" in capsys.readouterr().out
    assert _analyze(folder, "--closed-form", arm, "--out", str(out)) == WRONG_INPUT
    assert "the file exists" in capsys.readouterr().err
