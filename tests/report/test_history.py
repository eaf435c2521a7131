"""The course of a study, trial by trial: what of it is drawn, and what a large study leaves out."""

from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.large_journal import LargeStudy
from karat.report.facts import history
from karat.report.facts.history import SearchTrial, thinned
from karat.report.facts.summary import Summary, summarise
from karat.report.facts.timeline import Timeline, timeline_of
from karat.report.sections import sections
from karat.statistics.metric import Metric
from tests import journals
from tests.journals import Plan, Script
from tests.report.test_report_scale import state_of

ACCURACY = Metric(name="val_accuracy", mode="max")


@pytest.fixture(scope="module")
def finished() -> Summary:
    return summarise(journals.study().state)


def trial(number: int, value: float | None, status: str = "completed", **more: bool) -> SearchTrial:
    return SearchTrial(
        number=number, arm="a", status=status, tuned={}, epochs=10, done=10, value=value,  # type: ignore[arg-type]
        **{"is_confirmed": False, **more},
    )  # fmt: skip


def test_confirmed_arms_come_first_and_the_cell_that_was_confirmed_is_known(
    finished: Summary,
) -> None:
    found = finished.history
    assert found.arms[:5] == tuple(arm.label for arm in finished.arms)
    assert len(found.arms) == 9
    chosen = {trial.arm for trial in found.trials if trial.is_confirmed}
    assert chosen == {arm.label for arm in finished.arms}


def test_the_best_so_far_counts_the_epochs_of_stopped_trials_but_not_their_values(
    finished: Summary,
) -> None:
    """Two whole trials of ten epochs, then two that are stopped after one."""
    for label, steps in finished.history.best.items():
        own = [each for each in finished.history.trials if each.arm == label]
        assert steps[-1][0] == sum(each.done for each in own)
        assert steps[-1][1] == max(each.value for each in own if each.status == "completed")
        assert all(one[0] <= other[0] for one, other in pairwise(steps))


def test_with_a_loss_the_best_is_the_lowest() -> None:
    found = summarise(journals.study(Plan(metric="val_loss")).state).history
    for label, steps in found.best.items():
        whole = [t.value for t in found.trials if t.arm == label and t.status == "completed"]
        assert steps[-1][1] == min(value for value in whole if value is not None)


def test_thinning_keeps_the_best_and_the_confirmed_trial_and_spreads_the_others() -> None:
    trials = [trial(n, 0.5 + 0.001 * (n == 77)) for n in range(100)]
    trials[5] = trial(5, 0.4, is_confirmed=True)
    kept = [each.number for each in thinned(trials, 10, ACCURACY)]
    assert len(kept) == 10
    assert {5, 77} <= set(kept)
    assert kept == sorted(kept)
    assert max(b - a for a, b in pairwise(kept)) <= 20
    assert thinned(trials, 100, ACCURACY) == trials
    assert len(thinned([trial(n, None, "stopped") for n in range(9)], 4, ACCURACY)) == 4


def test_of_many_trials_and_arms_a_part_is_drawn_and_the_caption_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST_ARMS", 4)
    monkeypatch.setattr(history, "MOST_CURVES", 8)
    monkeypatch.setattr(history, "MOST_POINTS", 3)
    state = state_of(tmp_path, LargeStudy(trials=60, epochs=9, arms=6, seeds=2))
    summary = summarise(state)
    found = summary.history
    assert (len(found.arms), found.left_out, found.each, len(found.curves)) == (4, 2, 2, 8)
    assert "softmax" in found.arms
    for curve in found.curves:
        assert len(curve.epochs) <= 4
        assert (curve.epochs[0], curve.epochs[-1]) == (1, 9)
    captions = {f.file: f.caption for part in sections(summary) for f in part.figures}
    curves = captions["learning_curves.svg"]
    assert "At most 2 trials of an arm are drawn" in curves
    assert "8 of 60 in all" in curves
    assert "2 further arms are left out" in curves
    assert "2 further arms are left out" in captions["best_so_far.svg"]


def test_figures_of_a_thousand_trials_are_small(tmp_path: Path) -> None:
    size = LargeStudy(trials=1000, epochs=15, metrics=2)
    summary = summarise(state_of(tmp_path, size))
    figures = [figure for part in sections(summary) for figure in part.figures]
    assert sum(len(figure.svg.encode()) for figure in figures) < 400_000


# -- the timeline -----------------------------------------------------------------------------


def run(script: Script, number: int, at: float, seconds: float, slot: int | None) -> None:
    """A trial that reports once; times are seconds since the start of the script."""
    arm = journals.arms_of(Plan())[0]
    begin = script.now
    where = {} if slot is None else {"slot": slot}
    script.add(
        "trial_asked", at, trial=number, phase="search", arm=arm["label"], factors=arm["factors"],
        tuned={}, config={}, seed=1, seed_index=0, epochs=1,
    )  # fmt: skip
    script.add("segment_started", 0, trial=number, segment=0, from_epoch=0, **where)
    metrics = {"val_accuracy": 0.5}
    script.add("reported", seconds, trial=number, segment=0, epoch=1, metrics=metrics, seconds=1.0)
    script.add("trial_ended", 0, trial=number, status="completed")
    script.now = begin


def timeline(slots: bool) -> Timeline:
    script = Script()
    script.add("study_created", 0, **journals.created(Plan(), journals.arms_of(Plan())))
    journals.launch(script, 0)
    runs = [(0, 1.0, 10.0), (1, 2.0, 4.0), (2, 7.0, 4.0)]
    for number, at, seconds in runs:
        run(script, number, at, seconds, (number + 3) % 2 if slots else None)
    script.now += 3600
    journals.launch(script, 0)
    run(script, 3, 0.0, 5.0, 1 if slots else None)
    script.events.sort(key=lambda event: event.time)
    found = timeline_of(script.state)
    assert found is not None
    return found


def test_rows_are_the_slots_of_the_journal() -> None:
    found = timeline(slots=True)
    assert found.has_slots
    assert [span.row for span in found.spans] == [1, 0, 1, 1]


def test_without_slots_no_trial_lies_on_another() -> None:
    found = timeline(slots=False)
    assert (found.has_slots, found.rows) == (False, 2)
    assert [span.row for span in found.spans] == [0, 1, 1, 0]


def test_time_between_launches_is_left_out() -> None:
    found = timeline(slots=True)
    assert [round(span.begin) for span in found.spans] == [0, 1, 6, 10]
    assert [round(at) for at in found.launches] == [10]
    assert found.seconds == pytest.approx(15)


def test_a_study_in_which_nothing_ran_has_no_timeline() -> None:
    assert timeline_of(journals.study(Plan(until="created")).state) is None
