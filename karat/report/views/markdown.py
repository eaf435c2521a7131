"""A report as Markdown."""

from pathlib import Path

from karat.report.views.study import StudyView

TEMPLATES = Path(__file__).parent / "templates"


def markdown_page(study: StudyView) -> str:
    """The whole report of one study; its figures lie in the folder `report`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = markdown
    return environment.get_template("report.md.j2").render(study=study)


def markdown(text: str) -> str:
    """Text as one line of Markdown that shows it as it is, also in a table's cell."""
    for mark in "\\`*[]|#~$":
        text = text.replace(mark, f"\\{mark}")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(text.split())
