"""Time and memory are measured once, at the first launch of a study, and written down."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from karat.datasets.digits import Digits
from karat.errors import InputError, TrialError
from karat.forecast.matching import Estimating, Measured
from karat.journal.journal import Event, Journal, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.report.facts.contrasts.matched import match_facts
from karat.space.reader import load_space, space_of
from karat.space.settings import ResourceConfig
from karat.space.space import Space
from karat.study.description import description
from karat.study.question import compare_question
from tests.space.matching.test_matched_arms import TEXT, twin

SPACE = TEXT.replace(
    "{by: parameters, change: {attention.rank: [4, 17], model.embed_dim: [24, 60]}}",
    "{by: step_time, change: {model.embed_dim: [24, 60]}}",
)


class Clock:
    """A machine on which a step takes as long as the model is wide, and half as long again without softmax."""

    def __init__(self, known: Mapping[str, Any] | None = None, pace: float = 1.0) -> None:
        self.known, self.pace = known or {}, pace
        self.measured: list[Any] = []

    def recorded(self, study: str) -> Mapping[str, Any]:
        assert study == "matched"
        return self.known

    def cost(self, by: str, sections: Any, resources: ResourceConfig) -> float:
        assert by == "step_time"
        self.measured.append(sections["model"])
        return self.pace * self.estimate(by, sections, resources)

    def estimate(self, by: str, sections: Any, resources: ResourceConfig) -> float:
        width = sections["model"].get("embed_dim", 48)
        if width % 3:
            raise InputError("must be a multiple of the heads")
        more = 1.0 if sections["attention"].get("basis", "softmax") == "softmax" else 1.5
        batch = sections["training"].get("batch_size", 64)
        return float(width * more * batch / 1e6)


def space(tmp_path: Path, measuring: Any, **changes: str) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return load_space(path, changes, measuring=measuring)


def test_an_arm_is_matched_to_the_measured_time_and_the_costs_are_written_down(
    tmp_path: Path,
) -> None:
    clock = Clock()
    known = space(tmp_path, clock)
    assert twin(known, "fourier").label == "fourier matched (embed_dim 33)"
    costs = known.source["match"]["costs"]
    assert costs["fourier"] == pytest.approx(1.5 * costs["softmax"])
    assert costs["fourier matched (embed_dim 33)"] == pytest.approx(costs["softmax"], rel=0.1)
    assert len(clock.measured) <= 8


def test_a_study_goes_on_with_the_arms_that_were_measured_when_it_began(tmp_path: Path) -> None:
    first = space(tmp_path, Clock())
    slower = Clock(first.source["match"], pace=3.0)
    again = space(tmp_path, slower)
    assert again.arms == first.arms
    assert again.hash == first.hash
    assert slower.measured == []
    assert space_of(first.source, "matched", "journal").arms == first.arms


def test_another_match_than_the_recorded_one_is_measured(tmp_path: Path) -> None:
    first = space(tmp_path, Clock())
    clock = Clock(first.source["match"])
    space(tmp_path, clock, **{"match.within": "0.2"})
    assert clock.measured


def test_the_launch_finds_what_a_journal_has_unless_it_begins_afresh(tmp_path: Path) -> None:
    known = space(tmp_path, Clock())
    folder = tmp_path / "studies" / "matched"
    with Journal.open(folder) as journal:
        journal.append("study_created", **description(known, "00"))  # type: ignore[arg-type]
    told: list[str] = []
    storage = tmp_path / "studies"
    assert Measured(storage, (), told.append).recorded("matched") == known.source["match"]
    assert Estimating(storage).recorded("matched") == known.source["match"]
    assert Estimating(storage).recorded("other") == {}
    assert Measured(storage, (), told.append, fresh=True).recorded("matched") == {}
    with Journal.open(folder) as journal:
        facts = match_facts(StudyState.of(journal.past), [])
    assert facts is not None
    [arm] = facts.arms
    assert arm.raw.deviation == pytest.approx(0.5)
    assert abs(arm.matched.deviation) <= facts.within == 0.1


@pytest.mark.parametrize("by", ["step_time", "memory"])
def test_a_plan_estimates_without_measuring(by: str, tmp_path: Path) -> None:
    known = space(
        tmp_path,
        Estimating(),
        **{"match.by": by, "match.within": "0.3", "attention.grid_size": "9"},
    )
    assert known.source["match"]["costs"].keys() == {"softmax", *known.source["match"]["costs"]}
    assert set(known.arms) <= set(known.source["match"]["costs"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"match.arms": "{fourier: {}}"}, "match.arms: must be given together with costs"),
        ({"match.by": "macs", "match.costs": "{fourier: 1}"}, "match.costs: does not go with by: macs"),
        (
            {"tuned.training.batch_size": "{values: [32, 64]}"},
            "tuned.training.batch_size: changes the time of a training step of softmax",
        ),
        (
            {"match.change": "{model.embed_dim: [48, 60]}"},
            "nearest: model.embed_dim 48 gives 4.61 ms time of a training step, 50.0 % above 3.07 ms",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_or_reached_is_refused(
    changes: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        space(tmp_path, Clock(), **changes)
    assert message in str(caught.value)


def test_without_a_launch_nothing_is_measured_and_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"match\.by = 'step_time': is measured at a launch"):
        space(tmp_path, None)


def test_a_step_that_cannot_be_measured_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise TrialError("the probe of a configuration failed: out of memory")

    monkeypatch.setattr("karat.forecast.predictions.Predictions.measured", fails)
    with pytest.raises(InputError, match=r"match\.by = step_time: name vit_micro.*out of memory"):
        space(tmp_path, Measured(tmp_path, (), print))


@pytest.mark.parametrize("changes", [{}, {"match.by": "parameters", "match.within": "0.2"}])
def test_a_verification_finds_the_matched_arms_that_a_journal_states(
    changes: dict[str, str], tmp_path: Path
) -> None:
    known = space(tmp_path, Clock(), **changes)
    with Journal.open(tmp_path / "matched") as journal:
        journal.append("study_created", **description(known, Digits().check()))  # type: ignore[arg-type]
    events = list(read_events(tmp_path / "matched" / JOURNAL))
    assert compare_question(events, tmp_path).findings == []
    forged = dict(events[0].data)
    forged["arms"] = [{k: v for k, v in arm.items() if k != "raw"} for arm in forged["arms"]]
    event = Event(0, 0.0, "study_created", forged)
    found = compare_question([event], tmp_path).findings
    assert any("raw of arm fourier matched" in line for line in found) == any(
        arm.raw for arm in known.arms.values()
    )
