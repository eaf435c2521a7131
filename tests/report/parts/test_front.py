"""The Pareto front of the confirmed arms in the report."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from karat.constraints import PARAMETERS
from karat.goals import Goal
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.report.facts.goals.front import _shares
from karat.report.facts.summary import Summary, summarise
from karat.report.figures.front import front_figure
from karat.report.parts.front import front_section, number
from karat.report.sections import sections
from karat.report.writer import write_report
from tests.driven import go, without_ray
from tests.planning.test_goals import ASHA, GOALS, with_goals
from tests.planning.test_limits import RANKS

__all__ = ["without_ray"]  # a fixture
WriteSpace = Callable[..., Path]
ACCURATE, SMALL = (
    Goal(metric="val_accuracy", mode="max"),
    Goal(metric=PARAMETERS, mode="min"),
)
SEEDS = ("seeds: 2", "seeds: 4")


def summary_of(folder: Path) -> Summary:
    return summarise(StudyState.of(read_events(folder / "small" / JOURNAL)))


@pytest.fixture
def summary(write_space: WriteSpace, tmp_path: Path, without_ray: None) -> Summary:
    assert go(write_space(with_goals(), (ASHA, ""), SEEDS, text=RANKS), tmp_path) == 0
    return summary_of(tmp_path)


def test_the_front_has_the_arms_that_none_beats_by_their_means(summary: Summary) -> None:
    facts = summary.front
    assert facts is not None
    assert (len(facts.arms), facts.seeds, facts.left_out) == (3, 4, ())
    points = [tuple(each.mean or 0.0 for each in arm.samples) for arm in facts.arms]
    for arm, (accuracy, size) in zip(facts.arms, points, strict=True):
        beaten = any(a >= accuracy and s <= size and (a, s) != (accuracy, size) for a, s in points)
        assert arm.is_on_front == (not beaten)
        assert arm.share is not None
        assert 0 <= arm.share <= 1
    smallest = min(facts.arms, key=lambda arm: arm.samples[1].mean or 0.0)
    assert smallest.share == 1.0  # no resample of seeds changes the number of parameters
    assert 0 < len(facts.searched_front) <= facts.searched


def test_the_section_says_what_the_front_is_and_is_not(summary: Summary, tmp_path: Path) -> None:
    section = front_section(summary)
    assert section is not None
    assert section.title in [each.title for each in sections(summary)]
    text = " ".join(section.paragraphs)
    assert "Goals: high val_accuracy and low parameters." in text
    assert "whether arms of the front differ was not tested" in text
    assert "no probability" in text
    (table,) = section.tables
    assert table.columns[1:3] == ("test accuracy (%), 95 % interval", "parameters, 95 % interval")
    assert all("[" not in row[2] for row in table.rows)  # the same in all runs
    (figure,) = front_figure(summary)
    assert figure.svg.count("data-arm") == 2 * len(table.rows)
    write_report(tmp_path / "small", StudyState.of(read_events(tmp_path / "small" / JOURNAL)))
    assert "Pareto front" in (tmp_path / "small" / "report.html").read_text()


def test_an_arm_without_a_goal_is_left_out_and_named(
    write_space: WriteSpace, tmp_path: Path, without_ray: None
) -> None:
    goals = GOALS.replace("parameters", "memory_mb")  # which the fake engine does not measure
    assert go(write_space(with_goals(goals=goals, trials=6), (ASHA, "")), tmp_path) == 0
    facts = summary_of(tmp_path).front
    assert facts is not None
    assert facts.arms == ()
    assert len(facts.left_out) == 3


def test_a_study_with_one_goal_has_no_front(
    write_space: WriteSpace, tmp_path: Path, without_ray: None
) -> None:
    assert go(write_space(), tmp_path) == 0
    assert summary_of(tmp_path).front is None
    assert front_section(summary_of(tmp_path)) is None


def test_shares_of_resamples_are_right_where_they_are_known() -> None:
    draw = np.random.default_rng(1)
    # Two arms of the same size: each is alone on the front in about half of the draws, or so by luck.
    noise = draw.normal(0, 1, (2, 40))
    noise -= noise.mean(1, keepdims=True)
    same = [[(float(v), 5.0) for v in each] for each in noise]
    shares = _shares((ACCURATE, SMALL), same)
    assert shares is not None
    assert shares == pytest.approx([0.5, 0.5], abs=0.06)
    assert sum(shares) == pytest.approx(1.0, abs=0.01)
    better = [[(v + 5, 4.0) for v, _ in same[0]], same[1]]
    assert _shares((ACCURATE, SMALL), better) == [1.0, 0.0]
    equal = [same[0], same[0]]  # neither beats the other
    assert _shares((ACCURATE, SMALL), equal) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("value", "text"), [(30472.0, "30,472"), (96.2149, "96.21"), (0.25137, "0.2514")]
)
def test_numbers_have_as_many_digits_as_they_need(value: float, text: str) -> None:
    assert number(value) == text


def test_parameters_in_the_report_are_those_of_the_cell_that_was_confirmed(
    write_space: WriteSpace, tmp_path: Path, without_ray: None
) -> None:
    # The rank is tuned: what is said of the whole arm is about its lowest value.
    assert go(write_space(text=RANKS), tmp_path) == 0
    state = StudyState.of(read_events(tmp_path / "small" / JOURNAL))
    sizes = {t.arm: t.costs["parameters"] for t in state.of_phase("confirm") if t.costs}
    assert len(sizes) == 2  # not of softmax, whose size is the same in every cell
    of_arms = {arm["label"]: arm["parameters"] for arm in state.created["arms"]}
    assert any(sizes[label] != of_arms[label] for label in sizes)
    for arm in summarise(state).arms:
        assert arm.parameters == sizes.get(arm.label, of_arms[arm.label])
    for trial in state.trials.values():
        trial.costs = {}  # as in a journal of before
    older = {arm.label: arm.parameters for arm in summarise(state).arms}
    assert older == {label: None if label in sizes else of_arms[label] for label in of_arms}
