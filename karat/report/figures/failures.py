"""Failed trials by cause."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

from karat.causes import Failure
from karat.report.facts.summary import Summary
from karat.report.figures import Figure, svg
from karat.report.figures.style import OKABE_ITO, WIDTH
from karat.report.figures.svg import Svg

ROW, TOP, LEFT, RIGHT = 28.0, 12.0, 250.0, 660.0
CAUSES = {
    Failure.ERROR: "an error was raised",
    Failure.MEMORY: "memory ran out",
    Failure.NON_FINITE: "a loss or metric was not finite",
    Failure.CHECKPOINT: "a file could not be written",
    Failure.LOST: "its worker was lost too often",
    Failure.HUNG: "an epoch took too long",
}
MOST_NAMED = 12  # trials in a tooltip


def failures(summary: Summary) -> Iterator[Figure]:
    """Where a trial failed."""
    if summary.failed:
        number = len(summary.failed)
        yield Figure(
            file="failures.svg",
            title="Failed trials by cause",
            caption=(
                f"The {number} trial{'s' * (number != 1)} that failed, of all phases, by cause. "
                "Trials that were retried and went on are not among them."
            ),
            draw=partial(_draw, summary),
        )


def _draw(summary: Summary) -> str:
    counts = Counter(trial.cause for trial in summary.failed)
    most = max(counts.values())
    bars: list[Svg] = []
    for place, (cause, count) in enumerate(sorted(counts.items(), key=lambda each: -each[1])):
        y = TOP + ROW * (place + 0.5)
        numbers = [trial.number for trial in summary.failed if trial.cause == cause]
        phases = Counter(trial.phase for trial in summary.failed if trial.cause == cause)
        named = ", ".join(map(str, numbers[:MOST_NAMED])) + ", …" * (len(numbers) > MOST_NAMED)
        told = f"trial{'s' * (count != 1)} {named}"
        by_phase = ", ".join(f"{number} in the {_phase(phase)}" for phase, number in phases.items())
        end = LEFT + count / most * (RIGHT - LEFT - 190)
        bars.append(
            svg.group(
                svg.title(told),
                svg.row_name(4, y, _words(cause), LEFT - 14),
                svg.box(LEFT, y - 8, end - LEFT, 16, fill=OKABE_ITO[1]),
                svg.text(end + 8, y + 4, f"{count} ({by_phase})"),
            )
        )
    return svg.document("Failed trials by cause", WIDTH, TOP + ROW * len(counts) + 10, *bars)


def _words(cause: str) -> str:
    return CAUSES[Failure(cause)] if cause in set(Failure) else cause or "not recorded"


def _phase(phase: str) -> str:
    return {"search": "search", "shortlist": "shortlists"}.get(phase, "confirmation")
