"""The search: Optuna proposes trials, for each arm or over all arms, from the trials in the journal."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
)
from optuna.trial import TrialState, create_trial

from karat.causes import Failure, Stop
from karat.journal.trial import RuledOut, Trial
from karat.parameters import Level
from karat.planning.constraints import may_vary, violation
from karat.planning.plans import Proposal
from karat.planning.plans.drawing import directions_of, distribution, suggest, suggest_levels
from karat.planning.plans.schedule import JOINT, grid_of, schedule_of
from karat.prior import PriorTrial, WarmStart
from karat.samplers import SAMPLERS, Turn
from karat.seeds import derive
from karat.space.space import Arm, Space
from karat.space.stopping import group_of

_ATTEMPTS = 100
MOST_PROPOSALS = 20  # for one place, of which none may be trained
optuna.logging.set_verbosity(optuna.logging.WARNING)


class Search:
    """Proposes the trials of the search one by one, and learns from their results.

    Every group has an Optuna study in memory, which is rebuilt by calling `asked`,
    `reported` and `ended` for the events in the journal. With `allocation: equal` each arm is a
    separate group, so that all arms are tuned with the same budget. With `free` one group has all
    arms, among which the sampler chooses, and each reference arm has a reserved share of trials, so
    that it is always tuned. With several tunings each is a group of its own. The sampler gets a level as its index in the space file, since Optuna
    takes no lists.

    Args:
        space: of the study.
        before: the search before the study was extended.
        void: number of trials asked for by `before` that no longer count.
        warm_start: results of an older study, told before the first trial; they stay when the search is extended.
    """

    def __init__(
        self,
        space: Space,
        before: "Search | None" = None,
        void: int = 0,
        warm_start: WarmStart | None = None,
    ) -> None:
        self.space, self._warm_start = space, warm_start
        self._asked = 0
        begun = before.schedule[: before._asked] if before else []
        self.schedule: list[tuple[str, int]] = schedule_of(space, begun, void)
        self._grids: dict[str, list[dict[str, Any]]] = {}
        self._arms = {
            group_of(label, tuning): (arm, tuning)
            for tuning in range(space.confirm.tunings)
            for label, arm in space.arms.items()
        }
        if space.search.sampler == "grid":
            for group, (arm, _) in self._arms.items():
                known = before._grids[group] if before else []
                new = [cell for cell in grid_of(arm, space.tuned) if cell not in known]
                self._grids[group] = [*known, *new]
        directions = directions_of(space.search)
        self._sizes = {group: 0 for group, _ in self.schedule}
        for group, _ in self.schedule:
            self._sizes[group] += 1
        # The sampler is for trials of the journal, which need none; the default one would model them.
        idle = optuna.samplers.RandomSampler(seed=0)
        self._studies = {
            group: optuna.create_study(directions=directions, sampler=idle) for group in self._sizes
        }
        self._parameters = {
            group: self._distributions(
                space.tuned if group == JOINT else self._arms[group][0].tuned
            )
            for group in self._sizes
        }
        self._proposed: optuna.Trial | None = None
        self._attempt = 0  # proposals for the next place that must not be trained
        self._running: dict[int, optuna.Trial] = {}
        self._void = void
        for prior in warm_start.trials if warm_start else ():
            self._tell(prior)

    @property
    def total(self) -> int:
        """The planned number of trials that count."""
        return len(self.schedule) - self._void

    @property
    def all_asked(self) -> bool:
        """Whether every trial of the search has been asked for."""
        return self._asked == len(self.schedule)

    @property
    def to_come(self) -> Counter[str | None]:
        """Arms of the trials that were not asked for yet, with their number; None where the sampler chooses."""
        groups = Counter(group for group, _ in self.schedule[self._asked :])
        found: Counter[str | None] = Counter()
        for group, count in groups.items():
            found[None if group == JOINT else self._arms[group][0].label] += count
        return found

    def extended(
        self, space: Space, trials: Iterable[Trial], ruled_out: Iterable[RuledOut] = ()
    ) -> "Search":
        """The search of an extended study; it has learned from all trials so far.

        Args:
            space: the larger space.
            trials: of the search, in the order in which they were asked for. The sampler learns
                from trials that are set aside too, but new ones replace them.
            ruled_out: proposals that were not trained.
        """
        known = list(trials)
        void = sum(trial.set_aside for trial in known)
        search = Search(space, self, void, self._warm_start)
        others = deque(ruled_out)
        for trial in known:
            while others and others[0].before <= trial.number:
                search.ruled_out(others.popleft())
            search.asked(trial)
            for report in trial.reports:
                if violation(space, report.epoch, report.metrics) is not None:
                    continue
                value = report.metrics[space.search.metric]
                search.reported(trial.number, report.epoch, value)
            if trial.ended:
                search.ended(trial)
        for each in others:
            search.ruled_out(each)
        return search

    def propose(self) -> Proposal:
        """Propose the next trial; deterministic given the trials so far."""
        group, index = self.schedule[self._asked]
        study = self._studies[group]
        if group != JOINT:
            arm, tuning = self._arms[group]
            if self._grids:
                grid = self._grids[group]
                tuned = grid[
                    index % len(grid)
                ]  # again from the start, if an extension made trials longer
            else:
                study.sampler = self._sampler(group, index, self._attempt, tuning=tuning)
                trial = study.ask(self._parameters[group])
                tuned = trial.params
                self._proposed = trial
            seed_index = index * self.space.confirm.tunings + tuning
            return Proposal(arm=arm, tuned=tuned, seed_index=seed_index, tuning=tuning)
        return self._propose_jointly(study, index)

    def asked(self, trial: Trial) -> None:
        """Add the next trial of the journal; in a replay without `propose` it is enqueued in Optuna."""
        group, _ = self.schedule[self._asked]
        self._asked, self._attempt = self._asked + 1, 0
        if not self._grids:
            self._running[trial.number] = self._taken(group, trial)

    def ruled_out(self, proposal: RuledOut) -> None:
        """The next proposal of the journal must not be trained; the sampler is told so, as of a constraint that is broken."""
        group, _ = self.schedule[self._asked]
        self._attempt += 1
        if proposal.given_up:
            self._asked, self._attempt = self._asked + 1, 0
        if not self._grids:
            taken = self._taken(group, proposal)
            taken.set_constraint("limits", 1.0)
            taken.study.tell(taken, state=TrialState.PRUNED)

    def gives_up(self, arm: Arm) -> bool:
        """Whether the place of the next proposal stays empty if that must not be trained.

        Args:
            arm: of the proposal.
        """
        group, _ = self.schedule[self._asked]
        varies = group == JOINT or may_vary(arm, self.space.search.limits)
        return bool(self._grids) or not varies or self._attempt + 1 >= MOST_PROPOSALS

    def _taken(self, group: str, proposal: Trial | RuledOut) -> optuna.Trial:
        """Optuna's trial of a proposal: what was proposed, or in a replay without `propose` an enqueued one."""
        if self._proposed is not None:
            taken, self._proposed = self._proposed, None
            return taken
        study = self._studies[group]
        params, distributions = self._known(group, proposal.tuned, proposal.factors)
        study.enqueue_trial(params)
        return study.ask(distributions)

    def reported(self, number: int, epoch: int, value: float) -> None:
        """A trial reported the metric; a second report of the same epoch is ignored."""
        running = self._running.get(number)
        if running is None or self.space.search.goals:  # Optuna takes no reports of several goals
            return
        known = running.study.get_trials(deepcopy=False)[running.number].intermediate_values
        if epoch not in known:  # else Optuna warns
            running.report(value, epoch)

    def ended(self, trial: Trial) -> None:
        """A trial ended: completed, stopped early (pruned for Optuna) or failed.

        Out of memory is a violated constraint for Optuna, as those of `search.constraints` are: samplers ignore
        failed trials, and would propose the same region again and again.
        """
        running = self._running.pop(trial.number, None)
        if running is None:
            return
        if trial.status == "completed" and not trial.set_aside:
            self._complete(running, trial)
        elif trial.cause == Stop.CONSTRAINT:
            running.set_constraint("constraints", 1.0)
            running.study.tell(running, state=TrialState.PRUNED)
        elif trial.status in ("completed", "stopped"):
            running.study.tell(running, state=TrialState.PRUNED)
        elif trial.cause == Failure.MEMORY:
            running.set_constraint("memory", 1.0)
            running.study.tell(running, state=TrialState.PRUNED)
        else:
            running.study.tell(running, state=TrialState.FAIL)

    def _complete(self, running: optuna.Trial, trial: Trial) -> None:
        """Tell the value of a completed trial, or of each goal; one without a value of a goal has failed for the sampler."""
        goals = self.space.search.goals
        names = [goal.metric for goal in goals] or [self.space.search.metric]
        values = [value for name in names if (value := trial.goal(name)) is not None]
        if len(values) < len(names):
            running.study.tell(running, state=TrialState.FAIL)
        else:
            running.study.tell(running, values)

    def _propose_jointly(self, study: optuna.Study, index: int) -> Proposal:
        by_levels = {_key(arm.factors): arm for arm in self.space.arms.values()}
        for attempt in range(_ATTEMPTS):
            study.sampler = self._sampler(JOINT, index, self._attempt * _ATTEMPTS + attempt)
            trial = study.ask()
            levels = suggest_levels(trial, self.space)
            arm = by_levels.get(_key(levels))
            if arm is not None:
                for key in arm.tuned:
                    suggest(trial, self.space.tuned[key])
                tuned = {key: trial.params[key] for key in arm.tuned}
                self._proposed = trial
                return Proposal(arm=arm, tuned=tuned, seed_index=index)
            study.tell(trial, state=TrialState.FAIL)  # an excluded combination
        raise AssertionError(f"no runnable arm in {_ATTEMPTS} draws")

    def _tell(self, prior: PriorTrial) -> None:
        """Add a result of an older study: to the group of its arm, or to that of all."""
        group = prior.arm if prior.arm in self._studies else JOINT
        factors = self.space.arms[prior.arm].factors
        params, distributions = self._known(group, prior.tuned, factors)
        told = create_trial(params=params, distributions=distributions, value=prior.value)
        self._studies[group].add_trial(told)

    def _known(
        self, group: str, tuned: Mapping[str, Any], factors: Mapping[str, Level]
    ) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """Values and distributions of a trial, as Optuna gets them: where the sampler chooses the arm, with its levels."""
        params, distributions = dict(tuned), self._distributions(tuned)
        if group == JOINT:
            for key, level in factors.items():
                values = self.space.factors[key].values
                distributions[key] = CategoricalDistribution(range(len(values)))
                params[key] = values.index(level)
        return params, distributions

    def _distributions(self, keys: Iterable[str]) -> dict[str, BaseDistribution]:
        return {key: distribution(self.space.tuned[key]) for key in keys}

    def _sampler(
        self, group: str, index: int, attempt: int = 0, tuning: int = 0
    ) -> optuna.samplers.BaseSampler:
        # The seed does not depend on the arm: all arms are tuned with the same random draws.
        name, seed = self.space.name, self.space.seed
        number = index * self.space.confirm.tunings + tuning
        turn = Turn(
            seed=derive(name, seed, "sampler", number, attempt),
            series=derive(name, seed, "series", tuning),
            index=index,
            trials=self._sizes[group],
            parameters=self._parameters[group],
            attempt=self._attempt,
        )
        return SAMPLERS[self.space.search.sampler].make(turn)


def _key(levels: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(levels.items()))
