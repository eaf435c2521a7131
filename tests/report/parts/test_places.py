"""Over several data sets a report says what holds on average, how sure that is, and where they disagree."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from karat.journal.state import StudyState
from karat.report.document import document
from karat.report.facts.summary import Summary, summarise
from karat.report.parts.places import places_section
from karat.report.sections import sections
from tests import journals
from tests.journals import Plan, Script, arm, created, end

BASES = ("softmax", "fourier", "rbf")
GAINS: Mapping[str, Mapping[str, float]] = {
    "digits": {"softmax": 0.0, "fourier": 0.05, "rbf": 0.06},
    "cifar10": {"softmax": 0.0, "fourier": -0.05, "rbf": 0.06},
    "svhn": {"softmax": 0.0, "fourier": 0.00, "rbf": 0.06},
}


def state(gains: Mapping[str, Mapping[str, float]] = GAINS, until: str = "end") -> StudyState:
    """A study of every basis on every data set, with seeds that vary little."""
    plan, script, rng = Plan(levels=()), Script(), np.random.default_rng(1)
    arms = [
        arm({"data.name": place, "attention.basis": basis}, 1000)
        for place in gains
        for basis in BASES
    ]
    data = created(plan, arms)
    data["references"] = [
        {"level": each["label"], "arm": f"{each['factors']['data.name']} softmax"}
        for each in arms
        if each["factors"]["attention.basis"] != "softmax"
    ]
    data["confirm"] |= {"by": "arm"}
    script.add("study_created", **data)
    journals.launch(script)
    tuned = {"training.learning_rate": 0.004}
    cells = []
    for each in arms:
        number = journals.ask(script, len(script.state.trials), "search", each, tuned, 0)
        journals.train(script, plan, number, 0.8, journals.EPOCHS, False)
        end(script, number, "completed")
        level = None if each["factors"]["attention.basis"] == "softmax" else each["label"]
        cell: dict[str, Any] = {"arm": each["label"], "level": level, "trial": number}
        cells.append({**cell, "tuned": tuned, "config": {}, "value": 0.8})
    script.add("confirmation_planned", cells=cells, skipped=[])
    for index in range(journals.SEEDS if until == "end" else 2):
        for each in arms:
            place, basis = each["factors"].values()
            number = journals.ask(script, len(script.state.trials), "confirm", each, tuned, index)
            value = 0.7 + gains[place][basis] + float(rng.normal(0, 0.004))
            journals.train(script, plan, number, value, journals.EPOCHS, True)
            end(script, number, "completed")
    if until == "end":
        script.add("study_ended", status="completed")
    return script.state


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summarise(state())


def text_of(summary: Summary) -> str:
    section = places_section(summary)
    assert section is not None
    return " ".join(section.paragraphs)


def test_an_arm_that_is_better_here_and_worse_there_is_named_with_both(summary: Summary) -> None:
    assert "The data sets disagree on fourier (better on digits, worse on cifar10)." in text_of(
        summary
    )
    assert "depends on which of the data sets it is for fourier (analysis" in text_of(summary)


def test_the_mean_over_data_sets_has_the_spread_between_them_in_its_interval(
    summary: Summary,
) -> None:
    assert summary.places is not None
    fourier, rbf = (each.overall for each in summary.places.arms)
    assert fourier is not None
    assert rbf is not None
    assert fourier.low < -0.05 < 0.05 < fourier.high, "three data sets cannot settle that"
    assert 0.05 < rbf.low < 0.06 < rbf.high < 0.07
    assert fourier.between == pytest.approx(0.05, rel=0.2)
    assert rbf.between < 0.005


def test_every_difference_is_to_the_reference_on_the_same_data_set(summary: Summary) -> None:
    section = places_section(summary)
    assert section is not None
    rows = section.tables[1].rows
    assert [row[:2] for row in rows[:3]] == [("fourier", place) for place in GAINS]
    assert [row[3] for row in rows[:3]] == ["better", "worse", "inconclusive"] or rows[2][
        3
    ] == "equivalent"
    assert summary.pairs == (), "values on different data sets do not compare"


def test_three_data_sets_are_said_to_be_few_and_ranks_that_decide_nothing_to_do_so(
    summary: Summary,
) -> None:
    text = text_of(summary)
    assert "3 data sets are few" in text
    assert "Mean ranks of 3 arms over 3 data sets" in text
    assert "Wilcoxon's signed ranks cannot have a p below 0.25 with 3 data sets." in text


def test_the_diagram_has_every_arm_once_with_its_rank(summary: Summary) -> None:
    section = places_section(summary)
    assert section is not None
    [figure] = section.figures
    for told in ("rbf 1.00", "softmax 2.33", "fourier 2.67"):
        assert figure.svg.count(f">{told}</text>") == 1
    assert "critical difference 1.91" in figure.svg


def test_where_all_agree_that_is_said() -> None:
    same = {place: {"softmax": 0.0, "fourier": 0.05, "rbf": 0.06} for place in GAINS}
    text = text_of(summarise(state(same)))
    assert "disagree" not in text
    assert "No difference was seen to depend on which of the data sets it is." in text


def test_nothing_is_said_before_all_runs_have_ended_or_with_one_data_set(summary: Summary) -> None:
    assert places_section(summarise(state(until="early"))) is None
    assert summarise(state({"digits": GAINS["digits"]})).places is None
    assert places_section(summarise(journals.study().state)) is None


def test_programs_read_it_and_the_page_has_it_once(summary: Summary) -> None:
    known = state()
    told = document(summarise(known), known)["places"]
    assert told["places"] == list(GAINS)
    assert [arm["disagrees"] for arm in told["arms"]] == [True, False]
    assert told["ranks"]["mean"]["rbf"] == 1.0
    assert [each.title for each in sections(summary)].count("Over the data sets") == 1
