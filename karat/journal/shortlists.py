"""Which cells of a study are trained again before one is confirmed, and their runs; `StudyState` folds them."""

import json
from collections.abc import Mapping, Sequence

from karat.journal.trial import Trial


class Shortlists:
    """The shortlist of each contest as planned now, and the runs that count.

    `planned`: contest to the search trials whose cells are on its shortlist, the best of the search first.
    `runs`: each of these trials to the runs of its cell that count, in the order of their seeds.
    """

    def __init__(self) -> None:
        self.planned: dict[str, tuple[int, ...]] = {}
        self.runs: dict[int, list[Trial]] = {}
        self._of_cell: dict[str, list[Trial]] = {}  # also of cells that are on no shortlist now

    @property
    def all_runs(self) -> list[Trial]:
        """The runs that count, contest by contest."""
        return [
            run for each in self.planned.values() for number in each for run in self.runs[number]
        ]

    def plan(self, contest: str, cells: Sequence[Trial]) -> None:
        """Take a contest's shortlist; runs of its cells from before an extension count."""
        self.planned[contest] = tuple(trial.number for trial in cells)
        for trial in cells:
            self.runs[trial.number] = self._of_cell.setdefault(cell_of(trial), [])

    def asked(self, run: Trial) -> None:
        """A run of a shortlist was asked for."""
        self._of_cell.setdefault(cell_of(run), []).append(run)

    def set_aside(self, run: Trial) -> None:
        """A run does not count any more."""
        self._of_cell[cell_of(run)].remove(run)

    def forget_plans(self) -> None:
        """The study was extended: every contest is planned again."""
        self.planned.clear()
        self.runs.clear()

    def cells(self, contest: str) -> Mapping[int, Sequence[Trial]]:
        """The runs of each cell of a contest's shortlist, by search trial, the best of the search first."""
        return {number: self.runs[number] for number in self.planned[contest]}


def cell_of(trial: Trial) -> str:
    """A text that is the same for all trials of a cell: arm and tuned parameters, within one tuning."""
    return json.dumps([trial.arm, trial.tuning, dict(trial.tuned)], sort_keys=True)
