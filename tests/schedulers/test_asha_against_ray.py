"""ASHA against Ray Tune's scheduler on a recorded run of 50 trials, and resumed against unbroken."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

import karat.study.study
from karat.journal.journal import Journal
from karat.schedulers.asha import ASHA
from karat.space.reader import load_space
from karat.study.description import description
from karat.study.study import Study

EPOCHS, GRACE, FACTOR = 27, 1, 3
METRICS = {"max": "val_accuracy", "min": "val_loss"}


@dataclass(frozen=True)
class Told:
    """One report of the recorded run."""

    trial: int
    epoch: int
    value: float


Rule = Callable[[Told], bool]  # takes a report; True if its trial must end


def recorded(mode: str) -> list[Told]:
    """All reports of trials without early stopping, in the order of arrival."""
    content = json.loads(Path(__file__).with_name("trace.json").read_text())
    rows = [dict(zip(content["columns"], row, strict=True)) for row in content["reports"]]
    return [Told(row["trial"], row["epoch"], row[METRICS[mode]]) for row in rows]


def decided(trace: Sequence[Told], rule: Rule) -> Iterator[tuple[Told, bool]]:
    """Each report with the answer of the rule; a trial that has ended reports no more."""
    ended = set()
    for told in trace:
        if told.trial not in ended:
            end = rule(told)
            if end:
                ended.add(told.trial)
            yield told, end


def ours(mode: str, grace: int = GRACE, factor: int = FACTOR) -> Rule:
    """karat's rule, called as in a study: after its last epoch, a trial ends whatever the rule says."""
    asha = ASHA(mode=mode, grace_epochs=grace, reduction_factor=factor, by_arm=False)

    def rule(told: Told) -> bool:
        stop = asha.on_report(f"arm {told.trial % 3}", told.trial, told.epoch, told.value)
        return stop or told.epoch >= EPOCHS

    return rule


def rays(mode: str, grace: int = GRACE, factor: int = FACTOR) -> Rule:
    """Ray's scheduler, called as by Tune's controller until a trial ends."""
    scheduler = AsyncHyperBandScheduler(
        metric="value",
        mode=mode,
        max_t=EPOCHS,
        grace_period=grace,
        reduction_factor=factor,
        brackets=1,
    )
    trials: dict[int, Trial] = {}

    def rule(told: Told) -> bool:
        if told.trial not in trials:
            trials[told.trial] = Trial("recorded", trial_id=f"{told.trial:04d}", stub=True)
            scheduler.on_trial_add(None, trials[told.trial])
        trial = trials[told.trial]
        result = {"training_iteration": told.epoch, "value": told.value}
        end = bool(scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP)
        if end:
            scheduler.on_trial_complete(None, trial, result)
        return end

    return rule


@pytest.mark.parametrize("mode", METRICS)
def test_every_decision_matches_rays_scheduler(mode: str) -> None:
    trace = recorded(mode)
    assert list(decided(trace, ours(mode))) == list(decided(trace, rays(mode)))


@pytest.mark.parametrize("mode", METRICS)
@pytest.mark.parametrize("grace", [1, 2])
@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_decisions_match_ray_with_other_rungs_and_many_equal_values(
    mode: str, grace: int, factor: int
) -> None:
    trace = [replace(told, value=round(told.value, 1)) for told in recorded(mode)]
    decisions = [list(decided(trace, rule(mode, grace, factor))) for rule in (ours, rays)]
    assert decisions[0] == decisions[1]


@pytest.mark.parametrize("mode", METRICS)
def test_recorded_run_has_trials_that_end_at_every_rung(mode: str) -> None:
    trace = recorded(mode)
    lengths = Counter(told.trial for told in trace)
    assert len(lengths) == 50
    assert set(lengths.values()) == {EPOCHS}
    ends = Counter(told.epoch for told, end in decided(trace, rays(mode)) if end)
    assert set(ends) == {1, 3, 9, 27}


@pytest.mark.parametrize("mode", METRICS)
def test_rule_rebuilt_from_any_prefix_decides_the_same(mode: str) -> None:
    whole = list(decided(recorded(mode), ours(mode)))
    for count in range(len(whole)):
        rule = ours(mode)
        assert [rule(told) for told, _ in whole[: count + 1]] == [
            end for _, end in whole[: count + 1]
        ]


@pytest.mark.parametrize("mode", METRICS)
@pytest.mark.slow
def test_study_reopened_before_every_report_decides_the_same(
    mode: str,
    write_space: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # No trial trains here, so pretend that every reported epoch has its checkpoint.
    monkeypatch.setattr(karat.study.study, "last_state", lambda folder, epoch, _: (epoch, []))
    exchanges = (
        ("epochs: 4", f"epochs: {EPOCHS}"),
        ("trials: 6", f"trials: 50, metric: {METRICS[mode]}, mode: {mode}"),
        ("reduction_factor: 3", f"reduction_factor: {FACTOR}, by_arm: false"),
    )
    space, folder = load_space(write_space(*exchanges)), tmp_path / "study"
    with Journal.open(folder) as journal:
        Study(space, journal, folder).record("study_created", **description(space, "recorded"))

    def rule(told: Told) -> bool:
        with Journal.open(folder) as journal:
            study = Study(space, journal, folder)
            while told.trial not in study.state.trials or any(
                trial.status == "waiting" for trial in study.state.trials.values()
            ):
                study.next_segment()
            assert len(study.state.trials[told.trial].reports) == told.epoch - 1
            metrics = {"val_accuracy": 0.5, "val_loss": 0.5, METRICS[mode]: told.value}
            return study.on_report(told.trial, told.epoch, metrics, 1.0)

    whole = list(decided(recorded(mode), rays(mode)))
    trace = [told for told, _ in whole]
    assert list(decided(trace, rule)) == whole
