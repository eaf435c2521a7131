"""The early stopping of a study: the rule of its space, and the share of stops that is audited."""

from collections.abc import Iterator

from karat.journal.trial import Trial
from karat.schedulers import make_scheduler
from karat.seeds import derive
from karat.space.space import Space
from karat.space.stopping import group_of


class Stopping:
    """Which search trials wait and stop, folded from the events of the journal.

    An audited trial goes on where the rule stops it. The rule sees nothing of what it reports
    afterwards, so that all its other decisions are those that it would take without the audit.

    Args:
        space: of the study.
    """

    def __init__(self, space: Space) -> None:
        self._rule = make_scheduler(space.early_stopping, space.search.mode, space.sizes)
        self._goals = space.search.goals
        self._audited: set[int] = set()
        self._epochs: dict[int, int] = {}  # of the search trials that have not ended
        self._spared: dict[int, int] = {}  # audited trial to the epoch at which the rule stops it

    def fit(self, space: Space) -> None:
        """Go on in a larger space, whose trials are as long as before."""
        self._rule.fit(space.sizes)

    def asked(self, trial: Trial) -> None:
        """A search trial was asked for."""
        self._epochs[trial.number] = 0
        if trial.audited:
            self._audited.add(trial.number)
        self._rule.on_asked(group_of(trial.arm, trial.tuning), trial.number)

    def reported(self, trial: Trial, epoch: int, value: float) -> bool:
        """A search trial reported; True if it must stop."""
        if trial.number in self._spared:
            return False
        self._epochs[trial.number] = epoch
        stop = self._stops_at(trial, epoch, value)
        # At its last epoch a trial is complete, whatever the rule says.
        return stop and epoch < trial.epochs and self._stops(trial.number)

    def ended(self, trial: Trial) -> None:
        """A search trial ended."""
        self._epochs.pop(trial.number, None)
        self._audited.discard(trial.number)
        self._spared.pop(trial.number, None)
        self._rule.on_ended(group_of(trial.arm, trial.tuning), trial.number)

    def close(self) -> None:
        """No more search trials will be asked for."""
        self._rule.close()

    def waits(self, number: int) -> bool:
        """Whether a trial must not train now."""
        return number in self._epochs and self._rule.waits(number)

    def rejected(self) -> Iterator[int]:
        """Trials that have waited and must stop now; each is returned once."""
        for number in self._rule.rejected():
            if number in self._epochs and self._stops(number):
                yield number

    def spared(self, number: int) -> int | None:
        """The epoch at which the rule would have stopped an audited trial; None if it would not."""
        return self._spared.get(number)

    def _stops_at(self, trial: Trial, epoch: int, value: float) -> bool:
        """What the rule says; with several goals it compares all, and a trial without a value of one goes on."""
        group = group_of(trial.arm, trial.tuning)
        if not self._goals:
            return self._rule.on_report(group, trial.number, epoch, value)
        values = [(goal, trial.goal(goal.metric)) for goal in self._goals]
        known = [goal.goodness(each) for goal, each in values if each is not None]
        if len(known) < len(values):
            return False
        return self._rule.on_goals(group, trial.number, epoch, known)

    def _stops(self, number: int) -> bool:
        """Whether a trial that the rule stops is to stop; an audited one is spared."""
        if number not in self._audited:
            return True
        self._spared[number] = self._epochs[number]
        return False


def is_audited(space: Space, number: int) -> bool:
    """Whether a search trial goes on where the rule stops it: a draw fixed by the trial's number."""
    share = space.audit_share
    return share > 0 and derive(space.name, space.seed, "audit", number) < share * 2**31
