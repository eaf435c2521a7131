"""A report as one HTML file that needs nothing else: style, script, figures and facts are in it."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karat.report.document import SCHEMA
from karat.report.formatting import Units, interval_text
from karat.report.parts.health import TITLE as HEALTH
from karat.report.views.study import StudyView

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
MOST_PRINTED = 200  # rows of a table of which the same rows are in a file


def html_page(studies: Sequence[StudyView]) -> str:
    """The whole report of one study, or of several beneath a table of their answers.

    The content security policy allows this script, by its hash, and nothing from elsewhere.
    """
    script = (TEMPLATES / "report.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    facts: Any = studies[0].document
    if len(studies) > 1:
        facts = {"schema": SCHEMA, "studies": [study.document for study in studies]}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            studies=studies,
            style=(TEMPLATES / "report.css").read_text(),
            script=script,
            digest=digest,
            facts=_embedded(facts),
            difference=_difference,
            health=HEALTH,
            most_printed=MOST_PRINTED,
        )
    )


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _embedded(facts: Any) -> str:
    """JSON that cannot end the element it stands in: neither `</script>` nor `<!--` can be in it."""
    text = json.dumps(facts, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c")


def _difference(study: StudyView) -> str:
    """The difference that a study's answer is about, with its verdict; `-` where there is none."""
    arm = study.summary.headline
    if arm is None or arm.comparison is None or arm.comparison.difference is None:
        return "-"
    units = Units(study.summary.metric)
    text = f"{interval_text(arm.comparison, units)}{units.step}"
    return f"{text}: {arm.comparison.verdict}" if study.summary.is_final else text
