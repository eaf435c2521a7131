"""Live progress in the terminal: trials done and running, best so far, time left."""

import contextlib
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from karat.journal.journal import Event
from karat.journal.state import StudyState
from karat.journal.trial import PHASES, Trial
from karat.journal.wording import trial_text
from karat.study.study import Study

_LINE_EVERY_S = 10.0
_PHASE_TEXT = {"confirm": "confirmation"}
_STATUS_TEXT = {"completed": "done", "stopped": "stopped early", "failed": "FAILED"}


class Progress:
    """Redraws a small table on a terminal; if there is none, prints a line every ten seconds.

    Args:
        study: the study whose progress is shown.
        slots: trials at a time at the start; a cluster may grow.
        console: the terminal or the log.
    """

    def __init__(self, study: Study, slots: int, console: Console) -> None:
        self.study, self.slots, self.console = study, slots, console
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=2)
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self.study.listeners.append(self._on_event)
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ValueError):  # it failed, and was removed
            self.study.listeners.remove(self._on_event)
        if self.console.is_terminal:
            self._live.stop()
        else:
            self.console.print(self._line(), soft_wrap=True)

    def _on_event(self, event: Event, state: StudyState) -> None:
        if event.kind == "trial_ended" and event.data["status"] == "failed":
            trial = state.trials[event.data["trial"]]
            self.console.print(
                f"trial {trial.number:04d} ({trial.arm}) failed: {trial_text(trial)}"
            )
        now = time.monotonic()
        if not self.console.is_terminal and now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            self.console.print(self._line(), soft_wrap=True)

    def _line(self) -> str:
        return " · ".join(f"{name} {value}" for name, value in self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        state, totals = self.study.state, self.study.decisions.total_trials
        facts = []
        for phase, total in totals.items():
            done = [trial for trial in state.of_phase(phase) if trial.ended]
            text = f"{len(done)} of {total}"
            if phase == "confirm" and self.study.space.confirm.top_up is not None:
                text += f" (at most {self.study.decisions.most_confirmed})"
            for status in ("stopped", "failed"):
                count = sum(trial.status == status for trial in done)
                if count:
                    text += f", {count} {_STATUS_TEXT[status]}"
            facts.append((_PHASE_TEXT.get(phase, phase), text))
        facts.append(("best", self._best()))
        facts.append(("time left", self._time_left()))
        return facts

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, value in self._facts():
            table.add_row(Text(name, style="bold"), value)
        running = [t for t in self.study.state.trials.values() if t.status == "running"]
        for trial in running:
            table.add_row(Text("running", style="bold"), self._describe(trial))
        return table

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
            return "none yet"
        return f"{show_metric(search.metric, best[0])} ({best[1].arm})"

    def _time_left(self) -> str:
        seconds = self._seconds_left()
        if seconds is None:
            return "not known yet"
        return f"{int(seconds // 60)}:{int(seconds % 60):02d}"

    def _seconds_left(self) -> float | None:
        state, totals = self.study.state, self.study.decisions.total_trials
        reports = sum(len(trial.reports) for trial in state.trials.values())
        if not reports:
            return None
        ended = [len(t.reports) for t in state.of_phase("search") if t.ended]
        length = next(iter(state.trials.values())).epochs
        per_trial = dict.fromkeys(PHASES, float(length))
        if ended:
            per_trial["search"] = sum(ended) / len(ended)
        epochs = 0.0
        for trial in state.trials.values():
            if not trial.ended:
                epochs += max(1.0, per_trial[trial.phase] - len(trial.reports))
        for phase, total in totals.items():
            asked = sum(trial.phase == phase for trial in state.trials.values())
            epochs += (total - asked) * per_trial[phase]
        each = sum(trial.seconds for trial in state.trials.values()) / reports
        slots = [self.slots, *(launch.slots for launch in state.launches[-1:])]
        return epochs * each / max(slots)


def show_metric(metric: str, value: float) -> str:
    """Format an accuracy in percent, any other metric as a number."""
    return f"{value:.2%}" if metric.endswith("accuracy") else f"{value:.4f}"
