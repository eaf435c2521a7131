"""The cards on what weakens a study: true, with figures, and only where there is something."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from karat.report.facts.lengths import Length
from karat.report.facts.search_summary import FalseStops
from karat.report.facts.summary import Summary, summarise
from karat.report.narrative import certainty_notes
from karat.report.parts.health import health_notes, health_section
from karat.report.parts.weaknesses import seen
from karat.report.tables import Card
from karat.statistics.comparison import Comparison
from karat.statistics.power import pairs_needed, power
from karat.statistics.samples import rate_interval
from tests import journals
from tests.journals import Plan

EQUAL = Plan(finals=dict.fromkeys((None, 1, 3, 5, 7), 0.9), noise=0.02)


@pytest.fixture(scope="module")
def finished() -> Summary:
    return summarise(journals.study().state)


@pytest.fixture(scope="module")
def equal() -> Summary:
    return summarise(journals.study(EQUAL).state)


def cards(summary: Summary) -> dict[str, Card]:
    section = health_section(summary)
    return {} if section is None else {card.title: card for card in section.cards}


def clear(summary: Summary) -> str:
    section = health_section(summary)
    return "" if section is None else " ".join(section.paragraphs)


def test_unfinished_arms_are_named_with_their_signs(finished: Summary) -> None:
    card = cards(finished)["Training looks unfinished"]
    assert (
        "Validation accuracy still improved in the middle fifth of the training: softmax +2.35 points"
        in card.found
    )
    assert "Training loss above the lowest, 0.023: softmax 0.323." in card.found
    assert "confirm.budgets" in card.helps


def test_where_longer_training_was_tried_more_epochs_are_advised(finished: Summary) -> None:
    other = Length(budget=2, epochs=20, runs={}, test={}, comparisons={}, failed={})
    tried = replace(finished, lengths=(*finished.lengths, other))
    assert "confirm.budgets" not in cards(tried)["Training looks unfinished"].helps


def test_an_arm_that_longer_training_made_worse_has_a_card(finished: Summary) -> None:
    runs = finished.references[0].runs
    worse = Comparison(
        arm="longer", against="shorter", n=len(runs), difference=-0.0253, verdict="worse"
    )
    label = finished.others[0].label
    known = replace(finished.progress[label], longer=worse)
    other = Length(budget=2, epochs=20, runs={}, test={}, comparisons={}, failed={})
    tried = replace(
        finished,
        progress={**finished.progress, label: known},
        lengths=(*finished.lengths, other),
    )
    card = cards(tried)["Longer training makes it worse"]
    assert (
        f"got worse from 10 to 20 epochs: {label} -2.53 points. Verdicts are about 20" in card.found
    )
    assert "Longer training makes it worse" not in cards(finished)


def test_the_note_on_training_names_the_signs_that_count(finished: Summary) -> None:
    other = Length(budget=2, epochs=20, runs={}, test={}, comparisons={}, failed={})
    tried = replace(finished, lengths=(*finished.lengths, other))
    assert "It is a sign of unfinished training when it is above" in " ".join(
        certainty_notes(finished)
    )
    note = " ".join(certainty_notes(tried))
    assert "Here it is shown and is no sign, since longer training was tried" in note
    assert "It is a sign of unfinished training" not in note


def test_no_verdict_comes_with_what_could_be_seen(equal: Summary) -> None:
    card, known = cards(equal)["No verdict"], seen(equal)
    assert known is not None
    assert known.needed is not None
    assert f"{100 * known.sight.difference:.2f} points in 80 % of studies" in card.found
    assert card.helps.startswith(f"{known.needed} seeds would call 0.50 points in 80 %.")
    effect, level = equal.rule.smallest_difference / known.spread.sd, 0.05 / 4
    assert power(effect, known.needed, level) >= 0.8 > power(effect, known.needed - 1, level)


def test_pairs_that_nobody_can_run_are_not_counted() -> None:
    assert pairs_needed(0.001, 0.05) is None
    assert pairs_needed(100, 0.05) == 2


def test_no_verdict_is_missed_before_all_runs_have_ended() -> None:
    found = summarise(journals.study(replace(EQUAL, until="confirming")).state)
    assert "No verdict" not in cards(found)
    assert "inconclusive" not in clear(found)


def test_few_images_are_weighed_against_the_smallest_difference(finished: Summary) -> None:
    def with_images(count: int) -> Summary:
        setup = replace(finished.setup, images=MappingProxyType({"test": count}))
        return replace(finished, setup=setup)

    assert "Few test images" not in cards(finished)  # the journal does not say
    assert "test images" not in clear(finished)
    few = cards(with_images(359))["Few test images"]
    assert "one of them is 0.28 points, and the smallest difference that matters 0.50" in few.found
    assert "too few test images" in clear(with_images(10_000))


def test_a_verdict_that_other_images_do_not_bear_is_named(finished: Summary) -> None:
    arms = tuple(
        arm if arm.is_reference else replace(arm, population=(-0.01, 0.6)) for arm in finished.arms
    )
    setup = replace(finished.setup, images=MappingProxyType({"test": 10_000}))
    found = cards(replace(finished, arms=arms, setup=setup))["Few test images"].found
    assert found.startswith("The verdict on fourier grid_size=1 universal, ")


def test_few_seeds_are_those_whose_flipped_signs_cannot_decide(finished: Summary) -> None:
    assert "cannot be below 0.0625" in cards(finished)["Few seeds"].found
    assert cards(finished)["Few seeds"].helps == "6 seeds or more."
    strict = replace(finished, rule=replace(finished.rule, alpha=0.1))
    assert "Few seeds" not in cards(strict)


def test_false_stops_are_told_once(finished: Summary) -> None:
    low, high = rate_interval(1, 4, 0.05)
    stops = FalseStops(share=0.2, finished=4, best=1, low=low, high=high)
    found = replace(finished, search=replace(finished.search, false_stops=stops))
    assert (
        "1 of them was the best of an arm"
        in cards(found)["Early stopping would have cost something"].found
    )
    none = replace(found, search=replace(found.search, false_stops=replace(stops, best=0)))
    assert "false stops" in clear(none)


def test_failed_runs_are_counted_by_phase_with_the_reason(finished: Summary) -> None:
    found = cards(finished)["Runs failed"].found
    assert (
        found
        == "1 failed: 1 in the search. The reason: loss is NaN at epoch 1; the learning rate is too high."
    )


def test_a_study_that_has_not_begun_has_no_cards() -> None:
    found = summarise(journals.study(Plan(until="created")).state)
    assert health_section(found) is None
    assert list(health_notes(found)) == []
