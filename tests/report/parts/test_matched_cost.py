"""Raw and matched differences stand side by side, with how well the cost was matched."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from karat.journal.state import StudyState
from karat.report.answer import answer
from karat.report.document import document
from karat.report.facts.summary import Summary, summarise
from karat.report.parts.matched_cost import matched_section
from karat.report.sections import sections
from tests import journals
from tests.journals import Plan, Script, arm, created, end

TWIN = "fourier matched (rank 9)"
BASIS = "attention.basis"
MATCH = {
    "by": "parameters",
    "change": {"attention.rank": [4, 17]},
    "arms": {"fourier": {"attention.rank": 9}, "cosine": {}},
}
RUNS: Mapping[str, Sequence[float]] = {
    "softmax": (0.80, 0.81, 0.80, 0.79, 0.81),
    "fourier": (0.90, 0.92, 0.90, 0.89, 0.91),
    TWIN: (0.80, 0.80, 0.81, 0.79, 0.81),
    "cosine": (0.70, 0.72, 0.70, 0.69, 0.71),
}
COSTS = {"softmax": 1000, "fourier": 1200, TWIN: 1010, "cosine": 995}


def state(runs: Mapping[str, Sequence[float]] = RUNS, **more: Any) -> StudyState:
    """A study of `RUNS`, each a confirmed arm with its cost."""
    plan, script = Plan(levels=()), Script()
    arms = []
    for label, cost in COSTS.items():
        basis = label.partition(" ")[0]
        described = {**arm({BASIS: basis}, cost), "label": label, "flops": 1}
        arms.append({**described, "raw": "fourier"} if label == TWIN else described)
    data = created(plan, arms)
    data["references"] = [
        {"level": label, "arm": "softmax"} for label in COSTS if label != "softmax"
    ]
    data["confirm"] |= {"by": "arm"}
    data["space"] = {**data["space"], "match": {**MATCH, **more}}
    script.add("study_created", **data)
    journals.launch(script)
    tuned = {"training.learning_rate": 0.004}
    for each in arms:
        number = journals.ask(script, len(script.state.trials), "search", each, tuned, 0)
        journals.train(script, plan, number, 0.8, journals.EPOCHS, False)
        end(script, number, "completed")
    cells = [
        {
            "arm": each["label"],
            "level": None if each["label"] == "softmax" else each["label"],
            "trial": place,
            "tuned": tuned,
            "config": {},
            "value": 0.8,
        }
        for place, each in enumerate(arms)
    ]
    script.add("confirmation_planned", cells=cells, skipped=[])
    for index in range(journals.SEEDS):
        for each in arms:
            if index < len(runs[each["label"]]):
                number = len(script.state.trials)
                journals.ask(script, number, "confirm", each, tuned, index)
                value = runs[each["label"]][index]
                journals.train(script, plan, number, value, journals.EPOCHS, True)
                end(script, number, "completed")
    if all(len(of) == journals.SEEDS for of in runs.values()):
        script.add("study_ended", status="completed")
    return script.state


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summarise(state())


def rows(summary: Summary) -> list[dict[str, str]]:
    section = matched_section(summary)
    assert section is not None
    [table] = section.tables
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_both_differences_and_both_costs_of_an_arm_are_beside_each_other(summary: Summary) -> None:
    told = [list(row.values())[:4] for row in rows(summary)]
    assert told == [
        ["softmax (reference)", "", "1,000", ""],
        ["fourier", "nothing", "1,200", "+20.0 %"],
        ["fourier", "rank 9", "1,010", "+1.0 %"],
        ["cosine", "nothing: it costs the same", "995", "-0.5 %"],
    ]
    assert [row["verdict"] for row in rows(summary)] == [
        "reference",
        "better",
        "inconclusive",
        "worse",
    ]
    found = {each.label: each.comparison for each in summary.others}
    for label, row in zip(("fourier", TWIN), rows(summary)[1:3], strict=True):
        known = found[label]
        assert known is not None
        assert known.difference is not None
        difference = row["difference (points), 95 % interval"]
        assert difference.startswith(f"{100 * known.difference:+.2f} (")


def test_it_is_said_how_well_the_cost_is_matched_and_whose_verdict_changes(
    summary: Summary,
) -> None:
    section = matched_section(summary)
    assert section is not None
    text = " ".join(section.paragraphs)
    assert "within 2 %" in text
    assert "The largest deviation that is left: 1.0 % (fourier)." in text
    assert "Of the model itself" not in text
    assert "The verdict is another one at equal cost for fourier." in text


def test_a_change_of_the_model_is_named() -> None:
    arms = {"fourier": {"model.embed_dim": 9}, "cosine": {}}
    section = matched_section(summarise(state(arms=arms)))
    assert section is not None
    assert "Of the model itself, embed_dim is changed." in " ".join(section.paragraphs)


def test_a_deviation_beyond_what_was_asked_for_is_named() -> None:
    section = matched_section(summarise(state(within=0.005)))
    assert section is not None
    assert "1.0 % (fourier), more than was asked for." in " ".join(section.paragraphs)


def test_the_answer_has_both_verdicts_and_none_before_the_end(summary: Summary) -> None:
    told = "At equal parameters: fourier is inconclusive (+0.00 points), and as it is better (+10.20 points); cosine is worse"
    assert told in answer(summary)
    early = summarise(state({label: of[:3] for label, of in RUNS.items()}))
    assert "At equal parameters" not in answer(early)
    assert {row["verdict"] for row in rows(early)} == {"reference", "pending"}


def test_tests_over_factors_leave_matched_arms_out(summary: Summary) -> None:
    labels = {each for found in summary.interactions for each in (found.comparison.arm,)}
    assert not any("matched" in each for each in labels)
    assert [each.raw for each in summary.arms if each.raw] == ["fourier"]


def test_programs_read_the_match_and_sections_have_it_once(summary: Summary) -> None:
    known = state()
    told = document(summarise(known), known)["match"]
    assert told["by"] == "parameters"
    assert told["arms"][0] == {
        "arm": "fourier", "matched": TWIN, "against": "softmax", "changes": {"attention.rank": 9},
        "target": 1000, "raw": 1200, "reached": 1010, "deviation": pytest.approx(0.01),
    }  # fmt: skip
    assert [each.title for each in sections(summary)].count("At equal cost") == 1


def test_a_study_without_match_has_no_such_section() -> None:
    known = journals.study().state
    assert matched_section(summarise(known)) is None
    assert document(summarise(known), known)["match"] is None
