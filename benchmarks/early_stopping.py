"""What early stopping loses and saves, on learning curves, without training.

    python -m benchmarks.early_stopping

Many arms are searched with each rule, at several numbers of trials in an arm; the trials of all arms are
interleaved as in a study, two at a time. An arm's best trial is the one with the best value at full length;
it is lost if the rule stops it. The gap is what the best completed trial is below it. The rival of each rule
is to run as many trials at full length as its epochs pay for, chosen before anything is known about them.

`recorded` curves are real: `early_stopping_curves.json` says of what. Arms are drawn from each recorded arm's
trials without replacement, so that there cannot be more than were recorded. `modelled` ones are those of the
forecast (`karat.forecast.curves.ModelledCurves`): a power law towards a plateau, with noise.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.measuring import machine
from karat.errors import SettingError
from karat.forecast.curves import Curves, ModelledCurves, TrialInfo
from karat.forecast.event_loop import EventLoop
from karat.forecast.schedule import Plan
from karat.schedulers import ArmSize, make_scheduler

RECORDED = Path(__file__).with_name("early_stopping_curves.json")
TRIALS = (4, 6, 12, 24)
ARMS_AT_A_TIME, SLOTS = 10, 2


def rules(trials: int) -> dict[str, dict[str, Any]]:
    """The rules compared, with settings that are possible for this number of trials in an arm."""
    third = math.ceil(trials / 3)
    return {
        "asha, grace 1": {"scheduler": "asha", "grace_epochs": 1},
        "asha, grace 2": {"scheduler": "asha", "grace_epochs": 2},
        "hyperband": {"scheduler": "hyperband"},
        "median": {"scheduler": "median", "min_trials": min(3, trials - 1)},
        f"one_epoch, keep {third}": {"scheduler": "one_epoch", "keep": third},
    }


@dataclass(frozen=True)
class Searched:
    """One study: its trials in the order in which they are asked for, and their curves."""

    infos: Sequence[TrialInfo]
    curves: Curves

    @property
    def epochs(self) -> int:
        """Of a trial at full length."""
        return self.infos[0].epochs

    @property
    def by_arm(self) -> dict[str, list[TrialInfo]]:
        """The trials of each arm, in their order."""
        found: dict[str, list[TrialInfo]] = {}
        for info in self.infos:
            found.setdefault(info.arm, []).append(info)
        return found

    def finals(self) -> list[list[float]]:
        """Values at full length of the trials of each arm."""
        arms = self.by_arm.values()
        return [[self.curves.value(each, self.epochs) for each in arm] for arm in arms]

    def lengths(self, settings: Mapping[str, Any]) -> list[list[int]]:
        """Epochs that the trials of each arm have with a rule."""
        arms = self.by_arm
        sizes = {arm: ArmSize(trials=len(infos), epochs=self.epochs) for arm, infos in arms.items()}
        plan = Plan(self.infos, [], [], self.curves, make_scheduler(settings, "max", sizes))
        EventLoop(SLOTS).run(plan)
        return [[plan.epochs[each.number] for each in arm] for arm in arms.values()]


class Source(Protocol):
    """Where studies come from."""

    def study(self, trials: int, number: int) -> Searched | None:
        """A study with this many trials in each arm; None if there are not as many."""


@dataclass(frozen=True)
class Modelled:
    """Curves of the forecast; `noise` is the standard deviation of a value."""

    epochs: int = 10
    noise: float = 0.01

    def study(self, trials: int, number: int) -> Searched:
        labels = [f"arm {place}" for place in range(ARMS_AT_A_TIME)]
        curves = ModelledCurves(1000 + number, dict.fromkeys(labels, 1.0), noise=self.noise)
        order = in_turn(labels, trials, number)
        return Searched([_info(place, arm, self.epochs) for place, arm in enumerate(order)], curves)


@dataclass(frozen=True)
class Recorded:
    """Real curves: label of each arm to the values of its trials by epoch."""

    arms: Mapping[str, Sequence[Sequence[float]]]

    def study(self, trials: int, number: int) -> Searched | None:
        if trials > min(map(len, self.arms.values())):
            return None
        draw, labels = random.Random(number), list(self.arms)
        chosen = {arm: iter(draw.sample(self.arms[arm], trials)) for arm in labels}
        rows = [(arm, next(chosen[arm])) for arm in in_turn(labels, trials, number)]
        infos = [_info(place, arm, len(row)) for place, (arm, row) in enumerate(rows)]
        return Searched(infos, _Rows([row for _, row in rows]))


@dataclass(frozen=True)
class _Rows:
    rows: Sequence[Sequence[float]]

    def value(self, trial: TrialInfo, epoch: int) -> float:
        return self.rows[trial.number][epoch - 1]

    def seconds(self, trial: TrialInfo, epoch: int) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of one rule at one number of trials in an arm, over all arms.

    Args:
        lost: share of arms whose best trial was stopped.
        cost: epochs that were run, as a share of those of all trials at full length.
        gap: mean distance of the best completed trial from the best of all, in points.
        full: trials at full length for the same epochs, which need not be a whole number.
        full_lost, full_gap: of these, interpolated between the whole numbers beside `full`.
    """

    rule: str
    trials: int
    lost: float
    cost: float
    gap: float
    full: float
    full_lost: float
    full_gap: float


