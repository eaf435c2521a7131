"""`karat analyze`: looks inside the models of a study, and puts what it finds into the report."""

import argparse
import json
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karat.cli.analyses.left_out import LeftOut
from karat.cli.command import Command, as_typed
from karat.cli.exit_status import FAILED, INTERRUPTED, OK
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import activity_of, add_study, state_of, study_of
from karat.cli.text.layout import paragraph, say
from karat.cli.text.next_steps import after, next_lines
from karat.errors import AnalysisError, InputError, nearest
from karat.system.process.signals import Interruption
from karat.terminal import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from karat.analyses.running.chapter import Found
    from karat.analyses.running.chosen import Choice
    from karat.analyses.running.images import Looked
    from karat.analyses.running.tasks import Task
    from karat.execution.tasks.local import Ended
    from karat.journal.state import StudyState

_MOST_FILES = 5  # that are named where images cannot be read
PRELOAD = ("karat.analyses.running.tasks", "timm")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    parser.add_argument(
        "--trials",
        metavar="WHICH",
        help="arms to look at, with commas between them: best, reference, all, labels of arms, numbers of trials "
        "(best,reference)",
    )
    parser.add_argument("--only", metavar="NAMES", help="only these analyses, with commas between")
    parser.add_argument(
        "--images", type=int, metavar="N", help="at most so many validation images (256)"
    )
    parser.add_argument(
        "--closed-form",
        metavar="ARM",
        help="write a space in which the simple function found for this arm's units is an arm of its own",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE.yaml", help="with --closed-form: the space to write"
    )
    add_json(parser)


def _analyze(options: argparse.Namespace) -> int:
    folder = study_of(options)
    console = make_console(stderr=options.json)
    _check_closed_form(options)
    from karat.analyses.running.chosen import DEFAULT

    state = state_of(folder)
    names = (
        [options.closed_form]
        if options.closed_form
        else _words(options.trials or ",".join(DEFAULT), state)
    )
    only = ["functions"] if options.closed_form else _words(options.only, state)
    return _Run(folder, state, names, only, options, console).go()


def _check_closed_form(options: argparse.Namespace) -> None:
    arm, out = options.closed_form, options.out
    if (arm is None) != (out is None):
        raise InputError("--closed-form ARM and --out FILE.yaml belong together")
    if out is None:
        return
    if options.only is not None or options.trials is not None:
        raise InputError("--closed-form takes an arm by itself, without --trials and --only")
    if out.suffix not in (".yaml", ".yml") or not out.parent.is_dir():
        raise InputError(f"--out {out}: name a file that ends in .yaml, in a folder that exists")
    if out.exists():
        raise InputError(f"--out {out}: the file exists; name another one")


def _interrupt() -> None:
    raise KeyboardInterrupt


