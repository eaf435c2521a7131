"""The facts of a study as JSON."""

import json
from typing import Any

import pytest

from karat.report.answer import answer
from karat.report.document import document
from karat.report.facts.summary import summarise
from tests import journals
from tests.journals import Plan


def document_of(plan: Plan) -> dict[str, Any]:
    state = journals.study(plan).state
    return document(summarise(state), state)


@pytest.fixture(scope="module")
def finished() -> dict[str, Any]:
    return document_of(Plan())


def test_it_survives_json_without_a_change(finished: dict[str, Any]) -> None:
    assert json.loads(json.dumps(finished, allow_nan=False)) == finished
    assert json.loads(
        json.dumps(
            document_of(Plan(levels=((0, 1), "all"), finals={None: 0.7, (0, 1): 0.8, "all": 0.9}))
        )
    )


def test_keys_are_the_same_however_far_a_study_is(finished: dict[str, Any]) -> None:
    def keys(value: dict[str, Any]) -> list[set[str]]:
        lists = [value[name][:1] for name in ("arms", "trials")]
        return [set(value), *(set(each) for of in lists for each in of)]

    for until in ("created", "searching", "searched", "confirming"):
        found = document_of(Plan(until=until))
        assert all(each in keys(finished) for each in keys(found))
    assert set(finished["trials"][0]) == set(finished["trials"][-1])


def test_values_have_full_precision_and_the_units_of_the_journal(finished: dict[str, Any]) -> None:
    state = journals.study(Plan()).state
    summary = summarise(state)
    for arm, told in zip(summary.arms, finished["arms"], strict=True):
        assert told["test"]["mean"] == arm.test.mean
        assert told["test"]["by_seed"] == {str(index): value for index, value in arm.runs.items()}
        if arm.comparison is not None:
            assert told["comparison"]["difference"] == arm.comparison.difference
            assert told["comparison"]["p_holm"] == arm.comparison.p_holm
            assert told["comparison"]["verdict"] == arm.comparison.verdict
    assert finished["answer"] == answer(summary)
    assert finished["headline"] in {arm["label"] for arm in finished["arms"]}
    assert finished["began_at"] == "2024-05-01T08:00:00.100+00:00"


def test_no_p_and_no_verdict_before_all_runs_have_ended() -> None:
    found = document_of(Plan(until="confirming"))
    compared = [arm["comparison"] for arm in found["arms"] if arm["comparison"]]
    assert compared
    assert {each[key] for each in compared for key in ("p", "p_holm", "verdict", "why")} == {None}
    assert found["verdict"] is None
    assert found["pairs"] == []


def test_a_trial_has_its_settings_its_best_epoch_and_its_end_in_words(
    finished: dict[str, Any],
) -> None:
    state = journals.study(Plan()).state
    for told in finished["trials"]:
        trial = state.trials[told["trial"]]
        assert told["settings"]["training.learning_rate"] == trial.tuned["training.learning_rate"]
        assert told["settings"]["attention.basis"] == trial.factors["attention.basis"]
        assert told["epochs"] == len(trial.reports)
    failed = [told for told in finished["trials"] if told["status"] == "failed"]
    assert [told["reason"] for told in failed] == [
        "loss is NaN at epoch 1; the learning rate is too high"
    ]
    stopped = next(told for told in finished["trials"] if told["status"] == "stopped")
    assert stopped["reason"] == "early stopping at epoch 1"
    assert (stopped["best_epoch"], stopped["test"]) == (1, None)


def test_arms_say_which_signs_of_unfinished_training_they_show(finished: dict[str, Any]) -> None:
    signs = {arm["label"]: arm["unfinished_training"] for arm in finished["arms"]}
    assert signs["softmax"] == ["improving", "train_loss"]
    assert all(isinstance(each, list) for each in signs.values())
