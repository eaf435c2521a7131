"""What `karat analyze` could not do, with each reason told once."""

from collections.abc import Iterable

from karat.report.formatting import listed


class LeftOut:
    """Collects what was not possible.

    Args:
        lines: what is known from the start, each with its reason.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._lines = list(dict.fromkeys(lines))
        # Reason to trial to analyses, each in the order in which they came.
        self._found: dict[str, dict[str, list[str]]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines or self._found)

    def say(self, line: str) -> None:
        """Add something that is of no single trial."""
        if line not in self._lines:
            self._lines.append(line)

    def add(self, analysis: str, trial: str, reason: str) -> None:
        """Add an analysis of a trial; twice is once.

        Args:
            analysis: its name.
            trial: its number and the label of its arm.
            reason: without either.
        """
        analyses = self._found.setdefault(reason, {}).setdefault(trial, [])
        if analysis not in analyses:
            analyses.append(analysis)

    def lines(self) -> list[str]:
        """One line for each reason, or a few where trials of one reason lack different analyses."""
        return self._lines + [
            f"{listed(analyses)} of {listed(trials)}: {reason}"
            for reason, of_trial in self._found.items()
            for analyses, trials in _together(of_trial)
        ]


def _together(of_trial: dict[str, list[str]]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Sets of analyses with the trials that lack just these."""
    found: dict[tuple[str, ...], list[str]] = {}
    for trial, analyses in of_trial.items():
        found.setdefault(tuple(sorted(analyses)), []).append(trial)
    return list(found.items())
