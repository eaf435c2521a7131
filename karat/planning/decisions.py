"""The decisions of a study as pure functions of its events so far: the same live and in a replay."""

from collections.abc import Mapping
from typing import Any

from karat.causes import Audit, Failure, Stop, StudyFailure
from karat.constraints import Constraint
from karat.journal.journal import Event
from karat.journal.state import StudyState
from karat.journal.trial import Phase
from karat.planning.constraints import violation
from karat.planning.extension import longer
from karat.planning.plans import Proposal
from karat.planning.plans.adaptive import Search
from karat.planning.plans.confirmation import (
    confirmation_proposal,
    contests_of,
    totals_after_search,
)
from karat.planning.plans.shortlist import due_plan, shortlist_proposal
from karat.planning.stopping import Stopping, is_audited
from karat.planning.top_up import seeds_to_add
from karat.prior import WarmStart
from karat.space.reader import space_of
from karat.space.space import Space

MAX_LOST_SEGMENTS = 3
SAME_ERRORS = 5


class Decisions:
    """State, plan and early stopping of a study, all folded from its events.

    Args:
        space: as the study was created; extensions follow from the events.
        place: folder of the study, for messages.
    """

    def __init__(self, space: Space, place: str) -> None:
        self.space, self._place = space, place
        self.state = StudyState()
        self.search = Search(space)
        self.contests = contests_of(space)
        self._stopping = Stopping(space)
        self._verdicts: dict[int, str] = {}
        self._broken: dict[int, dict[str, Any]] = {}  # trial to details of `Stop.CONSTRAINT`

    def observe(self, event: Event) -> None:
        """Apply an event, live or when the journal is folded."""
        self.state.apply(event)
        if event.kind == "study_created":
            if (begun_with := WarmStart.of(event.data)) is not None:
                self.search = Search(self.space, warm_start=begun_with)
        elif event.kind == "study_extended":
            self._grow(event.data["description"])
        elif event.kind == "search_cut":
            self._stopping.close()
        elif event.kind == "trial_ruled_out":
            self.search.ruled_out(self.state.ruled_out[-1])
        self._observe_trial(event)
        for number in self._stopping.rejected():
            self._verdicts[number] = "stopped"

    def _observe_trial(self, event: Event) -> None:
        trial = self.state.trials.get(event.data.get("trial", -1))
        if trial is None:
            return
        searching = trial.phase == "search"
        if event.kind == "trial_asked" and searching:
            self.search.asked(trial)
            self._stopping.asked(trial)
        elif event.kind == "reported":
            epoch = event.data["epoch"]
            stop = False
            if searching and (details := violation(self.space, epoch, event.data["metrics"])):
                # Neither the sampler nor early stopping compares others with what is not allowed.
                self._broken[trial.number], self._verdicts[trial.number] = details, "stopped"
                return
            if searching:
                value = event.data["metrics"][self.space.search.metric]
                self.search.reported(trial.number, epoch, value)
                stop = self._stopping.reported(trial, epoch, value)
            if epoch >= trial.epochs:
                self._verdicts[trial.number] = "completed"
            elif stop:
                self._verdicts[trial.number] = "stopped"
        elif event.kind == "trial_ended":
            self._verdicts.pop(trial.number, None)
            self._broken.pop(trial.number, None)
            if searching:
                self.search.ended(trial)
                self._stopping.ended(trial)
                if self._hopeless() is not None:  # no more trials are asked for
                    self._stopping.close()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to run."""
        return self.state.status in ("completed", "failed")

    @property
    def search_is_over(self) -> bool:
        """Whether all trials of the search have been asked for, or the search was cut."""
        return self.search.all_asked or self.state.search_cut is not None

    @property
    def total_trials(self) -> dict[Phase, int]:
        """The planned number of trials of each phase; with the seeds that were added so far."""
        cells = sum(not self.state.is_planned(contest.label) for contest in self.contests)
        confirm, listed = self.space.confirm, self.state.shortlists
        unlisted = sum(contest.label not in listed.planned for contest in self.contests)
        again = unlisted * confirm.shortlist_runs + len(listed.runs) * confirm.fresh_seeds
        total = self.search.total - self.state.given_up
        if self.state.search_cut is not None:
            total = len(self.state.of_phase("search"))
        runs = cells * confirm.runs_each + self.state.planned_runs
        return {"search": total, **({"shortlist": again} if again else {}), "confirm": runs}

    @property
    def most_confirmed(self) -> int:
        """Confirmation runs if every arm gets all the seeds that it may."""
        cells = sum(not self.state.is_planned(contest.label) for contest in self.contests)
        if self.state.confirmation is not None:
            cells += len(self.state.confirmation["cells"])
        confirm = self.space.confirm
        return cells * confirm.most_each * len(confirm.budgets)

    def totals_of(self, larger: Space) -> dict[str, int]:
        """The number of trials of each phase if the study were extended to `larger`."""
        searched = [trial for trial in self.state.trials.values() if trial.phase == "search"]
        is_longer = longer(self.space, larger)
        void = sum(is_longer or trial.set_aside for trial in searched)
        return {
            "search": Search(larger, self.search, void).total,
            **totals_after_search(larger),
        }

    def verdict(self, number: int) -> str | None:
        """`completed` or `stopped` if a trial's reports decide so and its end is not recorded yet."""
        return self._verdicts.get(number)

    @property
    def due(self) -> tuple[int, str] | None:
        """A trial with a verdict (see there), and the verdict; None if there is none."""
        return next(iter(self._verdicts.items()), None)

    def waits(self, number: int) -> bool:
        """Whether a trial must not train, until early stopping has decided about it."""
        return number not in self._verdicts and self._stopping.waits(number)

    def spared(self, number: int) -> int | None:
        """The epoch at which a trial would have been stopped that is finished anyway; else None."""
        return self._stopping.spared(number)

    def end_of(self, number: int, verdict: str) -> dict[str, Any]:
        """How a trial with a verdict ends, as data of `trial_ended`."""
        trial, cause, details = self.state.trials[number], "", {}
        spared = self.spared(number)
        if verdict == "completed" and spared is not None:
            cause, details = Audit.FINISHED_ANYWAY.value, {"epoch": spared}
        elif verdict == "stopped" and trial.set_aside:
            cause = Stop.EXTENDED.value
        elif verdict == "stopped" and number in self._broken:
            cause, details = Stop.CONSTRAINT.value, self._broken[number]
        elif verdict == "stopped":
            cause, details = Stop.EARLY_STOPPING.value, {"epoch": trial.reports[-1].epoch}
        more = {"cause": cause, "details": details}
        return {"trial": number, "status": verdict} | {k: v for k, v in more.items() if v}

    def is_tried_again(self, number: int, cause: str) -> bool:
        """Whether a trial whose segment failed with this cause is retried."""
        trial = self.state.trials[number]
        if cause == Failure.LOST:
            return trial.lost_segments <= MAX_LOST_SEGMENTS
        return cause == Failure.MEMORY and trial.micro_batches == 1

    def proposal(self) -> dict[str, Any] | None:
        """The next trial, as data of `trial_asked`; None if there is none now."""
        if self.finished or self._hopeless() is not None:
            return None
        asked = len(self.state.trials)
        phase: Phase = "search"
        if not self.search_is_over:
            proposal: Proposal | None = self.search.propose()
        elif (again := shortlist_proposal(self.space, self.state, self.contests)) is not None:
            proposal = again
            phase = "shortlist"
        else:
            phase = "confirm"
            proposal = confirmation_proposal(self.space, self.state)
        if proposal is None:
            return None
        config = proposal.config
        return {
            "trial": asked,
            "phase": phase,
            "arm": proposal.arm.label,
            "factors": dict(proposal.arm.factors),
            "tuned": dict(proposal.tuned),
            "config": config,
            "seed": self.space.seed_of(phase, proposal.seed_index),
            "seed_index": proposal.seed_index,
            "epochs": _epochs(config),
            **({"tuning": proposal.tuning} if proposal.tuning else {}),
            **({"budget": proposal.budget} if proposal.budget > 1 else {}),
            **({"audited": True} if phase == "search" and is_audited(self.space, asked) else {}),
        }

    def ruled_out(
        self, proposal: Mapping[str, Any], constraint: Constraint, value: float
    ) -> dict[str, Any]:
        """A proposal that must not be trained, as data of `trial_ruled_out`.

        Args:
            proposal: the next one, of the search (`proposal`).
            constraint: which it breaks.
            value: that breaks it.
        """
        given_up = self.search.gives_up(self.space.arms[proposal["arm"]])
        return {
            **{
                key: proposal[key]
                for key in ("arm", "factors", "tuned", "tuning")
                if key in proposal
            },
            "metric": constraint.metric,
            "relation": constraint.relation,
            "limit": constraint.limit,
            "value": value,
            **({"given_up": True} if given_up else {}),
        }

    def turn(self) -> tuple[str, dict[str, Any]] | None:
        """The next step of the plan that is due now, as kind and data of its event; None if none is.

        A contest is planned once its own search has ended, while others still search, and its cell is
        chosen once the runs of its shortlist have ended, if it has one (`due_plan`); the study ends
        once all trials have ended and none is left to ask for.
        """
        if self.finished:
            return None
        if (error := self._hopeless()) is not None:
            if self.state.unended:
                return None
            details = {"trials": SAME_ERRORS, "error": dict(error)}
            return "study_ended", _failed(StudyFailure.SAME_ERROR, details=details)
        if not self.search_is_over:
            return None
        if (plan := due_plan(self.space, self.state, self.contests)) is not None:
            return plan
        if self.state.unended:
            return None
        if self._is_left():
            return None
        if (added := seeds_to_add(self.state)) is not None:
            return "seeds_added", added
        confirmed = [t for t in self.state.of_phase("confirm") if t.status == "completed"]
        if not confirmed:
            return "study_ended", _failed(StudyFailure.NOTHING_COMPLETED, **self._none_allowed())
        return "study_ended", {"status": "completed"}

    def _none_allowed(self) -> dict[str, Any]:
        """Details of `StudyFailure.NOTHING_COMPLETED`, if trials of the search broke a constraint."""
        searched = self.state.of_phase("search")
        given_up = self.state.given_up
        stopped = given_up + sum(trial.cause == Stop.CONSTRAINT for trial in searched)
        of = given_up + len(searched)
        return {"details": {"stopped": stopped, "of": of}} if stopped else {}

    def _is_left(self) -> bool:
        """Whether a run of a shortlist or of the confirmation is to be asked for."""
        again = shortlist_proposal(self.space, self.state, self.contests)
        return again is not None or confirmation_proposal(self.space, self.state) is not None

    def _hopeless(self) -> Mapping[str, Any] | None:
        """Details of the error if the last `SAME_ERRORS` trials failed with the same one; else None."""
        last = [self.state.trials[number] for number in self.state.ended[-SAME_ERRORS:]]
        if len(last) < SAME_ERRORS or any(trial.cause != Failure.ERROR for trial in last):
            return None
        errors = {_kind_of(trial.details) for trial in last}
        return last[-1].details if len(errors) == 1 else None

    def _grow(self, description: Mapping[str, Any]) -> None:
        """Apply an extension, live or when the journal is folded."""
        before = self.space
        stopping = description["early_stopping"]
        self.space = space_of(description["space"], before.name, self._place, stopping)
        self.contests = contests_of(self.space)
        searched = [t for t in self.state.trials.values() if t.phase == "search"]
        self.search = self.search.extended(self.space, searched, self.state.ruled_out)
        if longer(before, self.space):  # values at the same epoch do not compare
            self._stopping = Stopping(self.space)
        else:
            self._stopping.fit(self.space)
        for trial in self.state.trials.values():
            if trial.set_aside and not trial.ended:
                self._verdicts[trial.number] = "stopped"


def _failed(cause: StudyFailure, **more: Any) -> dict[str, Any]:
    return {"status": "failed", "cause": cause.value, **more}


def _kind_of(error: Mapping[str, Any]) -> tuple[Any, ...]:
    """Key by which errors are the same: type and place, since messages may depend on the trial."""
    if "place" in error:
        return error["type"], error["place"]
    return tuple(sorted(error.items()))


def _epochs(config: Mapping[str, Any]) -> int:
    from karat.training.config import TrialConfig

    return TrialConfig.from_sections(config).training.epochs
