"""The report's sections on shifted images and on scores beside accuracy."""

from typing import Any

import numpy as np
import pytest

from karat.report.document import document
from karat.report.facts.summary import Summary, summarise
from karat.report.facts.testing.shifted import ALL
from karat.report.parts.testing import scores_section, shifted_section
from karat.statistics.comparison import compare
from tests import journals
from tests.journals import Plan, Script

NAMES = ("noise", "blur")
CLASSES = 7


def scores_of(value: float) -> dict[str, Any]:
    return {
        "images": 700,
        "top1": value,
        "top5": 0.9 + value / 10,
        "loss": 1 - value,
        "calibration_error": 0.05,
        "per_class": [value - 0.01 * number for number in range(CLASSES - 1)] + [None],
        "seconds": 0.5,
        "images_per_s": 1400.0,
        "peak_bytes": 2**30,
    }


def shifted_of(value: float, draw: np.random.Generator) -> dict[str, Any]:
    """Accuracies that fall with the strength, under two corruptions."""
    return {
        name: [
            {
                "strength": strength,
                "accuracy": value - 0.05 * strength * (number + 1) + float(draw.normal(0, 0.002)),
                "loss": 1.0,
                "calibration_error": 0.1,
                "predictions": "ab",
            }
            for strength in range(1, 6)
        ]
        for number, name in enumerate(NAMES)
    }


def script_of(plan: Plan | None = None, names: tuple[str, ...] = NAMES) -> Script:
    """A synthetic study whose confirmed runs were tested on shifted images."""
    script, draw = journals.study(plan), np.random.default_rng(0)
    script.events[0].data["data"]["classes"] = [f"class {n}" for n in range(CLASSES)]
    for event in script.events:
        value = event.data.get("metrics", {}).get("test_accuracy")
        if value is not None:
            event.data["scores"] = scores_of(value)
            shifted = shifted_of(value, draw)
            event.data["shifted"] = {name: shifted[name] for name in names}
    return script


@pytest.fixture(scope="module")
def finished() -> Summary:
    return summarise(script_of().state)


def test_a_run_under_a_corruption_counts_as_the_mean_over_its_strengths(finished: Summary) -> None:
    state = script_of().state
    assert finished.shifted is not None
    for arm in finished.shifted.arms:
        for trial in state.of_phase("confirm"):
            if trial.arm != arm.label:
                continue
            assert trial.shifted is not None
            means = [np.mean([e["accuracy"] for e in trial.shifted[name]]) for name in NAMES]
            for name, mean in zip(NAMES, means, strict=True):
                assert arm.runs[name][trial.seed_index] == pytest.approx(mean)
            assert arm.runs[ALL][trial.seed_index] == pytest.approx(np.mean(means))


def test_all_comparisons_are_one_family_paired_by_seed(finished: Summary) -> None:
    facts = finished.shifted
    assert facts is not None
    assert facts.keys == (*NAMES, ALL)
    others = [arm for arm in facts.arms if arm.against is not None]
    assert facts.comparisons == 3 * len(others)
    runs = {f"{arm.label} {key}": arm.runs[key] for arm in facts.arms for key in facts.keys}
    against = {f"{arm.label} {key}": f"{arm.against} {key}" for arm in others for key in facts.keys}
    wanted = compare(runs, against, finished.rule)
    for arm in others:
        for key in facts.keys:
            found, other = arm.comparisons[key], wanted[f"{arm.label} {key}"]
            assert (found.p_holm, found.verdict) == (other.p_holm, other.verdict)
            assert (found.arm, found.against) == (arm.label, arm.against)
            assert found.p_holm is not None
            assert found.p is not None
            assert found.p_holm >= found.p


def test_the_family_of_the_clean_images_does_not_change(finished: Summary) -> None:
    plain = summarise(journals.study().state)
    assert plain.shifted is None
    assert [arm.comparison for arm in plain.arms] == [arm.comparison for arm in finished.arms]


def test_the_report_says_how_many_comparisons_there_are(finished: Summary) -> None:
    section = shifted_section(finished)
    assert section is not None
    [_, note, *_] = section.paragraphs
    assert note.startswith(
        "These are 12 further comparisons, 4 arms under 2 corruptions and their mean"
    )
    verdicts, strengths = section.tables
    assert len(verdicts.rows) == 3 * 5
    assert verdicts.rows[0][:2] == ("mean of all", "softmax (reference)")
    assert strengths.columns == ("arm", *(f"strength {n}" for n in range(1, 6)))


def test_one_corruption_has_no_mean_of_all() -> None:
    facts = summarise(script_of(names=("noise",)).state).shifted
    assert facts is not None
    assert facts.keys == ("noise",)
    assert facts.comparisons == 4


def test_no_verdict_on_shifted_images_before_all_runs_have_ended() -> None:
    summary = summarise(script_of(Plan(until="confirming")).state)
    section = shifted_section(summary)
    assert section is not None
    assert "Verdicts follow when all runs have ended." in section.paragraphs
    assert {row[-1] for row in section.tables[0].rows} == {"", "reference"}


def test_losses_are_compared_where_the_study_is_about_the_loss() -> None:
    facts = summarise(script_of(Plan(metric="val_loss")).state).shifted
    assert facts is not None
    assert {value for arm in facts.arms for value in arm.runs[ALL].values()} == {1.0}


def test_scores_are_means_over_runs_with_the_worst_class_named(finished: Summary) -> None:
    section = scores_section(finished)
    assert section is not None
    for arm, row in zip(finished.scores, section.tables[0].rows, strict=True):
        assert arm.worst is not None
        assert arm.worst[0] == "class 5"
        assert row[0] == arm.label
        assert row[2] == f"{100 * arm.top5:.2f}"  # type: ignore[operator]
        assert row[-3:] == (f"class 5: {100 * (arm.top1 - 0.05):.2f}", "1,400", "1.00 GiB")
    classes = section.tables[1]
    assert [row[0] for row in classes.rows] == [f"class {n}" for n in range(CLASSES)]
    assert set(classes.rows[-1][1:]) == {"-"}


def test_journals_without_scores_have_neither_section() -> None:
    summary = summarise(journals.study().state)
    assert scores_section(summary) is None
    assert shifted_section(summary) is None


def test_the_document_has_both(finished: Summary) -> None:
    told = document(finished, script_of().state)
    assert [each["arm"] for each in told["scores"]] == [arm.label for arm in finished.arms]
    shifted = told["shifted"]
    assert shifted["corruptions"] == list(NAMES)
    assert shifted["comparisons"] == 12
    of_arm = shifted["arms"][1]["by_corruption"]["blur"]
    assert of_arm["comparison"]["verdict"] in ("better", "worse", "equivalent", "inconclusive")
    assert set(of_arm["by_seed"]) == set("01234")
