"""Synthetic journals of studies, written without training."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from karat.journal.journal import Event, Journal
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.parameters import label_of

Until = Literal["created", "searching", "searched", "confirming", "end"]
EPOCHS = 10
SEEDS = 5
TRIALS_PER_ARM = 4
REFERENCE = "softmax"
LEARNING_RATE = {"low": 1e-3, "high": 1e-2, "log": True}


@dataclass
class Script:
    """A growing list of events; `now` is the clock, in seconds since the Unix epoch."""

    events: list[Event] = field(default_factory=list)
    now: float = 1_714_550_400.0

    def add(self, kind: str, after: float = 0.1, **data: Any) -> None:
        self.now += after
        self.events.append(Event(len(self.events), self.now, kind, data))

    @property
    def state(self) -> StudyState:
        return StudyState.of(self.events)


@dataclass(kw_only=True)
class Plan:
    """The subject and the course of a synthetic study.

    Args:
        until: where the journal ends.
        by: the factor that is confirmed.
        levels: levels of this factor.
        sharings: levels of `attention.block_sharing`.
        finals: final test accuracy by level; `None` is the reference.
        matched: final test accuracy of the reference of each level; None for a single reference,
            which does not have the confirmed factor.
        runs: test accuracy of confirmation runs by basis and level, one value per seed, instead of
            `finals` or `matched` with noise.
        noise: standard deviation over seeds, half of the variance shared by all arms.
        metric: `val_accuracy` or `val_loss`.
        fails: every search trial fails.
        interrupted: the search is interrupted once for an hour.
        question: text of the question.
    """

    until: Until = "end"
    by: str = "attention.grid_size"
    levels: Sequence[Any] = (1, 3, 5, 7)
    sharings: Sequence[str] = ("blockwise", "universal")
    finals: Mapping[Any, float] = field(
        default_factory=lambda: {None: 0.704, 1: 0.962, 3: 0.975, 5: 0.979, 7: 0.977}
    )
    matched: Mapping[Any, float] | None = None
    runs: Mapping[tuple[str, Any], Sequence[float]] = field(default_factory=dict)
    noise: float = 0.006
    metric: str = "val_accuracy"
    fails: bool = False
    interrupted: bool = True
    question: str = (
        "Which Fourier grid size is best on small digits, and is it better than softmax?"
    )


def study(plan: Plan | None = None, seed: int = 0) -> Script:
    """The journal of a study of softmax against `fourier` with all levels and sharings."""
    plan = plan or Plan()
    script, rng = Script(), np.random.default_rng(seed)
    arms = arms_of(plan)
    script.add("study_created", **created(plan, arms))
    launch(script)
    if plan.until == "created":
        return script
    search(script, plan, arms, rng)
    if plan.until == "searching":
        script.add("interrupted", cause="signal", details={"signal": "SIGTERM"})
        return script
    cells = confirmation(script, plan, arms)
    if plan.until == "searched":
        return script
    confirm(script, plan, cells, rng)
    if plan.until == "end":
        status = "completed" if cells else "failed"
        more: dict[str, Any] = {} if cells else {"cause": "nothing_completed"}
        script.add("study_ended", status=status, **more)
    return script


def write(folder: Path, script: Script) -> Path:
    """Write the journal into a study's folder, as the driver does."""
    times = iter([event.time for event in script.events])
    with Journal.open(folder, clock=lambda: next(times)) as journal:
        for event in script.events:
            journal.append(event.kind, **event.data)
    assert (folder / JOURNAL).is_file()
    return folder


def arms_of(plan: Plan) -> list[dict[str, Any]]:
    """The arms in the format of `study_created`, the references first."""
    arms = [arm({"attention.basis": REFERENCE}, 41_802)]
    if plan.matched is not None:
        arms = [
            arm({plan.by: level, "attention.basis": REFERENCE}, 41_802 + 5_000 * number)
            for number, level in enumerate(plan.levels)
        ]
    for number, (level, sharing) in enumerate(itertools.product(plan.levels, plan.sharings)):
        factors = {"attention.basis": "fourier", plan.by: level, "attention.block_sharing": sharing}
        if plan.matched is not None:
            factors = {plan.by: level, **factors}
        arms.append(arm(factors, 45_000 + 1_200 * number))
    return arms


