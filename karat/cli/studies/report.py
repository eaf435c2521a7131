"""The command `report`: writes a study's report again, or one page of several."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from karat.cli.command import Command
from karat.cli.exit_status import OK
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import activity_of, add_study, state_of, study_folder
from karat.cli.text.layout import say
from karat.cli.text.next_steps import after, next_lines
from karat.errors import InputError
from karat.journal.layout import REPORT_HTML, REPORT_MARKDOWN
from karat.terminal import make_console


def _add_report(parser: argparse.ArgumentParser) -> None:
    add_study(parser, nargs="+")
    add_json(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.html",
        help="write one page with the reports of all studies named, and nothing into their folders",
    )


def _report(options: argparse.Namespace) -> int:
    folders = [study_folder(study, options.storage) for study in options.study]
    if options.out is not None:
        return _page(folders, options.out, as_json=options.json)
    if len(folders) > 1:
        raise InputError(
            "report: several studies make one page; name its file with --out FILE.html"
        )
    return _report_one(folders[0], as_json=options.json)


def _report_one(folder: Path, *, as_json: bool) -> int:
    from karat.report.writer import render_terminal, write_report
    from karat.study.folder import refuse_symlinks

    state = state_of(folder)
    refuse_symlinks(folder)
    summary = write_report(folder, state)
    if as_json:
        from karat.report.document import document

        files = [str(folder / name) for name in (REPORT_HTML, REPORT_MARKDOWN)]
        print_json("report", {**document(summary, state), "folder": str(folder), "files": files})
        return OK
    console = make_console()
    render_terminal(summary, console)
    console.print(f"\nreport: {folder / REPORT_HTML}", soft_wrap=True)
    say(next_lines(folder, *after("report", activity_of(folder, state.status))))
    return OK


def _page(folders: Sequence[Path], file: Path, *, as_json: bool) -> int:
    if file.suffix != ".html" or not file.parent.is_dir():
        raise InputError(f"--out {file}: name a file that ends in .html, in a folder that exists")
    studies = {folder: state_of(folder) for folder in folders}
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("report: a study is named twice")
    from karat.report.writer import write_page

    documents = write_page(file, studies)
    if as_json:
        print_json("report", {"studies": documents, "files": [str(file)]})
        return OK
    count = f"{len(folders)} stud{'ies' if len(folders) > 1 else 'y'}"
    make_console().print(f"report of {count}: {file}", soft_wrap=True)
    return OK


REPORT = Command(_add_report, _report)
