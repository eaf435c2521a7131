"""What a launch does, from its start to its end: trials done and running, best so far, time taken and left."""

import contextlib
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from karat.cli.text.left import left_text
from karat.forecast.time_left import NOTHING_EXPECTED, Expected, Left, time_left
from karat.journal.journal import Event
from karat.journal.state import StudyState
from karat.journal.trial import PHASES, Phase, Trial
from karat.journal.wording import trial_text
from karat.study.study import Study

_PHASE_TEXT = {"confirm": "confirmation"}
_DOING: dict[Phase, str] = {
    "search": "searching",
    "shortlist": "training the shortlist again",
    "confirm": "confirming",
}
_STATUS_TEXT = {"completed": "done", "stopped": "stopped early", "failed": "FAILED"}
STOPPING, WRITING, SYNCING = (
    "stopping the workers",
    "writing the report",
    "bringing MLflow up to date",
)
_LEAST_PAUSE_S, _MOST_PAUSE_S, _PAUSE_SHARE = 10.0, 60.0, 0.05
_ESTIMATED_FOR_S = 2.0  # an estimate goes through all trials, and a table is drawn twice a second


class Progress:
    """Redraws a small table on a terminal; if there is none, prints a line from time to time.

    Lines come when something else begins, and in between every ten seconds, later every minute.

    Args:
        study: the study whose progress is shown.
        slots: trials at a time at the start; a cluster may grow.
        console: the terminal or the log.
        expected: what the plan expects, for arms that have shown nothing yet.
    """

    def __init__(
        self,
        study: Study,
        slots: int,
        console: Console,
        expected: Expected | None = None,
    ) -> None:
        self.study, self.slots, self.console = study, slots, console
        self.expected = expected or NOTHING_EXPECTED
        self._began = self._last_line = time.monotonic()
        self._stage: str | None = None
        self._shown: str | None = None
        self._phases = "waiting for a worker"  # until the first trial runs; then also between two
        self._estimate: tuple[float, Left | None] | None = None
        # Last, since it draws at once.
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=2)

    def __enter__(self) -> Self:
        self.study.listeners.append(self._on_event)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ValueError):  # it failed, and was removed
            self.study.listeners.remove(self._on_event)
        if self._live.is_started:
            self._live.stop()

    def stage(self, text: str | None) -> None:
        """Show what the launch does now; None shows what the running trials are for."""
        self._stage = text
        if self.console.is_terminal:
            if not self._live.is_started:
                self._live.start()
            self._live.refresh()
        elif text is not None and text != self._shown:
            self._print_line()

    def _on_event(self, event: Event, state: StudyState) -> None:
        if event.kind == "trial_ended" and event.data["status"] == "failed":
            trial = state.trials[event.data["trial"]]
            self.console.print(
                f"trial {trial.number:04d} ({trial.arm}) failed: {trial_text(trial)}",
                soft_wrap=True,
            )
        if event.kind == "segment_started" and self._stage is not None:
            self.stage(None)
        if self.console.is_terminal or self._stage is not None:
            return
        now = time.monotonic()
        pause_s = max(_LEAST_PAUSE_S, min(_MOST_PAUSE_S, _PAUSE_SHARE * (now - self._began)))
        if now - self._last_line >= pause_s or self._doing() != self._shown:
            self._print_line()

    def _print_line(self) -> None:
        self._last_line, self._shown = time.monotonic(), self._doing()
        self.console.print(self._line(), soft_wrap=True)

    def _line(self) -> str:
        doing, *facts, (_, taken) = self._facts()
        counts = [f"{name} {value}" for name, value in facts if self._stage is None]
        return " · ".join([doing[1], *counts, taken])

    def _facts(self) -> list[tuple[str, str]]:
        return [
            ("now", self._doing()),
            *self._counts(),
            *([("best", best)] if (best := self._best()) else []),
            ("time", self._time()),
        ]

    def _counts(self) -> list[tuple[str, str]]:
        state, counts = self.study.state, []
        for phase, total in self.study.decisions.total_trials.items():
            done = [trial for trial in state.of_phase(phase) if trial.ended]
            text = f"{len(done)} of {total}"
            if phase == "confirm" and self.study.space.confirm.top_up is not None:
                text += f" (at most {self.study.decisions.most_confirmed})"
            for status in ("stopped", "failed"):
                count = sum(trial.status == status for trial in done)
                if count:
                    text += f", {count} {_STATUS_TEXT[status]}"
            counts.append((_PHASE_TEXT.get(phase, phase), text))
        return counts

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, value in self._facts():
            table.add_row(Text(name, style="bold"), value)
        for trial in self._running():
            table.add_row(Text("running", style="bold"), self._describe(trial))
        return table

    def _running(self) -> list[Trial]:
        # Another thread draws: the set may change under it.
        trials = (self.study.state.trials[number] for number in sorted(self.study.state.unended))
        return [trial for trial in trials if trial.status == "running"]

    def _doing(self) -> str:
        if self._stage is not None:
            return self._stage
        if self.study.finished:
            return STOPPING
        if phases := {trial.phase for trial in self._running()}:
            self._phases = " and ".join(_DOING[phase] for phase in PHASES if phase in phases)
        return self._phases

    def _describe(self, trial: Trial) -> str:
        metric = self.study.space.search.metric
        done = trial.reports[-1].epoch if trial.reports else 0
        value = trial.last(metric)
        shown = "" if value is None else f", {show_metric(metric, value)}"
        return f"{trial.number:04d} {trial.arm}: epoch {done} of {trial.epochs}{shown}"

    def _best(self) -> str:
        search = self.study.space.search
        sign = 1 if search.mode == "max" else -1
        best: tuple[float, Trial] | None = None
        for trial in self.study.state.of_phase("search"):
            value = trial.last(search.metric)
            if value is not None and (best is None or sign * value > sign * best[0]):
                best = (value, trial)
        if best is None:
            return ""
        return f"{show_metric(search.metric, best[0])} ({best[1].arm})"

    def _time(self) -> str:
        taken = clock_text(time.monotonic() - self._began)
        if self.study.finished or self._stage in (STOPPING, WRITING, SYNCING):
            return taken  # of an interrupted study much may be left, but not to this launch
        left = self._left()
        return f"{taken}, {'time left not known yet' if left is None else left_text(left)}"

    def _left(self) -> Left | None:
        now = time.monotonic()
        if self._estimate is None or now - self._estimate[0] >= _ESTIMATED_FOR_S:
            state = self.study.state
            slots = max([self.slots, *(launch.slots for launch in state.launches[-1:])])
            left = time_left(state, slots, self.expected)
            if left is not None:
                beside_s = self.expected.end_s
                if not any(trial.reports for trial in list(state.trials.values())[:slots]):
                    beside_s += max(0.0, self.expected.start_s - (now - self._began))
                left = Left(low_s=left.low_s + beside_s, high_s=left.high_s + beside_s)
            self._estimate = (now, left)
        return self._estimate[1]


def clock_text(seconds: float) -> str:
    """A duration as on a clock: `3:07`, `2:00:05`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def show_metric(metric: str, value: float) -> str:
    """Format an accuracy in percent, any other metric as a number."""
    return f"{100 * value:.2f} %" if metric.endswith("accuracy") else f"{value:.4f}"
