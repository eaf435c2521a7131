"""The health of attention in a report: drawn where it was looked at, and a collapse told as a fact."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from karat.report.facts.summary import Summary, summarise
from karat.report.facts.training.attention import attention_of
from karat.report.figures.epochs.attention import attention_by_epoch
from karat.report.parts.attention import collapsed_card
from karat.report.parts.health import health_section
from karat.report.tables import Card
from karat.training.watching.config import HEALTH_METRICS
from tests import journals
from tests.journals import EPOCHS, SEEDS, Plan, Script
from tests.report.figures.test_figures import drawn, written

PLAN = Plan(levels=(1, 3), sharings=("blockwise",))
SOUND = {
    "tokens": [17, 17],
    "entropy": [[0.5, 0.9], [0.7, 0.99]],
    "effective_rank": [[0.3, 0.4]] * 2,
}


def watched(found: Mapping[str, Mapping[str, Any]], plan: Plan = PLAN) -> Script:
    """A study in which every run of these arms was looked at.

    Args:
        found: label to the `health` of its last reports; arms that are left out were not looked at.
        plan: of the study.
    """
    script = journals.study(plan)
    state = script.state
    for event in script.events:
        label = state.trials[event.data["trial"]].arm if event.kind == "reported" else ""
        if label in found:
            share = event.data["epoch"] / EPOCHS
            metrics = {name: 0.5 * share for name in HEALTH_METRICS if name != "health_negative"}
            event.data["metrics"].update(metrics)
            event.data["health"] = found[label]
    return script


def summary_of(found: Mapping[str, Mapping[str, Any]]) -> Summary:
    return summarise(watched(found).state)


def card_of(**health: Any) -> Card | None:
    return collapsed_card(summary_of({"softmax": SOUND, LABEL: {**SOUND, **health}}))


LABEL = next(each["label"] for each in journals.arms_of(PLAN) if each["label"] != "softmax")


def test_a_study_that_did_not_look_shows_and_says_nothing() -> None:
    summary = summary_of({})
    assert summary.attention == ()
    assert not list(attention_by_epoch(summary))
    section = health_section(summary)
    assert section is not None
    assert not any("attention" in note for note in section.paragraphs)


def test_an_arms_line_is_the_mean_over_its_runs_and_what_is_lacking_is_not_drawn() -> None:
    summary = summary_of({LABEL: SOUND})
    (arm,) = summary.attention
    assert (arm.label, arm.runs) == (LABEL, SEEDS)
    assert arm.epochs == tuple(range(1, EPOCHS + 1))
    assert arm.mean["health_entropy"][-1] == pytest.approx(0.5)
    assert all(math.isnan(value) for value in arm.mean["health_negative"])
    (figure,) = attention_by_epoch(summary)
    texts = [each.text for each in written(drawn(figure))]
    assert sum("entropy" in text for text in texts) == 1
    assert not any("negative" in text for text in texts)
    assert LABEL in texts
    assert not any(text.startswith("softmax") for text in texts)  # was not looked at


def test_texts_of_the_figure_do_not_meet() -> None:
    labels = [each["label"] for each in journals.arms_of(PLAN)]
    (figure,) = attention_by_epoch(summary_of(dict.fromkeys(labels, SOUND)))
    found = list(written(drawn(figure)))
    assert not [(a.text, b.text) for k, a in enumerate(found) for b in found[:k] if a.meets(b)]


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (
            {"entropy": [[0.0, 0.01], [0.02, 0.0]]},
            "to one token nearly alone, mean entropy by head 0.000 to 0.020",
        ),
        (
            {"entropy": [[1.0, 0.99], [0.985, 1.0]]},
            "to all tokens nearly alike, mean entropy by head 0.985 to 1.000",
        ),
        ({"effective_rank": [[1 / 17, 1.05 / 17]] * 2}, "mean effective rank 1.00 to 1.05 of 17"),
    ],
    ids=["one", "all", "rank"],
)
def test_a_collapse_in_all_heads_is_told_with_its_figures(health: Any, said: str) -> None:
    card = card_of(**health)
    assert card is not None
    assert said in card.found
    assert LABEL in card.found
    assert "softmax" not in card.found
    assert f"of {SEEDS} of {SEEDS} runs" in card.found


@pytest.mark.parametrize(
    "health",
    [
        {"entropy": [[0.0, 0.5], [0.0, 0.0]]},  # one head has not
        {"entropy": [[0.0, None], [0.0, 0.0]]},  # of one it is not known
        {"effective_rank": [[1 / 17, 2 / 17]] * 2},
    ],
    ids=str,
)
def test_a_single_head_that_has_not_collapsed_is_enough(health: Any) -> None:
    assert card_of(**health) is None
    section = health_section(summary_of({"softmax": SOUND}))
    assert section is not None
    assert any("attention that has collapsed in all heads" in note for note in section.paragraphs)


def test_runs_count_as_far_as_all_have_come() -> None:
    state = watched({LABEL: SOUND}).state
    runs = [trial for trial in state.of_phase("confirm") if trial.arm == LABEL]
    runs[0].reports = runs[0].reports.up_to(4)
    (arm,) = attention_of({LABEL: runs})
    assert arm.epochs == (1, 2, 3, 4)
