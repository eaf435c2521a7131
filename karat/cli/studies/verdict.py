"""`launch --json`: what a study ended with, as one document for programs that run studies."""

import argparse
import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from karat.cli.exit_status import INTERRUPTED
from karat.cli.studies.json_output import print_json
from karat.journal.layout import JOURNAL, REPORT_HTML, REPORT_MARKDOWN
from karat.system.process.signals import Interruption
from karat.terminal import make_console

if TYPE_CHECKING:
    from karat.journal.state import StudyState
    from karat.report.facts.summary import Summary

State = Literal["complete", "undecided", "unfinished", "failed"]


def run_for_programs(options: argparse.Namespace, interruption: Interruption, command: str) -> int:
    """Run or resume a study with its output on stderr, print the document, and return the exit status.

    Where there is no study, since the input is wrong or another process runs it, the error is a line on stderr as
    always, and stdout stays empty.

    Args:
        options: of the launch.
        interruption: receives signals.
        command: the command that the user typed.
    """
    from karat.cli.run import run_study
    from karat.cli.studies.named import state_of
    from karat.space.overrides import study_name

    # Whatever prints, the document is all that is on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        console = make_console(stderr=True)
        status = run_study(options, interruption, command, console=console)
    folder = options.storage.resolve() / study_name(options.space, options.set, options.name)
    print_json("verdict", verdict(state_of(folder), folder, status, command))
    return status


def verdict(state: "StudyState", folder: Path, status: int, command: str) -> dict[str, Any]:
    """The document: the facts of a study without its trials, how far it is, and what comes next.

    Args:
        state: of the study.
        folder: of the study.
        status: exit status of the launch.
        command: the command that the user typed, which resumes the study.
    """
    from karat.report.document import document
    from karat.report.facts.summary import summarise

    summary = summarise(state)
    facts = document(summary, state)
    del facts["trials"]  # `karat show` has them
    found = state_word(summary)
    report = folder / REPORT_HTML
    shown = shlex.quote(str(folder))
    return {
        "state": found,
        "exit_status": status,
        "undecided": _undecided(summary),
        "next": command if status == INTERRUPTED else f"karat report {shown}",
        "paths": {
            "folder": str(folder),
            "journal": str(folder / JOURNAL),
            "report": str(report) if report.is_file() else None,
            "markdown": str(folder / REPORT_MARKDOWN)
            if (folder / REPORT_MARKDOWN).is_file()
            else None,
        },
        **facts,
    }


def state_word(summary: "Summary") -> State:
    """How a study stands.

    `complete`: every arm that was confirmed has a verdict that settles it. `undecided`: the study has ended, and
    at least one arm is inconclusive or could not be compared. `unfinished`: it was interrupted, and the same
    command goes on. `failed`: it ended without an answer.
    """
    if summary.status == "failed":
        return "failed"
    if summary.status != "completed":
        return "unfinished"
    return "undecided" if _undecided(summary) or not summary.others else "complete"


def _undecided(summary: "Summary") -> list[str]:
    """Labels of the confirmed arms without a verdict that settles them, as far as verdicts are given."""
    if not summary.is_final:
        return []
    return [
        arm.label
        for arm in summary.others
        if arm.comparison is None
        or arm.comparison.difference is None
        or arm.comparison.verdict == "inconclusive"
    ]
