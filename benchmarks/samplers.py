"""Samplers and early-stopping rules on recorded learning curves, without training.

    python -m benchmarks.samplers [--lcbench FILE.json]

Each arm is searched by itself, two trials at a time, with karat's samplers and rules. A proposal gets the curve of the recorded
trial of its arm that is nearest to it, with every range scaled to the same length. The regret is what the best completed
trial is below the best recorded one, in points, averaged over the arms; its interval is over repetitions with other seeds.

Our own curves (`samplers_curves.json` says of what) are always used; LCBench (Zimmer et al. 2021, arXiv 2006.13799) only if its file is given,
`bench_full.json` or `data_2k.json` as its authors publish it: it is not part of this repository, and nothing is downloaded.
"""

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from scipy import stats

from benchmarks.measuring import machine
from karat.forecast.event_loop import EventLoop
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.samplers import SAMPLERS, Turn
from karat.samplers._unit import place_of
from karat.schedulers import ArmSize, Scheduler, make_scheduler
from karat.seeds import derive

RECORDED = Path(__file__).with_name("samplers_curves.json")
SLOTS, TRIALS, BUDGETS = 2, 24, (4, 8, 12, 24)
NAMES = tuple(name for name in SAMPLERS if name != "grid")
# In LCBench every configuration has these, within these ranges.
LCBENCH: dict[str, BaseDistribution] = {
    "batch_size": IntDistribution(16, 512, log=True),
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "momentum": FloatDistribution(0.1, 0.99),
    "weight_decay": FloatDistribution(1e-5, 1e-1),
    "num_layers": IntDistribution(1, 5),
    "max_units": IntDistribution(64, 1024, log=True),
    "max_dropout": FloatDistribution(0.0, 1.0),
}


@dataclass(frozen=True)
class Table:
    """Recorded trials of one arm.

    Args:
        space: parameter to distribution.
        places: of each trial in the unit cube, [trials, parameters].
        curves: value after each epoch, [trials, epochs]; high ones are good.
    """

    space: Mapping[str, BaseDistribution]
    places: "np.ndarray[Any, Any]"
    curves: "np.ndarray[Any, Any]"

    @classmethod
    def of(
        cls, space: Mapping[str, BaseDistribution], trials: Sequence[tuple[Mapping[str, Any], Any]]
    ) -> "Table":
        places = [[place_of(d, tuned[name]) for name, d in space.items()] for tuned, _ in trials]
        return cls(space, np.array(places), np.array([values for _, values in trials], float))

    @property
    def best(self) -> float:
        """The best value at full length."""
        return float(self.curves[:, -1].max())

    @property
    def epochs(self) -> int:
        return int(self.curves.shape[1])

    def curve(self, tuned: Mapping[str, Any]) -> "np.ndarray[Any, Any]":
        """The curve of the nearest trial."""
        place = [place_of(d, tuned[name]) for name, d in self.space.items()]
        return np.asarray(self.curves[((self.places - place) ** 2).sum(1).argmin()])


@dataclass
class Searching:
    """The search of one arm, as a workload of `EventLoop`."""

    table: Table
    sampler: str
    rule: Scheduler
    trials: int
    seed: int
    is_over: bool = False
    spent: int = 0  # epochs
    best: list[tuple[int, float]] = field(default_factory=list)  # epochs spent, best completed
    _running: dict[int, optuna.Trial] = field(default_factory=dict)
    _epochs: dict[int, int] = field(default_factory=dict)
    _held: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._study = optuna.create_study(direction="maximize")
        self._curves: dict[int, np.ndarray[Any, Any]] = {}

    def begin(self) -> int | None:
        for number in self._held:
            if not self.rule.waits(number):
                self._held.remove(number)
                return number
        number = len(self._curves)
        if number == self.trials:
            return None
        turn = Turn(
            seed=derive(self.seed, "sampler", number),
            series=derive(self.seed, "series"),
            index=number,
            trials=self.trials,
            parameters=self.table.space,
        )
        self._study.sampler = SAMPLERS[self.sampler].make(turn)
        trial = self._study.ask(dict(self.table.space))
        self._running[number], self._epochs[number] = trial, 0
        self._curves[number] = self.table.curve(trial.params)
        self.rule.on_asked("arm", number)
        return number

    def seconds(self, trial: int, epoch: int) -> float:
        return 1.0

    def report(self, trial: int, epoch: int) -> bool:
        value = float(self._curves[trial][epoch - 1])
        self._epochs[trial], self.spent = epoch, self.spent + 1
        self._running[trial].report(value, epoch)
        stop = self.rule.on_report("arm", trial, epoch, value)
        if epoch == self.table.epochs:
            self._end(trial, value)
            ended = True
        elif stop:
            self._end(trial, None)
            ended = True
        else:
            ended = self.rule.waits(trial)
            self._held += [trial] * ended
        for number in list(self.rule.rejected()):
            if number in self._held:
                self._held.remove(number)
                self._end(number, None)
        return ended

    def regret_at(self, epochs: float) -> float:
        """The regret of the best trial completed when so many epochs were spent; of the first one before that."""
        done = [value for spent, value in self.best if spent <= epochs] or [self.best[0][1]]
        return 100 * (self.table.best - max(done))

    def _end(self, number: int, value: float | None) -> None:
        trial = self._running.pop(number)
        if value is None:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, value)
            self.best.append((self.spent, value))
        self.rule.on_ended("arm", number)


def searched(
    table: Table, sampler: str, rule: Mapping[str, Any], seed: int, trials: int = TRIALS
) -> Searching:
    """A finished search of one arm."""
    sizes = {"arm": ArmSize(trials=trials, epochs=table.epochs)}
    found = Searching(table, sampler, make_scheduler(rule, "max", sizes), trials, seed)
    EventLoop(SLOTS).run(found)
    return found


