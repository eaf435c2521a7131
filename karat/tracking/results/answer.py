"""A study's answer as MLflow shows it: description, tags and metrics of its run.

The view imports this module when a study has ended: it loads what makes the report.
"""

import re

from karat.journal.layout import REPORT_HTML
from karat.report.answer import answer, status_text
from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.summary import Summary
from karat.report.sections import result_section
from karat.report.tables import Table
from karat.report.views.markdown import markdown
from karat.tracking.runs import TAG_LENGTH
from karat.tracking.study_run import ANSWER_TAG, BY_ARM, NOTE_TAG, VERDICT


def study_tags(summary: Summary) -> dict[str, str]:
    """The answer, and the verdict of each arm that has one, as tags of a study's run."""
    tags = {NOTE_TAG: _note(summary), ANSWER_TAG: answer(summary)[:TAG_LENGTH]}
    if summary.is_final:
        tags |= {
            f"{VERDICT}/{named(arm)}": arm.comparison.verdict
            for arm in summary.others
            if arm.comparison is not None and arm.comparison.difference is not None
        }
    return tags


def study_metrics(summary: Summary) -> dict[str, float]:
    """Test means, differences, their intervals and p by arm; nothing before the verdicts are given."""
    if not summary.is_final:
        return {}
    found: dict[str, float | None] = {}
    for arm in summary.arms:
        found[f"{summary.metric.test}/{named(arm)}"] = arm.test.mean
        if arm.comparison is not None:
            at = arm.comparison
            values = (at.difference, at.low, at.high, at.p_holm)
            found |= {
                f"{name}/{named(arm)}": value for name, value in zip(BY_ARM, values, strict=False)
            }
    return {name: value for name, value in found.items() if value is not None}


def named(arm: ConfirmedArm) -> str:
    """The label of an arm with the characters that MLflow allows in names."""
    return re.sub(r"[^\w.\- :/]", " ", arm.label)


def _note(summary: Summary) -> str:
    """Question, answer and the table of results in Markdown, the table left out if it is too long."""
    section = result_section(summary)
    parts = [
        f"> {markdown(summary.question)}",
        f"**{markdown(answer(summary))}**",
        f"Study: {markdown(status_text(summary))}. The whole report is the artifact `{REPORT_HTML}`.",
    ]
    tables = [_table(table) for table in section.tables[:1]] if section is not None else []
    whole = "\n\n".join([*parts[:2], *tables, parts[2]])
    return whole if len(whole) <= TAG_LENGTH else "\n\n".join(parts)[:TAG_LENGTH]


def _table(table: Table) -> str:
    rules = ["---:" if kind == "number" else "---" for kind in table.kinds]
    lines = [[markdown(name) for name in table.columns], rules]
    lines += [[markdown(cell) for cell in row] for row in table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
