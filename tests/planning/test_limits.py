"""Constraints that are known before training: what breaks one is never trained, and the sampler is asked again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from karat.causes import Skip
from karat.constraints import Constraint
from karat.errors import InputError
from karat.forecast.curves import ModelledCurves
from karat.forecast.simulator import not_simulated, simulate
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.planning.constraints import known_before
from karat.planning.plans.adaptive import MOST_PROPOSALS
from karat.planning.replay import replay
from karat.report.facts.summary import summarise
from karat.report.narrative import search_notes
from karat.samplers import SAMPLERS
from karat.space.reader import load_space
from karat.study.limits import limit_lines, never_trained
from karat.training.config import TrialConfig
from karat.training.costs import costs_of_trial
from tests.conftest import SMALL
from tests.driven import checked, go, without_ray
from tests.study.test_study import decisions

__all__ = ["without_ray"]  # a fixture
WriteSpace = Callable[..., Path]
# Ranks of both Fourier arms are tuned: of grid size 2, those above 7 have too many parameters.
RANKS = (
    SMALL.replace("attention: {rank: 4}\n", "")
    .replace("patch_size: 4", "patch_size: 2")
    .replace("tuned:", "tuned:\n  attention.rank: {low: 2, high: 16}")
)
SEARCH = "search: {sampler: tpe, trials: 6"


def limited(*constraints: str, sampler: str = "tpe", trials: int = 18) -> tuple[str, str]:
    search = f"search: {{sampler: {sampler}, trials: {trials}"
    return SEARCH, f"{search}, constraints: [{', '.join(constraints)}]"


def parameters_of(config: object) -> int:
    return costs_of_trial(TrialConfig.from_sections(config)).parameters  # type: ignore[arg-type]


LIMIT = 4000


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"grid"}))
def test_nothing_that_breaks_a_limit_is_trained_with_any_sampler_killed_or_not(
    write_space: WriteSpace, tmp_path: Path, sampler: str, without_ray: None
) -> None:
    path = write_space(limited(f"parameters <= {LIMIT}", sampler=sampler), text=RANKS)
    found = []
    for name, pieces in (("whole", 10**6), ("pieces", 9)):
        while go(path, tmp_path / name, steps=pieces) == 75:
            pass
        state = checked(tmp_path / name / "small")  # audit and replay find nothing
        assert all(parameters_of(t.config) <= LIMIT for t in state.trials.values())
        assert all(each.value > LIMIT for each in state.ruled_out)
        found.append((decisions(state), state.ruled_out))
    assert found[0] == found[1]
    assert state.ruled_out
    assert len(state.of_phase("search")) == 18 - state.given_up
    notes = " ".join(search_notes(summarise(state)))
    assert f"{len(state.ruled_out)} proposals broke one of search.constraints by what is" in notes


def test_an_arm_that_can_never_meet_a_limit_is_given_up_and_said_before(
    write_space: WriteSpace, tmp_path: Path, without_ray: None
) -> None:
    path = write_space(limited("parameters <= 2550", trials=6))
    lines = list(limit_lines(never_trained(load_space(path))))
    assert len(lines) == 1
    assert "fourier grid_size=2 has" in lines[0]
    assert "which breaks parameters <= 2550" in lines[0]
    assert go(path, tmp_path) == 0
    state = checked(tmp_path / "small")
    assert len(state.ruled_out) == state.given_up == 2  # each is asked for once
    assert state.confirmation is not None
    (skipped,) = state.confirmation["skipped"]
    assert (skipped["cause"], skipped["details"]) == (Skip.NONE_ALLOWED, {"stopped": 2, "of": 2})
    assert "In place of 2 trials nothing was found" in " ".join(search_notes(summarise(state)))
    assert go(path, tmp_path, "trials=+6") == 0
    state = checked(tmp_path / "small")
    assert (len(state.of_phase("search")), state.given_up) == (8, 4)


def test_a_place_is_given_up_after_as_many_proposals_as_are_allowed(
    write_space: WriteSpace, tmp_path: Path, without_ray: None
) -> None:
    # No rank meets this in the arm of grid size 2, and only rank 2 in the other one.
    assert go(write_space(limited("macs <= 42000", trials=6), text=RANKS), tmp_path) == 0
    state = checked(tmp_path / "small")
    of_arm = [each for each in state.ruled_out if each.arm == "fourier grid_size=2"]
    assert len(of_arm) == 2 * MOST_PROPOSALS
    assert sum(each.given_up for each in of_arm) == 2


@pytest.mark.parametrize("constraint", ["parameters <= 100", "macs <= 10"])
def test_a_limit_that_the_reference_breaks_is_refused(
    write_space: WriteSpace, constraint: str
) -> None:
    space = load_space(write_space(limited(constraint)))
    with pytest.raises(InputError, match=r"softmax has .* and it is the reference"):
        never_trained(space)


def test_memory_is_taken_from_the_forecast_and_unknown_memory_is_allowed(
    write_space: WriteSpace,
) -> None:
    limits = (Constraint.of("memory_mb <= 100"),)
    space = load_space(write_space())
    sections = space.arms["softmax"].config({"training.learning_rate": 0.01})
    assert known_before(limits, sections, lambda _: 101.0) == (limits[0], 101.0)
    assert known_before(limits, sections, lambda _: 100.0) is None
    assert known_before(limits, sections, lambda _: None) is None


def test_a_replay_finds_a_proposal_that_was_ruled_out_without_reason(
    write_space: WriteSpace, tmp_path: Path, without_ray: None
) -> None:
    path = write_space(limited(f"parameters <= {LIMIT}"), text=RANKS)
    assert go(path, tmp_path) == 0
    events = list(read_events(tmp_path / "small" / JOURNAL))
    place = next(k for k, e in enumerate(events) if e.kind == "trial_ruled_out")

    def other(**data: object) -> str:
        changed = replace(events[place], data={**events[place].data, **data})
        return str(next(replay(load_space(path), [*events[:place], changed]), None))

    assert other() == "None"
    assert "it breaks no constraint" in other(value=LIMIT)
    assert "it breaks no constraint" in other(limit=1.0)
    assert "ruled out" in other(tuned={"attention.rank": 8, "training.learning_rate": 0.01})


def test_a_simulation_knows_parameters_and_not_memory(write_space: WriteSpace) -> None:
    space = load_space(write_space(limited(f"parameters <= {LIMIT}", "memory_mb <= 1"), text=RANKS))
    curves = ModelledCurves(1, dict.fromkeys(space.arms, 1.0))
    assert [str(each) for each in not_simulated(space, curves)] == ["memory_mb <= 1"]
    state = simulate(space, None, 2, curves).state
    assert state.ruled_out
    assert {each.metric for each in state.ruled_out} == {"parameters"}