def measure(
    rule: str, settings: Mapping[str, Any], source: Source, trials: int, studies: int
) -> Outcome | None:
    """Run a rule over many studies; None where it is impossible with so few trials in an arm."""
    gaps: list[float] = []
    finals: list[list[float]] = []
    spent = 0
    for number in range(studies):
        study = source.study(trials, number)
        if study is None:
            return None
        try:
            lengths = study.lengths(settings)
        except SettingError:
            return None
        for values, had in zip(study.finals(), lengths, strict=True):
            done = [v for v, n in zip(values, had, strict=True) if n == study.epochs]
            gaps.append(max(values) - max(done))
            finals.append(values)
            spent += sum(had)
        epochs = study.epochs
    full = max(1.0, spent / (len(gaps) * epochs))
    full_lost, full_gap = _of_first(finals, full)
    return Outcome(
        rule=rule,
        trials=trials,
        lost=_share_lost(gaps),
        cost=spent / (len(gaps) * trials * epochs),
        gap=100 * float(np.mean(gaps)),
        full=full,
        full_lost=full_lost,
        full_gap=full_gap,
    )


def outcomes(source: Source, counts: Sequence[int], studies: int) -> Iterator[Outcome]:
    """Every rule at every number of trials in an arm, where it is possible."""
    for trials in counts:
        for rule, settings in rules(trials).items():
            found = measure(rule, settings, source, trials, studies)
            if found is not None:
                yield found


def table(found: Sequence[Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    lines = [
        "| trials in an arm | rule | epochs | best trial lost | gap (points) | "
        "full trials for the same epochs | best trial lost | gap (points) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.trials} | {each.rule} | {each.cost:.0%} | {each.lost:.0%} | {each.gap:.2f} | "
        f"{each.full:.1f} | {each.full_lost:.0%} | {each.full_gap:.2f} |"
        for each in found
    ]
    return "\n".join(lines)


def in_turn(labels: Sequence[str], trials: int, seed: int) -> list[str]:
    """The arms of all trials: each arm once in every round, in a new random order."""
    draw = random.Random(seed)
    return [label for _ in range(trials) for label in draw.sample(labels, len(labels))]


def _of_first(finals: Sequence[Sequence[float]], count: float) -> tuple[float, float]:
    """Share lost and gap (points) if the first `count` trials of each arm run at full length."""
    below, found = math.floor(count), []
    for whole in (below, below + 1):
        gaps = [max(values) - max(values[:whole]) for values in finals]
        found.append((_share_lost(gaps), 100 * float(np.mean(gaps))))
    rest = count - below
    lost, gap = (low + rest * (high - low) for low, high in zip(*found, strict=True))
    return lost, gap


def _share_lost(gaps: Sequence[float]) -> float:
    return float(np.mean([gap > 0 for gap in gaps]))


def _info(number: int, arm: str, epochs: int) -> TrialInfo:
    return TrialInfo(arm=arm, tuned={}, number=number, seed=number, epochs=epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, nargs="+", default=TRIALS, help="in an arm")
    parser.add_argument("--studies", type=int, default=100, help="for each row (100)")
    parser.add_argument("--noise", type=float, default=0.01, help="of a modelled value, sd (0.01)")
    options = parser.parse_args()
    started = time.perf_counter()
    content = json.loads(RECORDED.read_text())
    sources = {
        f"recorded: {content['about']}": Recorded(content["arms"]),
        f"modelled, noise {options.noise:g}": Modelled(noise=options.noise),
    }
    for name, source in sources.items():
        print(f"\n{name}\n\n{table(list(outcomes(source, options.trials, options.studies)))}")
    print(f"\n{machine()}; {options.studies} studies for each row")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