class _Run:
    """One run of the command."""

    def __init__(
        self,
        folder: Path,
        state: "StudyState",
        names: Sequence[str],
        only: Sequence[str],
        options: argparse.Namespace,
        console: "Console",
    ) -> None:
        from karat.analyses.kinds import ANALYSES
        from karat.analyses.running.chosen import chosen_arms
        from karat.analyses.running.tasks import IMAGES
        from karat.settings import at_least

        self.folder, self.state, self.options, self.console = folder, state, options, console
        self.only = list(only) or list(ANALYSES)
        for name in self.only:
            if name not in ANALYSES:
                raise InputError(f"--only {name}: unknown. {nearest(name, ANALYSES)}")
        self.images = IMAGES if options.images is None else options.images
        at_least("--images", self.images, 1)
        self.choice: Choice = chosen_arms(folder, state, names)
        self.left_out = LeftOut(self.choice.left_out)
        self.interruption = Interruption()
        self._failed: set[Task] = set()
        self._said: set[str] = set()
        self._without: dict[int, tuple[int, ...]] = {}  # trial to places of unreadable images

    def go(self) -> int:
        tasks = self._all_tasks()
        if not all(map(_is_good, tasks)):
            self._look_at_images([task for task in tasks if not _is_good(task)])
            tasks = [task for task in self._all_tasks() if task not in self._failed]
        missing = [task for task in tasks if not _is_good(task)]
        self._say_plan(tasks, missing)
        if missing:
            self._work(missing)
        if self.interruption.signal:
            say([f"interrupted; go on with: {as_typed(sys.argv)}"])
            return INTERRUPTED
        for task in tasks:
            if task not in self._failed and not _is_good(task):
                self._leave_out(task, "another command has replaced its result")
        self._say_left_out()
        # What follows takes half a minute at most, and can be ended at any moment.
        self.interruption.stop = _interrupt
        if self.options.closed_form:
            return self._write_closed_form()
        self._write()
        return FAILED if self.left_out else OK

    def _all_tasks(self) -> list["Task"]:
        return [task for name in self.only for task in self._tasks(name)]

    def _tasks(self, analysis: str) -> list["Task"]:
        from karat.analyses.kinds import ANALYSES
        from karat.analyses.running.tasks import task_of

        found = []
        for arm in self.choice.arms:
            for trial in arm.trials[: ANALYSES[analysis].seeds]:
                without = self._without.get(trial.number, ())
                try:
                    found.append(task_of(self.folder, trial.number, analysis, self.images, without))
                except AnalysisError as error:
                    self.left_out.add(analysis, self._trial_text(trial.number), str(error))
        return found

    def _look_at_images(self, missing: Sequence["Task"]) -> None:
        """Leave out images that cannot be read, for all models alike, and tasks whose data has changed."""
        from karat.analyses.running.images import look_at_images

        seen: dict[str, Looked] = {}
        for arm in self.choice.arms:
            for trial in arm.trials:
                own = [task for task in missing if task.trial == trial.number]
                data = json.dumps(trial.config["data"], sort_keys=True)
                if data not in seen and own:
                    seen[data] = look_at_images(self.state, trial, self.images)
                    self._leave_out_images(seen[data])
                found = seen.get(data)
                if found and found.problem:
                    for task in own:
                        self._leave_out(task, found.problem)
                elif found and found.unreadable:
                    self._without[trial.number] = tuple(found.unreadable)

    def _leave_out_images(self, found: "Looked") -> None:
        many = len(found.unreadable)
        if many:
            shown = list(found.unreadable.values())[:_MOST_FILES]
            more = f"; and {many - _MOST_FILES} more" if many > _MOST_FILES else ""
            self.left_out.say(f"{many} image{'s' * (many != 1)}: {'; '.join(shown)}{more}")

    def _say_plan(self, tasks: Sequence["Task"], missing: Sequence["Task"]) -> None:
        for arm in self.choice.arms:
            used = {task.trial for task in tasks}
            trials = [trial for trial in arm.trials if trial.number in used]
            if not trials:
                continue
            kind = "" if arm.is_confirmed else ", of the search: no confirmation run is complete"
            many = ", ".join(f"trial {trial.number}" for trial in trials)
            self.console.print(f"{arm.label}: {many}{kind}", soft_wrap=True, markup=False)
        self._say_left_out()
        there = len(tasks) - len(missing)
        kept = f", {there} of them kept from before" if there else ""
        count = f"{len(tasks)} result{'s' * (len(tasks) != 1)}"
        kinds = f"{len(self.only)} analys{'i' if len(self.only) == 1 else 'e'}s"
        self.console.print(f"{count} of {kinds}{kept}", markup=False)

    def _work(self, missing: Sequence["Task"]) -> None:
        from karat.analyses.running.tasks import work
        from karat.execution.tasks.local import run_tasks

        self.interruption.install()
        cpus = min(len(missing), len(os.sched_getaffinity(0)))
        self.console.print(f"starting {cpus} worker{'s' * (cpus != 1)}", markup=False)
        self._count, self._all = 0, len(missing)
        run_tasks(
            work, missing, cpus, self._on_end, lambda: self.interruption.signal is not None, PRELOAD
        )

    def _on_end(self, ended: "Ended[Task, str]") -> None:
        self._count += 1
        task, reason = ended.argument, ended.error or ended.value
        what = f"{task.analysis} of {self._trial_text(task.trial)}{': not possible' * bool(reason)}"
        self.console.print(f"{self._count} of {self._all}: {what}", markup=False, soft_wrap=True)
        if reason:
            self._leave_out(task, reason)

    def _trial_text(self, number: int) -> str:
        labels = (arm.label for arm in self.choice.arms for t in arm.trials if t.number == number)
        return f"trial {number} ({next(labels)})"

    def _leave_out(self, task: "Task", reason: str) -> None:
        self._failed.add(task)
        self.left_out.add(task.analysis, self._trial_text(task.trial), reason)

    def _say_left_out(self) -> None:
        """Each reason once; what was said before is not said again."""
        for line in self.left_out.lines():
            if line not in self._said:
                self._said.add(line)
                self.console.print(f"left out: {line}", soft_wrap=True, markup=False)

    def _found(self) -> list["Found"]:
        """Of every analysis that has results for these arms, also from before."""
        from karat.analyses.kinds import ANALYSES
        from karat.analyses.running.chapter import found_of

        found = []
        for name in sorted(ANALYSES, key=lambda each: (ANALYSES[each].order, each)):
            tasks = [task for task in self._tasks(name) if _is_good(task)]
            if (one := found_of(name, self.choice.arms, tasks)) is not None:
                found.append(one)
        return found

    def _write(self) -> None:
        from karat.analyses.running.alone import alone_writing
        from karat.analyses.running.chapter import write_chapter
        from karat.report.writer import write_report
        from karat.study.folder import refuse_symlinks

        refuse_symlinks(self.folder)
        with alone_writing(self.folder, self._say_wait):
            results = self._found()
            self._say_what_goes({each.analysis for each in results})
            self.console.print("writing the report", markup=False)
            chapter = write_chapter(
                self.folder, self.choice.arms, results, self.left_out.lines(), self.images
            )
            write_report(self.folder, self.state)
        self._sync()
        if self.options.json:
            print_json("analyze", {"study": self.state.created["name"], **_brief(chapter)})
            return
        labels = tuple(arm.label for arm in self.choice.arms)
        for part in chapter["parts"]:
            # What is said of the arms; how it was measured stands in the report.
            found = [text for text in part["paragraphs"] if text.startswith(labels)]
            say(["", part["title"] if found else f"{part['title']}: in the report"])
            for text in found:
                say(paragraph(text, indent="    ", first="  "))
        from karat.journal.layout import REPORT_HTML

        say(["", f"report: {self.folder / REPORT_HTML}"])
        say(next_lines(self.folder, *after("analyze", activity_of(self.folder, self.state.status))))

    def _say_wait(self) -> None:
        line = "another command is writing this study's analyses: waiting for it"
        self.console.print(line, markup=False, soft_wrap=True)

    def _say_what_goes(self, present: Collection[str]) -> None:
        """Name the analyses that the chapter had and will lack: made with other images, or of other trials."""
        from karat.report.parts.why import read_chapter

        try:
            parts = (read_chapter(self.folder) or {"parts": []})["parts"]
            gone = [name for part in parts if (name := part["analysis"]) not in present]
        except (ValueError, KeyError, TypeError):
            return  # the damaged chapter is replaced
        if gone:
            line = f"no longer in the report, not made of these trials with these images: {', '.join(gone)}"
            self.console.print(line, markup=False, soft_wrap=True)

    def _sync(self) -> None:
        """Show it in MLflow too, where the study is there; the driver of a running study does it at its end."""
        from karat.journal.lock import is_locked
        from karat.tracking.client import has_no_database, tracking_uri
        from karat.tracking.sync import TrackingError, sync

        if is_locked(self.folder) or has_no_database(self.folder, tracking_uri(self.folder)):
            return
        self.console.print("bringing MLflow up to date", markup=False)
        try:
            sync(self.folder)
        except TrackingError as error:
            again = f"karat sync {self.folder} does it later"
            self.left_out.say(f"MLflow: {error}; {again}")
            self._say_left_out()

    def _write_closed_form(self) -> int:
        """Write the space with the simple function found as an arm; `functions` has been made for the one arm."""
        from karat.analyses.attention.learned.closed_form import closed_form_space
        from karat.study.description import known_space
        from karat.system.files import replace_file

        (arm,) = self.choice.arms
        tasks = self._tasks("functions")
        if not tasks or not _is_good(tasks[0]):
            return FAILED  # the reason has been said
        space = known_space(self.state.created, self.folder)
        found: Any = tasks[0].result()
        text = closed_form_space(space, arm.trials[0].arm, found)
        replace_file(self.options.out, text.encode())
        written = f"space: {self.options.out}; run it with karat launch --space {self.options.out}"
        self.console.print(written, soft_wrap=True, markup=False)
        if self.options.json:
            print_json("analyze", {"study": self.state.created["name"], "space": text})
        return OK


