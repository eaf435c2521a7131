"""The state of a study, folded from the events of its journal.

The driver, the MLflow view and the report all use this class, live or afterwards, so they cannot
disagree.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from karat.causes import SegmentEnd
from karat.errors import JournalError
from karat.journal.journal import Event
from karat.journal.shortlists import Shortlists
from karat.journal.trial import Extension, Launch, Phase, RuledOut, Trial
from karat.journal.usage import Usage
from karat.parameters import Level, level_of, levels_of

BACK_OFF_S = (1.0, 5.0, 25.0)  # after the first, second, third lost worker of a trial


class StudyState:
    """The state after the events applied so far. Call `apply` once per event, in order.

    Levels of factors that are lists in the journal are tuples here (see `karat.parameters`), except
    in `created["space"]`, which is the space as the user wrote it.

    `created` describes the study now, `original` before any extension; `asked` is the source of the
    space file at the last launch. `cause` and `details` tell why the study was interrupted or
    failed (`karat.causes`). `search_cut` has details if the search ended before all its trials were
    asked for, else it is None. `confirmation` has the cells that are confirmed, and the skipped and the
    planned contests (None: all of them), as far as they are planned; it is None before the first.
    `seeds_now` has the arms to which seeds were added, with their seeds in total.
    `shortlists` has the cells that are trained again before one of them is confirmed.
    """

    def __init__(self) -> None:
        self.created: Mapping[str, Any] = {}
        self.original: Mapping[str, Any] = {}
        self.asked: Mapping[str, Any] = {}
        self.extensions: list[Extension] = []
        self.references: Mapping[Level, str] = {}
        self.created_at = 0.0
        self.launches: list[Launch] = []
        self.trials: dict[int, Trial] = {}
        self.ruled_out: list[RuledOut] = []  # proposals that were not trained
        self.waiting: set[int] = set()  # numbers of the trials with this status
        self.unended: set[int] = set()  # numbers of the trials that have not ended
        # Arm, seed index and length of the confirmations that count.
        self.confirmed: set[tuple[str, int, int]] = set()
        # Numbers of trials in the order of their ends, since the start or the last extension.
        self.ended: list[int] = []
        self.data_place: Mapping[str, Any] = {}  # where the data lay in the last launch
        self.images: Mapping[str, int] = {}  # in each split; empty before a worker has told
        self.shortlists = Shortlists()
        self.confirmation: Mapping[str, Any] | None = None
        self.seeds_now: dict[str, int] = {}
        self.search_ended_at: float | None = None
        self.search_cut: Mapping[str, Any] | None = None
        self.usage = Usage()
        self.status: Literal["running", "interrupted", "completed", "failed"] = "running"
        self.cause = ""
        self.details: Mapping[str, Any] = {}
        self.ended_at: float | None = None

    @classmethod
    def of(cls, events: Iterable[Event]) -> "StudyState":
        """The state after `events`."""
        state = cls()
        for event in events:
            state.apply(event)
        return state

    def apply(self, event: Event) -> None:
        """Take one event in.

        Raises:
            JournalError: the event's kind is unknown to this version of karat.
        """
        handler = getattr(self, f"_on_{event.kind}", None)
        if handler is None:
            raise JournalError(
                f"{event.where}: unknown kind {event.kind!r}. If a later version of karat wrote it, use "
                "that version"
            )
        try:
            handler(event)
            self.usage.apply(event)
        except KeyError as error:
            raise JournalError(
                f"{event.where} ({event.kind}): {error} is missing, or was never begun"
            ) from error
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            raise JournalError(f"{event.where} ({event.kind}): has wrong data ({error})") from error

    def of_phase(self, phase: Phase) -> list[Trial]:
        """The trials of one phase that count, in the order in which they were asked for."""
        return [t for t in self.trials.values() if t.phase == phase and not t.set_aside]

    def is_planned(self, contest: str) -> bool:
        """Whether the confirmation of the contest with this label is planned, or skipped."""
        planned = [] if self.confirmation is None else self.confirmation["contests"]
        return planned is None or contest in planned

    @property
    def given_up(self) -> int:
        """Places of the search that stay empty, since nothing that could be trained was proposed for them."""
        return sum(each.given_up for each in self.ruled_out)

    @property
    def all_planned(self) -> bool:
        """Whether the confirmation of every contest is planned, or skipped."""
        if self.confirmation is None or self.confirmation["contests"] is None:
            return self.confirmation is not None
        planned = len(self.confirmation["contests"]) * self.runs_each
        return bool(planned >= self.created["totals"]["confirm"])

    @property
    def longest(self) -> int:
        """The longest training of the confirmation, as a multiple of the epochs; verdicts are about it."""
        return int(max(self.created["confirm"].get("budgets", (1,))))

    @property
    def runs_each(self) -> int:
        """Confirmation runs of each cell, before seeds are added: its seeds, times the lengths of training."""
        confirm = self.created["confirm"]
        each: int = confirm["seeds"] // confirm.get("tunings", 1)
        return each * len(confirm.get("budgets", (1,)))

    def seeds_of(self, arm: str) -> int:
        """Seeds with which each cell of an arm is confirmed, as planned now."""
        confirm = self.created["confirm"]
        first: int = confirm["seeds"] // confirm.get("tunings", 1)
        return self.seeds_now.get(arm, first)

    @property
    def planned_runs(self) -> int:
        """Confirmation runs of the cells planned so far, with the seeds added so far."""
        if self.confirmation is None:
            return 0
        cells = self.confirmation["cells"]
        lengths = len(self.created["confirm"].get("budgets", (1,)))
        return sum(self.seeds_of(cell["arm"]) for cell in cells) * lengths

    @property
    def fresh_seeds(self) -> int:
        """Seeds with which each cell of a shortlist is trained again; 0 without a shortlist."""
        return int(self.created["confirm"].get("shortlist_seeds") or 0)

    @property
    def reference_arms(self) -> tuple[str, ...]:
        """Labels of the reference arms, each once."""
        return tuple(dict.fromkeys(self.references.values()))

    def _on_study_created(self, event: Event) -> None:
        self._describe(event.data)
        self.original, self.asked = self.created, event.data["space"]
        self.created_at = event.time

    def _on_study_extended(self, event: Event) -> None:
        data = event.data
        self.extensions.append(
            Extension(
                event.time,
                tuple(data["extend"]),
                tuple(data["changes"]),
                self.status == "completed",
            )
        )
        self._describe({**self.original, **data["description"]})
        self.asked = data["asked"]
        self._set_aside(data["set_aside"])
        self.confirmation, self.search_ended_at, self.search_cut = None, None, None
        self.shortlists.forget_plans()
        self.status, self.ended_at = "running", None
        self.cause, self.details = "", {}
        self.ended.clear()

    def _describe(self, description: Mapping[str, Any]) -> None:
        arms = [{**arm, "factors": levels_of(arm["factors"])} for arm in description["arms"]]
        self.created = {**description, "arms": arms}
        self.references = _references(self.created)

    def _set_aside(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            trial = self.trials[number]
            trial.set_aside = True
            if trial.phase == "shortlist":
                self.shortlists.set_aside(trial)
            if trial.phase == "confirm":
                self.confirmed.discard((trial.arm, trial.seed_index, trial.budget))
                self.seeds_now.pop(trial.arm, None)

    def _on_launched(self, event: Event) -> None:
        data = event.data
        self.launches.append(Launch(event.time, data["slots"], data["environment"]))
        self.data_place = data.get("data_place", {})
        self.status = "running"

    def _on_trial_asked(self, event: Event) -> None:
        data = event.data
        self.trials[data["trial"]] = Trial(
            number=data["trial"],
            asked_at=event.time,
            factors=levels_of(data["factors"]),
            **{key: data[key] for key in data if key not in ("trial", "factors")},
        )
        self.waiting.add(data["trial"])
        self.unended.add(data["trial"])
        if data["phase"] == "shortlist":
            self.shortlists.asked(self.trials[data["trial"]])
        if data["phase"] == "confirm":
            self.confirmed.add((data["arm"], data["seed_index"], data.get("budget", 1)))

    def _on_trial_ruled_out(self, event: Event) -> None:
        data = event.data
        more = {key: data[key] for key in data if key != "factors"}
        factors = levels_of(data["factors"])
        self.ruled_out.append(RuledOut(factors=factors, before=len(self.trials), **more))

    def _on_segment_started(self, event: Event) -> None:
        trial = self.trials[event.data["trial"]]
        trial.status = "running"
        self.waiting.discard(trial.number)
        trial.segments += 1
        if event.data.get("placed", True):
            self._see_slot()
        trial.estimate = trial.estimate or event.data.get("estimate")
        trial.threads = event.data.get("threads", trial.threads)
        # A segment may resume before the last reported epoch if the newest checkpoint was damaged.
        trial.reports = trial.reports.up_to(event.data["from_epoch"])

    def _on_segment_placed(self, event: Event) -> None:
        """Of journals whose segments were started before they had a worker."""
        self._see_slot()

    def _see_slot(self) -> None:
        """One more segment has a worker: a cluster may have grown."""
        placed = self.usage.running + 1
        if self.launches and placed > self.launches[-1].slots:
            self.launches[-1] = replace(self.launches[-1], slots=placed)

    def _on_reported(self, event: Event) -> None:
        data = event.data
        trial = self.trials[data["trial"]]
        trial.reports.add(data["epoch"], data["metrics"], data["seconds"], event.time)
        trial.unwritten_segments = 0
        trial.tested = data.get("tested")
        trial.scores, trial.shifted = data.get("scores"), data.get("shifted")
        trial.health = data.get("health")
        trial.snapshots = tuple(data.get("snapshots", ()))
        if trial.kernels is None and "kernels" in data:
            trial.kernels = tuple(data["kernels"])
        trial.computed = trial.computed or data.get("computed")
        self.images = self.images or data.get("images", {})
        trial.loading = trial.loading or data.get("loading")
        if trial.peak_bytes is None:
            trial.peak_bytes = data.get("peak_bytes")

    def _on_segment_ended(self, event: Event) -> None:
        trial = self.trials[event.data["trial"]]
        trial.status = "waiting"
        self.waiting.add(trial.number)
        if event.data["cause"] == SegmentEnd.LOST:
            trial.ready_at = event.time + BACK_OFF_S[min(trial.lost_segments, len(BACK_OFF_S) - 1)]
            trial.lost_segments += 1
            trial.lost_details = event.data.get("details", {})
        elif event.data["cause"] == SegmentEnd.CHECKPOINT:
            wait = BACK_OFF_S[min(trial.unwritten_segments, len(BACK_OFF_S) - 1)]
            trial.ready_at = event.time + wait
            trial.unwritten_segments += 1
        elif event.data["cause"] == SegmentEnd.MEMORY:
            trial.micro_batches *= 2

    def _on_trial_ended(self, event: Event) -> None:
        trial = self.trials[event.data["trial"]]
        self.unended.discard(trial.number)
        self.waiting.discard(trial.number)
        trial.status = event.data["status"]
        trial.cause, trial.details = _cause(event)
        trial.ended_at = event.time
        self.ended.append(trial.number)

    def _on_weights_dropped(self, event: Event) -> None:
        for number in event.data["trials"]:
            self.trials[number].weights_dropped = True

    def _on_snapshots_dropped(self, event: Event) -> None:
        for number in event.data["trials"]:
            self.trials[number].snapshots_dropped = True

    def _on_search_cut(self, event: Event) -> None:
        _, self.search_cut = _cause(event)

    def _on_shortlist_planned(self, event: Event) -> None:
        self.search_ended_at = event.time
        self._set_aside(event.data.get("set_aside", ()))
        for each in event.data["contests"]:
            cells = [self.trials[number] for number in each["trials"]]
            self.shortlists.plan(each["label"], cells)

    def _on_confirmation_planned(self, event: Event) -> None:
        data, before = event.data, self.confirmation or {"cells": [], "skipped": [], "contests": []}
        cells = [{**cell, "level": level_of(cell["level"])} for cell in data["cells"]]
        self.confirmation = {
            "cells": [*before["cells"], *cells],
            "skipped": [*before["skipped"], *data["skipped"]],
            # Older journals plan all contests in one event, which does not name them.
            "contests": [*before["contests"], *data["contests"]] if "contests" in data else None,
        }
        if not self.shortlists.planned:  # else it ended before the runs of the shortlists
            self.search_ended_at = event.time
        self._set_aside(data.get("set_aside", ()))

    def _on_seeds_added(self, event: Event) -> None:
        self.seeds_now.update(event.data["seeds"])

    def _on_output_lost(self, event: Event) -> None:
        """A standard stream of the launch can no longer be written: nothing changes."""

    def _on_interrupted(self, event: Event) -> None:
        self.status = "interrupted"
        self.cause, self.details = event.data["cause"], event.data["details"]

    def _on_study_ended(self, event: Event) -> None:
        self.status = event.data["status"]
        self.cause, self.details = _cause(event)
        self.ended_at = event.time


def data_of(recorded: Mapping[str, Any], section: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a journal says of the data of a trial: fingerprint, classes, contents.

    Args:
        recorded: `data` of `study_created`; with `sets` where arms have several data sets.
        section: `data` of the trial's configuration.
    """
    for each in recorded.get("sets", ()):
        if all(section.get(key) == value for key, value in each["settings"].items()):
            found: Mapping[str, Any] = each
            return found
    return recorded


def _cause(event: Event) -> tuple[str, Mapping[str, Any]]:
    """Cause code and details of an event; empty if it has none."""
    return event.data.get("cause", ""), event.data.get("details", {})


def _references(created: Mapping[str, Any]) -> dict[Level, str]:
    """`Space.references`, from the data of `study_created`."""
    if "references" in created:
        return {level_of(each["level"]): each["arm"] for each in created["references"]}
    # Studies of the first version have one reference for all levels.
    by, label = created["confirm"]["by"], created["reference"]
    others = [arm["factors"] for arm in created["arms"] if arm["label"] != label]
    return {factors[by]: label for factors in others if by in factors}
