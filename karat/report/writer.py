"""What a study's journal says, for people: an answer, the numbers behind it, and how they came.

`summarise` finds the facts, `sections` puts them into words and tables, and the terminal, the
Markdown and the HTML view only lay these out. A study that has not ended gives a report too:
it says what is missing and gives no verdicts, since looking early would spoil their alpha.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from karat.journal.layout import FIGURES, REPORT_HTML, REPORT_MARKDOWN
from karat.journal.state import StudyState
from karat.report.answer import answer, status_text
from karat.report.facts.importances import importances
from karat.report.facts.summary import Summary, summarise
from karat.report.formatting import short
from karat.report.narrative import search_notes
from karat.report.sections import folder_section, result_section, sections
from karat.report.tables import Section, Table
from karat.system.files import replace_file

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["render_terminal", "summarise", "write_report"]


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
            if cells["verdict"] == "reference":
                rich.add_section()
            rich.add_row(*[Text(cells[name]) for name in shown])
        console.print()
        console.print(rich)
    console.print()
    for note in search_notes(summary):
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
    """Write `report.md`, `report.html` and the figures in `report/`; each file whole or not at all.

    Returns:
        What they show.

    Raises:
        JournalError: the journal is empty.
        OSError: the folder cannot be written to.
    """
    summary = summarise(state)
    found = importances(state, summary.metric)
    summary = replace(summary, search=replace(summary.search, importances=found))
    (study_folder / FIGURES).mkdir(exist_ok=True)
    parts = (*sections(summary), folder_section(study_folder))
    for part in parts:
        for figure in part.figures:
            replace_file(study_folder / FIGURES / figure.file, figure.svg.encode())
    for name in (REPORT_MARKDOWN, REPORT_HTML):
        replace_file(study_folder / name, _render(f"{name}.j2", summary, parts).encode())
    return summary


def _render(template: str, summary: Summary, parts: Sequence[Section]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = markdown
    return environment.get_template(template).render(
        summary=summary,
        answer=answer(summary),
        status=status_text(summary),
        sections=parts,
    )


def markdown(text: str) -> str:
    """Text as one line of Markdown that shows it as it is, also in a table's cell."""
    for mark in "\\`*[]|#~$":
        text = text.replace(mark, f"\\{mark}")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(text.split())