def mean_text(values: Sequence[float]) -> str:
    """Mean and 95 % interval (Student's t) over repetitions."""
    mean = float(np.mean(values))
    if len(values) < 2 or np.ptp(values) == 0:
        return f"{mean:.2f}"
    low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=stats.sem(values))
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def of_samplers(tables: Sequence[Table], repetitions: int) -> Iterator[str]:
    """Every sampler, with all trials at full length: regret after so many of them."""
    yield f"| sampler | {' | '.join(f'after {count} trials' for count in BUDGETS)} |"
    yield f"|---|{'---|' * len(BUDGETS)}"
    for name in NAMES:
        runs = [[searched(t, name, {"scheduler": "none"}, seed) for t in tables] for seed in range(repetitions)]  # fmt: skip
        cells = [mean_text([_mean_regret(of, count * tables[0].epochs) for of in runs]) for count in BUDGETS]  # fmt: skip
        yield f"| {name} | {' | '.join(cells)} |"


def rules(trials: int) -> dict[str, dict[str, Any]]:
    """The rules compared."""
    third = math.ceil(trials / 3)
    return {
        "none": {"scheduler": "none"},
        "asha": {"scheduler": "asha"},
        "hyperband": {"scheduler": "hyperband"},
        "median": {"scheduler": "median"},
        f"one_epoch, keep {third}": {"scheduler": "one_epoch", "keep": third},
    }


def of_rules(tables: Sequence[Table], repetitions: int, sampler: str) -> Iterator[str]:
    """Every rule with one sampler: epochs, regret, and that of the same sampler in full for as many epochs."""
    yield "| rule | epochs, in full trials | regret | regret of trials in full for as many epochs |"
    yield "|---|---|---|---|"
    full = [[searched(t, sampler, {"scheduler": "none"}, s) for t in tables] for s in range(repetitions)]  # fmt: skip
    for name, rule in rules(TRIALS).items():
        runs = [[searched(t, sampler, rule, s) for t in tables] for s in range(repetitions)]
        spent = [np.mean([each.spent / each.table.epochs for each in of]) for of in runs]
        same = [_mean_regret(of, float(s) * tables[0].epochs) for of, s in zip(full, spent, strict=True)]  # fmt: skip
        ends = [_mean_regret(of, math.inf) for of in runs]
        yield f"| {name} | {np.mean(spent):.1f} | {mean_text(ends)} | {mean_text(same)} |"


def _mean_regret(arms: Sequence[Searching], epochs: float) -> float:
    return float(np.mean([each.regret_at(epochs) for each in arms]))


def recorded(path: Path = RECORDED) -> tuple[str, list[Table]]:
    """What our own curves are, and a table of each arm."""
    content = json.loads(path.read_text(encoding="utf-8"))
    space: dict[str, BaseDistribution] = {
        name: FloatDistribution(each["low"], each["high"], log=each["log"])
        for name, each in content["parameters"].items()
    }
    arms = [
        Table.of(space, [(dict(zip(space, t[0], strict=True)), t[1]) for t in trials])
        for trials in content["arms"].values()
    ]
    return content["about"], arms


def record(study: Path, about: str) -> None:
    """Write the curves of the completed search trials of a study, whose tuned parameters are ranges, as our own."""
    state = StudyState.of(read_events(study / JOURNAL))
    ranges = state.created["space"]["tuned"]
    metric = state.created["metric"]
    arms: dict[str, list[Any]] = {}
    for trial in state.of_phase("search"):
        if trial.status == "completed":
            tuned = [float(f"{trial.tuned[name]:.5g}") for name in ranges]
            values = [round(report.metrics[metric], 4) for report in trial.reports]
            arms.setdefault(trial.arm, []).append([tuned, values])
    parameters = {
        name: {"low": each["low"], "high": each["high"], "log": each.get("log", False)}
        for name, each in ranges.items()
    }
    content = {"about": about, "parameters": parameters, "arms": arms}
    RECORDED.write_text(json.dumps(content) + "\n", encoding="utf-8")


def lcbench(path: Path, most: int) -> list[Table]:
    """The first data sets of LCBench, as arms; validation accuracy is from 0 to 1 here."""
    content = json.loads(path.read_text(encoding="utf-8"))
    tables = []
    for runs in itertools.islice(content.values(), most):
        trials = [
            (run["config"], np.array(run["log"]["Train/val_accuracy"], float) / 100)
            for run in runs.values()
        ]
        tables.append(Table.of(LCBENCH, trials))
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=20, help="with other seeds (20)")
    parser.add_argument("--lcbench", type=Path, help="LCBench's file, if it is at hand")
    parser.add_argument("--data-sets", type=int, default=6, help="of LCBench (6)")
    parser.add_argument(
        "--record", nargs=2, metavar=("STUDY", "ABOUT"), help="take a study's curves instead"
    )
    options = parser.parse_args()
    if options.record:
        record(Path(options.record[0]), options.record[1])
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    started = time.perf_counter()
    about, tables = recorded()
    sources = {f"recorded: {about}": tables}
    if options.lcbench is None:
        print("LCBench is left out: its file is not given (--lcbench)")
    else:
        sources[f"LCBench, {options.data_sets} data sets"] = lcbench(
            options.lcbench, options.data_sets
        )
    for name, arms in sources.items():
        print(f"\n{name}\n")
        for line in of_samplers(arms, options.repetitions):
            print(line, flush=True)
        for sampler in ("random", "tpe"):
            print(f"\n{TRIALS} trials in each arm by {sampler}\n")
            for line in of_rules(arms, options.repetitions, sampler):
                print(line, flush=True)
    print(f"\n{machine()}; {options.repetitions} repetitions")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
