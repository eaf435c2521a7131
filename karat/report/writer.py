"""What a study's journal says, for people: an answer, the numbers behind it, and how they came.

`summarise` finds the facts, `sections` puts them into words and tables, and the terminal and
`karat.report.views` only lay these out. A study that has not ended gives a report too:
it says what is missing and gives no verdicts, since looking early would spoil their alpha.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from karat.journal.layout import FIGURES, REPORT_HTML, REPORT_MARKDOWN, TABLE_TEX
from karat.journal.state import StudyState
from karat.report.answer import answer, status_text
from karat.report.facts.summary import Summary, summarise
from karat.report.formatting import file_name, short
from karat.report.narrative import search_notes
from karat.report.parts.health import health_notes
from karat.report.sections import result_section
from karat.report.tables import Table
from karat.system.files import replace_file

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["render_terminal", "summarise", "write_page", "write_report"]


def render_terminal(summary: Summary, console: "Console") -> None:
    """Print question, answer, main table and warnings; narrow terminals get fewer columns."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    console.print(Text(summary.question, style="italic"))
    console.print(Text(answer(summary), style="bold"))
    result = result_section(summary)
    if result is not None:
        table = result.tables[0]
        shown = _columns_for(console.width, table, short(summary.by))
        rich = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
        kinds = dict(zip(table.columns, table.kinds, strict=True))
        for name in shown:
            flush: Literal["left", "right"] = "right" if kinds[name] == "number" else "left"
            rich.add_column(Text(name), justify=flush, overflow="fold")
        for row in table.rows:
            cells = dict(zip(table.columns, row, strict=True))
            if cells["verdict"].startswith("reference"):
                rich.add_section()
            rich.add_row(*[Text(cells[name]) for name in shown])
        console.print()
        console.print(rich)
    console.print()
    for note in (*search_notes(summary), *health_notes(summary)):
        console.print(Text(note, style="dim"))
    if summary.status != "completed":
        console.print(Text(f"Study: {status_text(summary)}."))


def _columns_for(width: int, table: Table, key: str) -> list[str]:
    """As many columns as fit, the least telling ones left out first."""
    wide = {
        "tuned": 180,
        key: 155,
        "parameters": 140,
        "MFLOPs": 165,
        "p (Holm)": 110,
        "s per run": 96,
    }
    validation = next(name for name in table.columns if name.startswith("validation"))
    least = {**wide, validation: 125, "arm": 0}  # `arm` may be the key too
    return [name for name in table.columns if width >= least.get(name, 0)]


def write_report(study_folder: Path, state: StudyState) -> Summary:
    """Write `report.md`, `report.html`, and in `report/` figures and tables; each file whole or not at all.

    Returns:
        What they show.

    Raises:
        JournalError: the journal is empty.
        OSError: the folder cannot be written to.
    """
    from karat.report.views.html import html_page
    from karat.report.views.latex import latex_tables
    from karat.report.views.markdown import markdown_page
    from karat.report.views.spreadsheets import spreadsheets
    from karat.report.views.study import view_of

    study = view_of(study_folder, state, (REPORT_HTML, REPORT_MARKDOWN, FIGURES))
    below = study_folder / FIGURES
    below.mkdir(exist_ok=True)
    for name in _of_older_versions(study.summary):
        (below / name).unlink(missing_ok=True)
    for part in study.sections:
        for figure in part.figures:
            if not figure.image:
                replace_file(below / figure.file, figure.svg.encode())
    for name, text in spreadsheets(study.document).items():
        replace_file(below / name, text.encode())
    replace_file(below / TABLE_TEX, latex_tables(study.summary).encode())
    replace_file(study_folder / REPORT_MARKDOWN, markdown_page(study).encode())
    replace_file(study_folder / REPORT_HTML, html_page([study]).encode())
    return study.summary


def _of_older_versions(summary: Summary) -> list[str]:
    """Figures of this study that are no longer written, by the names that they had."""
    noun, key = summary.metric.noun, file_name(short(summary.by))
    return [f"{noun}_by_epoch.png", f"{noun}_by_{key}.png"]


def write_page(file: Path, studies: Mapping[Path, StudyState]) -> list[Mapping[str, Any]]:
    """Write one page with the reports of several studies, and nothing into their folders.

    Args:
        file: of HTML.
        studies: folder to state, in the order in which they are shown.

    Returns:
        The facts of each (`karat.report.document`).

    Raises:
        JournalError: a journal is empty.
        OSError: the file cannot be written.
    """
    from karat.report.views.html import html_page
    from karat.report.views.study import view_of

    views = [view_of(folder, state) for folder, state in studies.items()]
    replace_file(file, html_page(views).encode())
    return [view.document for view in views]
