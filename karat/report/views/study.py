"""What every view of a study lays out: its facts, and its sections in words."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from karat.journal.state import StudyState
from karat.report.answer import answer, status_text
from karat.report.document import document
from karat.report.facts.importances import importances
from karat.report.facts.summary import Summary, summarise
from karat.report.parts.trials import trials_section
from karat.report.parts.why import why_sections
from karat.report.sections import folder_section, sections
from karat.report.tables import Section


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """One study as the views show it.

    Args:
        summary: its facts.
        document: the same as JSON (`karat.report.document`).
        sections: the report after question and answer.
    """

    summary: Summary
    document: Mapping[str, Any]
    sections: Sequence[Section]

    @property
    def answer(self) -> str:
        """The question's answer in a few sentences."""
        return answer(self.summary)

    @property
    def status(self) -> str:
        """How the study stands, as a phrase."""
        return status_text(self.summary)


def view_of(folder: Path, state: StudyState, written: Collection[str] = ()) -> StudyView:
    """The whole report of a study.

    Args:
        folder: of the study.
        state: from its journal.
        written: names of what is about to be written into the folder.

    Raises:
        JournalError: the journal is empty.
    """
    summary = summarise(state)
    found = importances(state, summary.metric)
    summary = replace(summary, search=replace(summary.search, importances=found))
    told = document(summary, state)
    trials = trials_section(summary, told["trials"])
    parts = [
        *sections(summary, why_sections(folder, state)),
        folder_section(folder, written),
        *([] if trials is None else [trials]),
    ]
    return StudyView(summary=summary, document=told, sections=parts)
