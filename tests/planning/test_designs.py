"""A study of every design: it ends, resumes, is replayed and extended, and its report says what the design shows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.designs import DESIGNS
from karat.forecast.curves import ModelledCurves
from karat.forecast.simulator import simulate
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.planning.extension import changes_between, extended_source
from karat.planning.replay import replay
from karat.report.document import document
from karat.report.facts.summary import summarise
from karat.report.writer import write_report
from karat.space.reader import load_space, space_of
from karat.space.space import Space
from tests.simulated import findings
from tests.space.design.test_designs_in_spaces import GRID, OFF, THREE
from tests.study.test_study import open_study, run

WriteSpace = Callable[..., Path]
GIVEN = {"leave_one_out": OFF, "fractional": "{name: fractional, runs: 4}"}


def space_with(write_space: WriteSpace, name: str) -> Space:
    more = [GRID] if name == "grid" else []
    text = ("design: one_factor", f"design: {GIVEN.get(name, name)}")
    return load_space(write_space(text, *more, ("seeds: 2", "seeds: 3, by: arm"), text=THREE))


def events_of(space: Space, folder: Path, *stops: int) -> list[Event]:
    for steps in (*stops, 10**6):
        study, journal = open_study(space, folder)
        with journal:
            run(study, steps=steps)
    return list(read_events(folder / JOURNAL))


def asked(events: list[Event]) -> list[object]:
    return [event.data for event in events if event.kind == "trial_asked"]


@pytest.mark.parametrize("name", DESIGNS)
def test_a_study_of_every_design_resumes_to_the_same_trials_and_is_replayed(
    write_space: WriteSpace, tmp_path: Path, name: str
) -> None:
    space = space_with(write_space, name)
    whole, parts = events_of(space, tmp_path / "whole"), events_of(space, tmp_path / "parts", 5, 9)
    assert StudyState.of(whole).status == StudyState.of(parts).status == "completed"
    for events in (whole, parts):
        assert list(replay(space, events)) == []
    assert {json.dumps(each, sort_keys=True, default=list) for each in asked(whole)} == {
        json.dumps(each, sort_keys=True, default=list) for each in asked(parts)
    }


@pytest.mark.parametrize("name", DESIGNS)
def test_the_report_of_every_design_says_what_it_shows(
    write_space: WriteSpace, tmp_path: Path, name: str
) -> None:
    space, folder = space_with(write_space, name), tmp_path / "s"
    curves = ModelledCurves(0, dict.fromkeys(space.arms, 1.0))
    state = simulate(space, folder, 2, curves).state
    assert findings(folder) == []
    write_report(folder, state)
    text, summary = (folder / "report.md").read_text(), summarise(state)
    found = document(summary, state)["design"]
    assert found["name"] == name
    assert (f"| design | {name} |" in text) == (name != "search")
    shown = {"factorial": 6, "fractional": 3}
    assert len(found["effects"]) == shown.get(name, 0)
    assert ("## Effects of the factors" in text) == (name in shown)
    assert ("aliased with" in text) == (name == "fractional")
    assert len(found["changes"]) == (3 if name in ("one_factor", "leave_one_out") else 0)
    assert ("## What each factor gives" in text) == (name == "one_factor")
    assert ("## What each ingredient gives" in text) == (name == "leave_one_out")
    for each in found["changes"]:
        [arm] = [arm for arm in summary.arms if arm.label == each["arm"]]
        assert arm.comparison is not None
        assert each["difference"] == arm.comparison.difference


@pytest.mark.parametrize("name", DESIGNS)
def test_seeds_extend_a_study_and_another_design_is_another_question(
    write_space: WriteSpace, name: str
) -> None:
    space = space_with(write_space, name)
    larger = space_of(
        extended_source(space, ["seeds=+2"]), space.name, "here", space.early_stopping
    )
    assert [str(each) for each in changes_between(space, larger)] == ["confirm.seeds from 3 to 5"]
    other = space_with(write_space, "factorial" if name != "factorial" else "search")
    refused = [each for each in changes_between(space, other) if not each.is_allowed]
    assert "design" in {each.key for each in refused}