def arm(factors: Mapping[str, Any], parameters: int) -> dict[str, Any]:
    """One arm."""
    tuned = ["training.learning_rate"]
    label = label_of(factors)
    return {"label": label, "factors": factors, "tuned": tuned, "parameters": parameters}


def references_of(plan: Plan) -> dict[Any, str]:
    """Level to the label of its reference."""
    if plan.matched is None:
        return dict.fromkeys(plan.levels, REFERENCE)
    return {
        level: label_of({plan.by: level, "attention.basis": REFERENCE}) for level in plan.levels
    }


def final_of(plan: Plan, factors: Mapping[str, Any]) -> float:
    """Final test accuracy of an arm, without noise."""
    level = factors.get(plan.by)
    if plan.matched is not None and factors["attention.basis"] == REFERENCE:
        return plan.matched[level]
    return plan.finals[level]


def created(plan: Plan, arms: list[dict[str, Any]]) -> dict[str, Any]:
    """The data of `study_created`."""
    mode = "min" if plan.metric == "val_loss" else "max"
    search = {"sampler": "tpe", "trials": TRIALS_PER_ARM * len(arms), "metric": plan.metric}
    references = references_of(plan)
    cells = len(references) + len(set(references.values()))
    return {
        "name": "fourier-grid",
        "uid": "0f3c",
        "question": plan.question,
        "space": {"tuned": {"training.learning_rate": LEARNING_RATE}},
        "space_hash": "5b1f0c" * 8,
        "seed": 0,
        "metric": plan.metric,
        "mode": mode,
        "references": [{"level": level, "arm": label} for level, label in references.items()],
        "arms": arms,
        "excluded": [
            {"label": "fourier grid_size=9 blockwise", "rule": "rank 12 is above the 8 tokens"},
            {"label": "fourier grid_size=9 universal", "rule": "rank 12 is above the 8 tokens"},
        ],
        "search": {**search, "mode": mode, "allocation": "equal"},
        "early_stopping": {"scheduler": "asha", "grace_epochs": 1, "reduction_factor": 3},
        "confirm": {"seeds": SEEDS, "by": plan.by, "smallest_difference": 0.005, "alpha": 0.05},
        "data": {"fingerprint": "ab" * 32, "classes": [str(digit) for digit in range(10)]},
        "totals": {"search": search["trials"], "confirm": cells * SEEDS},
    }


def launch(script: Script, after: float = 0.1) -> None:
    """One start of the driver."""
    environment = {
        "python": "3.11.7",
        "packages": {"torch": "2.14.1", "ray": "2.60.0", "optuna": "5.0.0"},
        "git": {"commit": "62222011c0ffee", "altered": False},
        "cpu": "An Example CPU @ 2.00GHz",
        "cpus": 2,
        "gpus": [],
    }
    script.add("launched", after, slots=2, pid=4242, environment=environment)


def search(
    script: Script, plan: Plan, arms: list[dict[str, Any]], rng: np.random.Generator
) -> None:
    """Four trials for each arm; the first two run their full length, one fails.

    The reference does best at the upper end of the learning rate's range.
    """
    total = len(arms) * TRIALS_PER_ARM
    for number in range(total):
        if plan.until == "searching" and number == total // 2:
            return
        if plan.interrupted and number == 5:
            script.add("interrupted", cause="signal", details={"signal": "SIGTERM"})
            launch(script, after=3600)
        chosen = arms[number % len(arms)]
        rate = float(np.exp(rng.uniform(np.log(1e-3), np.log(1e-2))))
        is_reference = chosen["factors"]["attention.basis"] == REFERENCE
        rate = 0.00998 if is_reference and number < len(arms) else rate
        trial = ask(script, number, "search", chosen, {"training.learning_rate": rate}, 0)
        if plan.fails or number == 7:
            end(script, trial, "failed", "loss is NaN at epoch 1; the learning rate is too high")
            continue
        stops = number // len(arms) >= 2
        final = final_of(plan, chosen["factors"])
        best_rate = 0.01 if is_reference else 0.004
        final += float(rng.normal(0, 0.004)) - 0.02 * abs(math.log(rate / best_rate))
        train(script, plan, trial, final, epochs=1 if stops else EPOCHS, test=False)
        end(script, trial, "stopped" if stops else "completed")