def _brief(chapter: dict[str, Any]) -> dict[str, Any]:
    """What programs use: arms, what was left out, and the numbers, by analysis."""
    numbers = {part["analysis"]: part["numbers"] for part in chapter["parts"]}
    return {key: chapter[key] for key in ("images", "arms", "left_out")} | {"analyses": numbers}


def _is_good(task: "Task") -> bool:
    """Whether its result is there and can be read; one that cannot is made again."""
    if not task.is_done:
        return False
    try:
        task.result()
    except AnalysisError:
        return False
    return True


def _words(text: str | None, state: "StudyState") -> list[str]:
    """Words with commas between them; a label of an arm may have commas itself."""
    if text is None:
        return []
    labels = sorted((str(arm["label"]) for arm in state.created.get("arms", ())), key=len)
    found: list[str] = []
    rest = text.strip()
    while rest:
        label = next((each for each in reversed(labels) if _begins(rest, each)), None)
        word = label or rest.partition(",")[0]
        found.append(word.strip())
        rest = rest[len(word) :].lstrip(" ").removeprefix(",").strip()
    return [word for word in found if word]


def _begins(text: str, label: str) -> bool:
    """Whether the text begins with the whole label."""
    return text.startswith(label) and text[len(label) :].lstrip()[:1] in ("", ",")


ANALYZE = Command(_add_arguments, _analyze)
