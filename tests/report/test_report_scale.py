"""The report of many trials in many arms: what is gone through once for all arms, not once for each."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.large_journal import LargeStudy, write
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.journal.trial import Phase, Trial
from karat.report.facts.summary import summarise
from karat.statistics.comparison import Rule, pairwise
from tests.costs import times_of


def state_of(folder: Path, size: LargeStudy) -> StudyState:
    write(folder, size)
    return StudyState.of(read_events(folder / JOURNAL))


@pytest.mark.parametrize("arms", [3, 30])
def test_all_trials_are_gone_through_as_often_however_many_arms_there_are(
    arms: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = state_of(tmp_path, LargeStudy(trials=60, epochs=2, arms=arms, seeds=2))
    times, real = [], StudyState.of_phase

    def counted(self: StudyState, phase: Phase) -> list[Trial]:
        times.append(phase)
        return real(self, phase)

    monkeypatch.setattr(StudyState, "of_phase", counted)
    summary = summarise(state)
    assert len(summary.arms) == len(summary.search.arms) == arms
    assert len(times) <= 5


def test_all_pairs_of_as_many_seeds_are_tested_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, real = [], stats.ttest_1samp

    def counted(differences: object, *more: object, **options: object) -> object:
        calls.append(np.ndim(differences) == 2)
        return real(differences, *more, **options)

    monkeypatch.setattr(stats, "ttest_1samp", counted)
    arms = {str(n): {seed: (7 * n + seed * seed) % 11 for seed in range(4)} for n in range(11)}
    arms["short"] = {seed: 0.5 * seed for seed in range(3)}
    found = pairwise(arms, Rule(mode="max", smallest_difference=0.1, alpha=0.05))
    assert len(found) == 12 * 11 / 2
    assert sum(calls) == 2  # pairs with four seeds, and with three
    for pair in (each for each in found if each.p is not None):
        shared = sorted(set(arms[pair.arm]) & set(arms[pair.against]))
        ours, theirs = ([arms[name][seed] for seed in shared] for name in (pair.arm, pair.against))
        alone = stats.ttest_rel(ours, theirs)
        assert pair.p == pytest.approx(alone.pvalue, rel=1e-12)
        assert pair.low == pytest.approx(alone.confidence_interval(0.95).low, rel=1e-9)


def test_time_of_a_summary_grows_with_the_trials_and_no_faster(tmp_path: Path) -> None:
    small, large = (
        state_of(tmp_path / str(count), LargeStudy(trials=count, epochs=5, launches=count // 50))
        for count in (300, 1500)
    )
    limit = 2 * 5  # five times the trials, twice for the noise of the machine
    assert times_of(lambda: summarise(large), lambda: summarise(small), limit) < limit
