"""The tables of `benchmarks.evidence` say what was found, and do not hide what was missed."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.evidence import TITLES, markers, questions, simulated, written
from benchmarks.evidence_curves import CROSSING, FLAT, HIGH, LEARNING_RATE, LOW, STEEP, KnownCurves
from benchmarks.evidence_studies import Outcome, Question
from benchmarks.evidence_table import TABLES, Row, missed, promised, table
from benchmarks.evidence_top_up import LOOKS, Family, confirmed, drawn, judged, rows
from karat.forecast.curves import TrialInfo
from tests.conftest import ROOT

GOOD = Outcome(
    false=False,
    false_levels=None,
    found=None,
    covered=1.0,
    covered_cells=1.0,
    headline_covered=True,
    compared=1,
    below_tried=0.0,
    below_best=0.0,
    runs=30,
)
BAD = replace(GOOD, false=True, covered=0.0, covered_cells=0.0, headline_covered=False)
EQUAL = Question(landscape=STEEP, others=1, tunings=5)


def outcomes(bad: int, of: int = 100) -> list[Outcome]:
    return [BAD] * bad + [GOOD] * (of - bad)


def test_the_bound_is_alpha_and_two_standard_errors() -> None:
    assert promised(100) == pytest.approx(0.05 + 2 * (0.05 * 0.95 / 100) ** 0.5)


def test_false_calls_above_the_bound_are_missed_and_shown() -> None:
    assert missed(Row(EQUAL, outcomes(9))) == []
    assert missed(Row(EQUAL, outcomes(10))) == ["false calls"]
    assert "| 10.0 ± 3.0 | at most 9.4 |" in table([Row(EQUAL, outcomes(10))])
    assert "**no: false calls**" in table([Row(EQUAL, outcomes(10))])


def test_one_tuning_promises_nothing_of_arms_unless_all_cells_are_equal() -> None:
    of_cells = replace(EQUAL, tunings=1)
    assert missed(Row(of_cells, outcomes(5))) == []
    assert missed(Row(of_cells, outcomes(40))) == ["coverage, cells"]
    assert "false calls" in missed(Row(replace(of_cells, landscape=FLAT), outcomes(40)))


def test_coverage_outside_its_range_is_missed_also_where_it_is_too_high() -> None:
    better = replace(EQUAL, difference=1.0)
    assert missed(Row(better, [replace(GOOD, found=1.0)] * 100)) == [
        "coverage, arms",
        "coverage, arm of the answer",
    ]
    good = [replace(each, false=False) for each in outcomes(5)]
    assert missed(Row(better, good)) == []


def test_a_miss_that_chance_explains_is_still_a_miss() -> None:
    good = [replace(each, false=False) for each in outcomes(8)]
    found = missed(Row(replace(EQUAL, difference=1.0), good))
    assert found[0] == "coverage, arms (but 95 is within 2 standard errors)"


def test_equal_arms_with_their_best_learning_rates_apart_are_mirrored() -> None:
    curves = KnownCurves(landscape=CROSSING, arms=("softmax", "other"))
    middle_apart = {
        arm: curves.expected(arm, {LEARNING_RATE: rate})
        for arm, rate in (("softmax", 2 * LOW), ("other", HIGH / 2))
    }
    assert middle_apart["softmax"] == pytest.approx(middle_apart["other"])


def test_a_late_starter_is_behind_at_first_and_level_at_the_end() -> None:
    quiet = replace(CROSSING, own=0.0, shared=0.0, early=0.0, apart=0.0)
    curves = KnownCurves(landscape=quiet, arms=("softmax", "other"))

    def value(arm: str, epoch: int) -> float:
        trial = TrialInfo(arm=arm, tuned={LEARNING_RATE: 0.01}, number=0, seed=0, epochs=3)
        return curves.value(trial, epoch)

    assert value("other", 1) == pytest.approx(value("softmax", 1) - 0.20)
    assert value("other", 3) == value("softmax", 3)


BEGIN, END = markers("equal")


def test_the_page_keeps_its_text_and_gets_the_new_table() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert written(page, "equal", "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_the_markers_of_a_table_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must have a line <!-- evidence, equal: begin -->"):
        written(text, "equal", "new")


def test_the_page_of_the_repository_has_a_place_for_every_table() -> None:
    content = (ROOT / "docs" / "evidence.md").read_text()
    for name in TITLES:
        assert written(content, name) == content
    for name in TABLES:
        assert questions([name])


@pytest.mark.parametrize("looks", [(20,), LOOKS])
def test_studies_judged_at_once_are_judged_as_the_study_does(looks: tuple[int, ...]) -> None:
    family = Family(others=3, effect=0.8)
    for seed in range(8):
        runs = np.array([*drawn(family, seed).values()])
        found = judged((runs[1:] - runs[:1])[None], family.effect, looks)
        compared, count = confirmed(family, seed, looks)
        verdicts = [each.verdict for each in compared.values()]
        assert found.runs[0] == count
        assert found.better[0] == pytest.approx(verdicts.count("better") / 3)
        assert found.equivalent[0] == pytest.approx(verdicts.count("equivalent") / 3)


def test_the_table_of_added_seeds_says_what_they_save() -> None:
    fixed, added = rows(Family(others=2, effect=3.0), 50, 0)
    assert (fixed[3], added[3]) == ("20 seeds", "5 to 26 seeds")
    assert (fixed[5], fixed[-1]) == ("100.0 ± 0.0", "100.0")
    assert added[5] == "100.0 ± 0.0"
    assert float(added[-1]) < 35  # of arms that differ so much few seeds are enough


@pytest.mark.slow
def test_figures_do_not_depend_on_the_number_of_processes() -> None:
    one, two = (list(simulated([EQUAL], 3, 0, processes)) for processes in (1, 2))
    assert one == two
