"""What MLflow shows of a study: its answer, its data set, and the program that ran it.

Everything follows from the journal, but the user, who is the owner of the study's folder.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from karat.journal.layout import REPORT_HTML
from karat.journal.state import StudyState
from karat.report.answer import answer, status_text
from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.summary import Summary
from karat.report.sections import result_section
from karat.report.tables import Table
from karat.report.writer import markdown

NOTE_TAG = "mlflow.note.content"
_VERDICT = "verdict"
_BY_ARM = ("difference", "difference_low", "difference_high", "p_holm", _VERDICT)
_LONGEST_NOTE = 5000  # characters that every version of MLflow stores
_DIGEST = 36  # the same of a data set's digest


def study_tags(summary: Summary) -> dict[str, str]:
    """The answer, and the verdict of each arm that has one, as tags of a study's run."""
    tags = {NOTE_TAG: _note(summary), "karat.answer": answer(summary)[:_LONGEST_NOTE]}
    if summary.is_final:
        tags |= {
            f"{_VERDICT}/{named(arm)}": arm.comparison.verdict
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
                f"{name}/{named(arm)}": value for name, value in zip(_BY_ARM, values, strict=False)
            }
    return {name: value for name, value in found.items() if value is not None}


def source_tags(state: StudyState, folder: Path) -> dict[str, str]:
    """The program, its commit and the user, as MLflow names them."""
    tags = {
        "mlflow.source.name": "karat",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _owner(folder),
    }
    environment = state.launches[-1].environment if state.launches else {}
    git = environment.get("git") or {}
    if git.get("commit"):
        tags["mlflow.source.git.commit"] = git["commit"]
        tags["karat.source_altered"] = str(bool(git.get("altered"))).lower()
    return tags


def is_of_answer(name: str) -> bool:
    """Whether a tag or a metric of a study's run is about the answer."""
    kind, slash, _ = name.partition("/")
    return bool(slash) and (kind in _BY_ARM or kind.startswith("test_"))


def dataset_input(created: Mapping[str, Any]) -> Any:
    """The data set of a study as MLflow logs it; None where trials have different ones."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = created.get("space", {}).get("data")
    if not isinstance(data, Mapping) or "name" not in data:
        return None
    known = created["data"]
    profile = {"classes": len(known.get("classes", ()))}
    dataset = Dataset(
        name=str(data["name"]),
        digest=str(known["fingerprint"])[:_DIGEST],
        source_type="local",
        source=json.dumps(data, default=str),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training, validation, test")])


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
    return whole if len(whole) <= _LONGEST_NOTE else "\n\n".join(parts)[:_LONGEST_NOTE]


def _table(table: Table) -> str:
    rules = ["---:" if kind == "number" else "---" for kind in table.kinds]
    lines = [[markdown(name) for name in table.columns], rules]
    lines += [[markdown(cell) for cell in row] for row in table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _owner(folder: Path) -> str:
    try:
        return folder.owner()
    except KeyError:  # a user without a name on this machine, as in a container
        return str(folder.stat().st_uid)