def confirmation(script: Script, plan: Plan, arms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Plan the confirmation: each reference, then the best arm of each of its levels."""
    cells, skipped = [], []
    references = references_of(plan)
    contests: list[tuple[Any, list[str]]] = []
    for reference in dict.fromkeys(references.values()):
        own = next(each["factors"].get(plan.by) for each in arms if each["label"] == reference)
        contests.append((own, [reference]))
        for level in (each for each, label in references.items() if label == reference):
            of_level = [a["label"] for a in arms if a["factors"].get(plan.by) == level]
            contests.append((level, [label for label in of_level if label != reference]))
    for level, of_level in contests:
        done = [
            trial
            for trial in script.state.of_phase("search")
            if trial.arm in of_level and trial.status == "completed"
        ]
        if not done:
            name = REFERENCE if level is None else f"{plan.by.rpartition('.')[2]}={level}"
            skipped.append({"label": name, "cause": "none_completed"})
            continue
        sign = -1 if plan.metric == "val_loss" else 1
        best = max(done, key=lambda trial: sign * (trial.last(plan.metric) or 0))
        cells.append(
            {
                "arm": best.arm,
                "level": level,
                "trial": best.number,
                "tuned": best.tuned,
                "config": best.config,
                "value": best.last(plan.metric),
            }
        )
    script.add("confirmation_planned", cells=cells, skipped=skipped)
    return cells


def confirm(
    script: Script, plan: Plan, cells: list[dict[str, Any]], rng: np.random.Generator
) -> None:
    """Five seeds for each cell, seed by seed."""
    arms = {each["label"]: each for each in arms_of(plan)}
    for index in range(SEEDS):
        of_seed = float(rng.normal(0, plan.noise / math.sqrt(2)))
        for cell in cells:
            if plan.until == "confirming" and index == 3:
                return
            number = len(script.state.trials)
            trial = ask(script, number, "confirm", arms[cell["arm"]], cell["tuned"], index)
            own = float(rng.normal(0, plan.noise / math.sqrt(2)))
            factors = arms[cell["arm"]]["factors"]
            runs = plan.runs.get((factors["attention.basis"], cell["level"]))
            final = runs[index] if runs else final_of(plan, factors) + of_seed + own
            train(script, plan, trial, final, EPOCHS, True)
            end(script, trial, "completed")


def ask(
    script: Script,
    number: int,
    phase: str,
    chosen: Mapping[str, Any],
    tuned: Mapping[str, Any],
    seed_index: int,
) -> int:
    """Ask for a trial and start its first segment."""
    script.add(
        "trial_asked",
        trial=number,
        phase=phase,
        arm=chosen["label"],
        factors=chosen["factors"],
        tuned=tuned,
        config={"training": {"epochs": EPOCHS}},
        seed=(1000 if phase == "search" else 2000) + seed_index,
        seed_index=seed_index,
        epochs=EPOCHS,
    )
    script.add("segment_started", trial=number, segment=0, from_epoch=0)
    return number


def train(script: Script, plan: Plan, trial: int, final: float, epochs: int, test: bool) -> None:
    """The reports of one trial whose accuracy approaches `final` exponentially."""
    for epoch in range(1, epochs + 1):
        value = final - (final - 0.1) * math.exp(-0.75 * epoch)
        metrics = {
            "val_accuracy": value,
            "val_loss": 1.2 * (1 - value),
            "train_loss": 1.1 * (1 - value),
            "learning_rate": 0.001,
        }
        if test and epoch == EPOCHS:
            metrics |= {"test_accuracy": final, "test_loss": 1.25 * (1 - final)}
        script.add(
            "reported", 1.3, trial=trial, segment=0, epoch=epoch, metrics=metrics, seconds=2.1
        )


def end(script: Script, trial: int, status: str, reason: str = "") -> None:
    """End a trial; `reason` is why it failed."""
    script.add("trial_ended", trial=trial, status=status, **why(status, reason))


def why(status: str, reason: str) -> dict[str, Any]:
    """Cause and details of a trial's end; the report shows `reason` as it is."""
    if status == "failed":
        return {"cause": "checkpoint", "details": {"message": reason}}
    return {"cause": "early_stopping", "details": {"epoch": 1}} if status == "stopped" else {}
