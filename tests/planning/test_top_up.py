"""Seeds are added to arms without a verdict, by a plan that follows from the journal alone."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from karat.errors import InputError
from karat.forecast.curves import TrialInfo
from karat.forecast.simulator import Simulated, simulate
from karat.journal.journal import Event, Journal, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.planning.extension import extended_source, larger_space
from karat.planning.replay import replay
from karat.report.answer import answer
from karat.report.facts.summary import Summary, summarise
from karat.report.sections import sections
from karat.seeds import derive
from karat.space.reader import load_space
from karat.space.space import Space
from karat.statistics.comparison import Why
from karat.study.study import Study
from tests.simulated import findings

WriteSpace = Callable[..., Path]
TOP_UP = ("seeds: 2", "seeds: 5, top_up: {most: 12, step: 3}")
ONE, TWO = "fourier grid_size=1", "fourier grid_size=2"


@dataclass(frozen=True)
class Known:
    """Curves of runs whose values at the end are known.

    Args:
        points: by which an arm is above the reference, in points of accuracy.
        noise: sd of a run alone, in points.
        failing: arm to the seeds (number of the run of an arm) that fail.
    """

    points: Mapping[str, float]
    noise: float = 1.0
    failing: Mapping[str, float] = field(default_factory=dict)

    def value(self, trial: TrialInfo, epoch: int) -> float:
        uniform = (derive(3, trial.arm, trial.seed) + 0.5) / 2**31
        if uniform < self.failing.get(trial.arm, 0.0):
            return math.nan
        noise = math.sqrt(12) * self.noise * (uniform - 0.5)
        return 0.7 + (self.points.get(trial.arm, 0.0) + noise) / 100

    def seconds(self, trial: TrialInfo, epoch: int) -> float:
        return 1.0


CLEAR_AND_UNCLEAR = Known({ONE: 9.0, TWO: 0.9})


@pytest.fixture
def space(write_space: WriteSpace) -> Space:
    return load_space(write_space(TOP_UP))


def runs_of(state: StudyState) -> Counter[str]:
    return Counter(trial.arm for trial in state.of_phase("confirm"))


def added(folder: Path) -> list[Event]:
    return [e for e in read_events(folder / JOURNAL) if e.kind == "seeds_added"]


def go(space: Space, folder: Path, curves: Known) -> Simulated:
    """A whole study, whose audit and replay find nothing."""
    done = simulate(space, folder, 2, curves)
    assert findings(folder) == []
    assert not list(replay(space, list(read_events(folder / JOURNAL))))
    return done


def test_a_clear_arm_gets_no_more_seeds_and_an_unclear_one_does_with_its_reference(
    space: Space, tmp_path: Path
) -> None:
    state = go(space, tmp_path / "s", CLEAR_AND_UNCLEAR).state
    assert state.status == "completed"
    runs = runs_of(state)
    assert runs[ONE] == 5
    assert runs[TWO] == runs["softmax"] > 5
    assert runs[TWO] in space.confirm.looks
    first = added(tmp_path / "s")[0].data
    assert first["seeds"] == {TWO: 8, "softmax": 8}
    told = {each["arm"]: (each["verdict"], each["seeds"]) for each in first["arms"]}
    assert told == {ONE: ("better", 5), TWO: ("inconclusive", 5)}


def test_no_arm_gets_more_than_the_most(space: Space, tmp_path: Path) -> None:
    state = go(space, tmp_path / "s", Known({ONE: 0.7, TWO: 0.7}, noise=1.5)).state
    assert max(runs_of(state).values()) <= 12
    assert space.confirm.looks == (5, 8, 11, 12)


def test_a_futile_arm_is_given_up_early_and_the_report_says_so(
    space: Space, tmp_path: Path
) -> None:
    state = go(space, tmp_path / "s", Known({ONE: 9.0}, noise=4.0)).state
    summary = summarise(state)
    futile = next(arm for arm in summary.others if arm.label == TWO)
    assert futile.comparison is not None
    assert futile.comparison.verdict == "inconclusive"
    assert futile.planned < 12
    assert "futile" in text_of(summary)


def test_equal_arms_end_as_equivalent_without_all_seeds(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = load_space(write_space((TOP_UP[0], TOP_UP[1] + ", smallest_difference: 0.03")))
    state = go(space, tmp_path / "s", Known({})).state
    verdicts = {a.label: a.comparison.verdict for a in summarise(state).others if a.comparison}
    assert set(verdicts.values()) == {"equivalent"}
    assert max(runs_of(state).values()) < 12


def test_failed_runs_are_outcomes_and_seeds_are_still_added(space: Space, tmp_path: Path) -> None:
    curves = Known({ONE: 3.0, TWO: 3.0}, failing={TWO: 0.3})
    state = go(space, tmp_path / "s", curves).state
    assert state.status == "completed"
    found = {arm.label: arm for arm in summarise(state).others}
    assert found[TWO].failed
    assert found[TWO].comparison is not None
    assert found[TWO].comparison.why is Why.FAILED_RUNS
    assert found[TWO].planned > 5


def test_an_arm_of_which_every_run_fails_is_given_up_at_once(space: Space, tmp_path: Path) -> None:
    state = go(space, tmp_path / "s", Known({ONE: 9.0}, failing={TWO: 1.0})).state
    assert runs_of(state)[TWO] <= 5


def test_a_resumed_study_adds_the_same_seeds(space: Space, tmp_path: Path) -> None:
    go(space, tmp_path / "whole", CLEAR_AND_UNCLEAR)
    events = list(read_events(tmp_path / "whole" / JOURNAL))
    place = next(n for n, event in enumerate(events) if event.kind == "seeds_added")
    times = iter([event.time for event in events])
    folder = tmp_path / "killed"
    with Journal.open(folder, clock=lambda: next(times)) as journal:
        for event in events[:place]:  # killed before the event was written
            journal.append(event.kind, **event.data)
    assert not summarise(StudyState.of(events[:place])).is_final
    with Journal.open(folder, clock=lambda: events[-1].time) as journal:
        study = Study(space, journal, folder)
        assert study.state.seeds_now == events[place].data["seeds"]


def test_the_report_gives_the_seeds_of_each_arm(space: Space, tmp_path: Path) -> None:
    summary = summarise(go(space, tmp_path / "s", CLEAR_AND_UNCLEAR).state)
    clear = next(arm for arm in summary.others if arm.label == ONE)
    assert (clear.planned, clear.completed) == (5, 5)
    text = text_of(summary)
    assert "decided at 5 of at most 12 seeds" in text
    assert "Pocock" in text
    result = next(part for part in sections(summary) if part.title == "Result")
    rows = {row[0]: row for row in result.tables[0].rows}
    place = list(result.tables[0].columns).index("seeds")
    assert rows[ONE][place] == "5"
    assert int(rows[TWO][place]) > 5


def text_of(summary: Summary) -> str:
    told = [answer(summary)]
    for part in sections(summary):
        told += part.paragraphs
        told += [cell for table in part.tables for row in table.rows for cell in row]
    return " ".join(told)


@pytest.mark.parametrize("extend", ["seeds=+5", "seeds=30"])
def test_more_seeds_beside_a_top_up_are_refused(space: Space, extend: str) -> None:
    with pytest.raises(InputError, match=r"confirm\.top_up has fixed the seeds of this study"):
        extended_source(space, [extend])


def test_another_first_look_or_maximum_is_another_question(space: Space) -> None:
    for change in ({"seeds": 6}, {"top_up": {"most": 30, "step": 3}}):
        source = {**space.source, "confirm": {**space.source["confirm"], **change}}
        with pytest.raises(InputError, match="another question"):
            larger_space(space, source, "here")


@pytest.mark.parametrize(
    ("confirm", "message"),
    [
        ("seeds: 5, top_up: {}", "top_up.most: is missing: a top-up needs a maximum"),
        ("seeds: 5, top_up: {step: 2}", "top_up.most: is missing: a top-up needs a maximum"),
        ("seeds: 5, top_up: {most: 5}", "top_up.most = 5: must be greater than confirm.seeds, 5"),
        ("seeds: 5, top_up: {most: 20, step: 0}", "top_up.step = 0: must be at least 1"),
        ("seeds: 5, top_up: {most: 2000}", "top_up.most = 2000: must be at most 1000"),
        ("seeds: 5, top_up: {most: 900, step: 1}", "there would be 896 looks"),
        ("seeds: 5, top_up: {most: 20, steps: 3}", "top_up.steps: unknown key.*step"),
        ("seeds: 5, top_up: 20", "top_up = 20: must be a mapping"),
        ("seeds: 4, tunings: 2, top_up: {most: 20}", "there a tuning counts, and not a seed"),
    ],
)
def test_a_top_up_that_cannot_be_is_refused(
    write_space: WriteSpace, confirm: str, message: str
) -> None:
    path = write_space(("trials: 6", "trials: 12"), ("seeds: 2", confirm))
    with pytest.raises(InputError, match=message) as refused:
        load_space(path)
    assert "\n" not in str(refused.value)
    assert "space.yaml:" in str(refused.value)
