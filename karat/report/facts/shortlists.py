"""The cells that were trained again with fresh seeds before one was confirmed, and what their runs gave."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from karat.journal.state import StudyState
from karat.statistics.metric import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """One cell of a shortlist.

    Args:
        contest: label of the reference or level for which it stands.
        arm, tuned: the cell.
        place: in the search, from 1, among the cells of its contest.
        searched: the metric in the search, for which it is on the shortlist.
        runs, failed: number of fresh runs that have ended, and of these that failed.
        value: mean of the metric over the completed ones; None without any.
        is_confirmed: whether it was chosen.
    """

    contest: str
    arm: str
    tuned: Mapping[str, Any]
    place: int
    searched: float | None
    runs: int
    failed: int
    value: float | None
    is_confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortlistFacts:
    """The shortlists of a study, as far as they are planned.

    Args:
        size, seeds: most cells of each shortlist, and fresh seeds of each cell.
        contests: number of shortlists planned.
        cells: of all of them, contest by contest, the best of the search first.
    """

    size: int
    seeds: int
    contests: int
    cells: tuple[Repeated, ...]

    @property
    def planned(self) -> int:
        """Number of runs planned so far."""
        return len(self.cells) * self.seeds

    @property
    def ended(self) -> int:
        """Number of runs that have ended."""
        return sum(cell.runs for cell in self.cells)

    @property
    def lost(self) -> float | None:
        """By how much the best cell of each search did worse in its fresh runs, on average."""
        first = [cell for cell in self.cells if cell.place == 1]
        known = [(each.searched, each.value) for each in first]
        drops = [was - now for was, now in known if was is not None and now is not None]
        return statistics.fmean(drops) if drops else None


def shortlist_facts(state: StudyState, metric: Metric) -> ShortlistFacts | None:
    """What the journal says of the shortlists; None where the study has none."""
    if not state.fresh_seeds:
        return None
    return ShortlistFacts(
        size=state.created["confirm"]["shortlist"],
        seeds=state.fresh_seeds,
        contests=len(state.shortlists.planned),
        cells=tuple(_cells(state, metric)),
    )


def _cells(state: StudyState, metric: Metric) -> Iterator[Repeated]:
    confirmed = {cell["trial"] for cell in (state.confirmation or {}).get("cells", ())}
    for contest in state.shortlists.planned:
        for place, (number, runs) in enumerate(state.shortlists.cells(contest).items(), start=1):
            trial = state.trials[number]
            done = [run.last(metric.name) for run in runs if run.status == "completed"]
            values = [value for value in done if value is not None]
            yield Repeated(
                contest=contest,
                arm=trial.arm,
                tuned=trial.tuned,
                place=place,
                searched=trial.last(metric.name),
                runs=sum(run.ended for run in runs),
                failed=sum(run.status == "failed" for run in runs),
                value=statistics.fmean(values) if values else None,
                is_confirmed=number in confirmed,
            )
