"""A shortlist: the best cells of the search are trained again with fresh seeds, and the best mean is confirmed."""

import io
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from karat.cli.dry_run import print_plan
from karat.forecast.curves import TrialInfo
from karat.forecast.simulator import Simulated, simulate
from karat.journal.journal import Event, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.planning.decisions import Decisions
from karat.planning.plans.shortlist import chosen_of
from karat.planning.replay import replay
from karat.report.answer import answer
from karat.report.facts.summary import summarise
from karat.report.writer import write_report
from karat.seeds import derive
from karat.space.reader import load_space
from karat.space.space import Space
from tests.simulated import findings
from tests.spaces import MATCHED

WriteSpace = Callable[..., Path]
RATE = "training.learning_rate"
FULL = ("scheduler: asha, grace_epochs: 1, reduction_factor: 3", "scheduler: none")
LISTED = (("trials: 6", "trials: 12"), ("seeds: 2", "seeds: 2, shortlist: 3"), FULL)
STOPPED = (
    ("trials: 6", "trials: 24"),
    ("{scheduler: asha, grace_epochs: 1, reduction_factor: 3}", "{scheduler: one_epoch, keep: 2}"),
    LISTED[1],
)
GRID = (
    ("sampler: tpe, trials: 6", "sampler: grid"),
    ("{low: 1e-3, high: 1e-2, log: true}", "{values: [0.001, 0.002, 0.004, 0.01]}"),
    ("seeds: 2", "seeds: 2, shortlist: 3"),
    FULL,
)


@dataclass
class Chosen:
    """Search trials are best at the lowest rate, by luck; the runs after them have these values.

    Args:
        fresh: rate to value after the search, by place among the rates of the grid if they are few.
        failing: rates at which every run after the search fails, or only those of the first seed.
        searching: the seeds of the search.
    """

    searching: frozenset[int]
    fresh: Mapping[float, float] = field(default_factory=dict)
    failing: Mapping[float, str] = field(default_factory=dict)
    _first: dict[str, int] = field(default_factory=dict)

    def value(self, trial: TrialInfo, epoch: int) -> float:
        rate = trial.tuned[RATE]
        if trial.seed in self.searching:
            return 0.9 - 10 * rate
        if (how := self.failing.get(rate)) and (how == "all" or trial.seed == self.first(trial)):
            return float("nan")
        return self.fresh.get(rate, 0.5) + 1e-7 * (derive(trial.arm, trial.seed) % 97)

    def first(self, trial: TrialInfo) -> int:
        return self._first.setdefault(trial.arm, trial.seed)

    def seconds(self, trial: TrialInfo, epoch: int) -> float:
        return 1.0


def curves(space: Space, **more: Mapping[float, float] | Mapping[float, str]) -> Chosen:
    seeds = frozenset(space.seed_of("search", index) for index in range(1000))
    return Chosen(seeds, **more)  # type: ignore[arg-type]


@pytest.fixture
def space(write_space: WriteSpace) -> Space:
    return load_space(write_space(*LISTED))


@pytest.fixture
def done(space: Space, tmp_path: Path) -> Simulated:
    return simulate(space, tmp_path / "s", 2, curves(space))


def events_of(folder: Path) -> list[Event]:
    return list(read_events(folder / JOURNAL))


def cells_of(state: StudyState) -> Mapping[str, Mapping[str, object]]:
    assert state.confirmation is not None
    return {cell["arm"]: cell for cell in state.confirmation["cells"]}


def grid(write_space: WriteSpace, *more: tuple[str, str]) -> Space:
    return load_space(write_space(*GRID, *more))


# -- what is run ------------------------------------------------------------------------------


def test_the_best_cells_of_each_search_are_trained_again_and_no_others(done: Simulated) -> None:
    state = done.state
    for label, numbers in state.shortlists.planned.items():
        listed = [state.trials[number] for number in numbers]
        others = [
            trial
            for trial in state.of_phase("search")
            if trial.arm == listed[0].arm and trial.number not in numbers
        ]
        assert (len(listed), len(others)) == (3, 1), label
        values = [trial.last("val_accuracy") or 0 for trial in listed]
        assert values == sorted(values, reverse=True)
        assert values[-1] >= (others[0].last("val_accuracy") or 0)
    runs = state.of_phase("shortlist")
    assert Counter((run.arm, run.tuned[RATE]) for run in runs) == {
        (trial.arm, trial.tuned[RATE]): 2
        for numbers in state.shortlists.planned.values()
        for trial in [state.trials[number] for number in numbers]
    }


def test_the_runs_are_paired_full_length_and_have_seeds_of_their_own(done: Simulated) -> None:
    state = done.state
    runs = state.of_phase("shortlist")
    by_arm = {run.arm: {each.seed for each in runs if each.arm == run.arm} for run in runs}
    assert len(set(map(frozenset, by_arm.values()))) == 1
    seeds = {trial.phase: set[int]() for trial in state.trials.values()}
    for trial in state.trials.values():
        seeds[trial.phase].add(trial.seed)
    assert len(seeds["shortlist"]) == 2
    assert not seeds["shortlist"] & (seeds["search"] | seeds["confirm"])
    assert {(run.budget, len(run.reports)) for run in runs} == {(1, 4)}


def test_the_runs_are_never_tested(done: Simulated) -> None:
    for run in done.state.of_phase("shortlist"):
        assert run.tested is None
        assert not any(name.startswith("test_") for each in run.reports for name in each.metrics)


def test_early_stopping_leaves_the_runs_alone(write_space: WriteSpace, tmp_path: Path) -> None:
    space = load_space(write_space(*STOPPED))
    state = simulate(space, tmp_path / "s", 2, curves(space)).state
    assert any(trial.status == "stopped" for trial in state.of_phase("search"))
    assert {run.status for run in state.of_phase("shortlist")} == {"completed"}
    stopped = {t.number for t in state.of_phase("search") if t.status == "stopped"}
    assert not stopped & state.shortlists.runs.keys()
    assert not list(replay(space, events_of(tmp_path / "s")))
    assert findings(tmp_path / "s") == []


def test_a_contest_is_planned_while_others_still_search(done: Simulated, tmp_path: Path) -> None:
    events = events_of(tmp_path / "s")
    planned = [event for event in events if event.kind == "shortlist_planned"]
    assert len(planned) > 1
    assert any(
        event.seq > planned[0].seq
        for event in events
        if event.kind == "reported" and done.state.trials[event.data["trial"]].phase == "search"
    )


def test_a_study_without_a_shortlist_has_no_word_of_it(small_space: Space, tmp_path: Path) -> None:
    state = simulate(small_space, tmp_path / "s", 2, curves(small_space)).state
    assert not any(event.kind == "shortlist_planned" for event in events_of(tmp_path / "s"))
    assert state.created["totals"].keys() == {"search", "confirm"}
    assert all("search_value" not in cell for cell in cells_of(state).values())
    assert "hortlist" not in " ".join(
        [answer(summarise(state)), *(str(each) for each in Decisions(small_space, "").total_trials)]
    )


# -- which cell is confirmed ------------------------------------------------------------------


def test_the_best_mean_of_the_fresh_runs_is_confirmed_not_the_luck_of_the_search(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = grid(write_space)
    known = curves(space, fresh={0.001: 0.5, 0.002: 0.7, 0.004: 0.6, 0.01: 0.9})
    state = simulate(space, tmp_path / "s", 2, known).state
    for arm, cell in cells_of(state).items():  # 0.01 was the worst in the search
        assert cell["tuned"] == {RATE: 0.002}
        runs = [r for r in state.of_phase("shortlist") if (r.arm, r.tuned[RATE]) == (arm, 0.002)]
        assert cell["value"] == statistics.fmean(r.last("val_accuracy") or 0 for r in runs)
        assert cell["search_value"] == pytest.approx(0.88)
        confirmed = [run for run in state.of_phase("confirm") if run.arm == arm]
        assert {run.tuned[RATE] for run in confirmed} == {0.002}


def test_a_tie_goes_to_the_lower_loss_and_then_to_the_better_one_in_the_search(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = grid(write_space)
    state = simulate(space, tmp_path / "s", 2, curves(space)).state
    assert {cell["tuned"][RATE] for cell in cells_of(state).values()} == {0.001}  # type: ignore[index]
    contest = Decisions(space, "").contests[0]
    third = state.shortlists.planned[contest.label][2]
    for run in state.shortlists.runs[third]:
        last = run.reports[-1]
        run.reports = run.reports.up_to(3)
        run.reports.add(4, {**last.metrics, "val_loss": 0.1}, 1.0, 0.0)
    choice = chosen_of(contest, space, state)
    assert choice is not None
    assert choice.trial.number == third


def test_a_cell_with_a_failed_run_comes_after_those_without(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space, folder = grid(write_space), tmp_path / "s"
    known = curves(space, fresh={0.001: 0.9, 0.002: 0.8, 0.004: 0.6}, failing={0.001: "first"})
    state = simulate(space, folder, 1, known).state
    assert {cell["tuned"][RATE] for cell in cells_of(state).values()} == {0.002}  # type: ignore[index]
    assert not list(replay(space, events_of(folder)))
    assert findings(folder) == []
    write_report(folder, state)
    assert "(18 runs, of which 3 failed)" in (folder / "report.md").read_text()


def test_a_level_whose_runs_all_failed_is_skipped_with_that_cause(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space, folder = (
        grid(write_space, ("shortlist: 3", "shortlist: 2, shortlist_seeds: 1")),
        tmp_path / "s",
    )

    class OneArm(Chosen):
        def value(self, trial: TrialInfo, epoch: int) -> float:
            is_bad = trial.arm == "fourier grid_size=1" and trial.seed not in self.searching
            return float("nan") if is_bad else super().value(trial, epoch)

    state = simulate(space, folder, 1, OneArm(curves(space).searching)).state
    assert state.status == "completed"
    assert state.confirmation is not None
    assert state.confirmation["skipped"] == [{"label": "grid_size=1", "cause": "none_repeated"}]
    assert not list(replay(space, events_of(folder)))
    assert findings(folder) == []
    write_report(folder, state)
    assert (
        "| grid_size=1 | every run of its shortlist failed |" in (folder / "report.md").read_text()
    )


def test_a_cell_that_the_search_tried_twice_is_on_the_list_once(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = load_space(
        write_space(
            ("trials: 6", "trials: 24"),
            ("{low: 1e-3, high: 1e-2, log: true}", "{values: [0.001, 0.002, 0.004]}"),
            *LISTED[1:],
        )
    )
    state = simulate(space, tmp_path / "s", 2, curves(space)).state
    assert any(count > 1 for count in Counter((t.arm, t.tuned[RATE]) for t in state.of_phase("search")).values())  # fmt: skip
    for numbers in state.shortlists.planned.values():
        rates = [state.trials[number].tuned[RATE] for number in numbers]
        assert len(rates) == len(set(rates))
    assert findings(tmp_path / "s") == []


def test_the_answer_is_about_the_arm_that_did_best_in_the_fresh_runs(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = grid(write_space)

    class ByArm(Chosen):
        def value(self, trial: TrialInfo, epoch: int) -> float:
            first = trial.arm == "fourier grid_size=1"
            luck = 0.05 * (first if trial.seed in self.searching else not first)
            return super().value(trial, epoch) + luck

    state = simulate(space, tmp_path / "s", 2, ByArm(curves(space).searching)).state
    summary = summarise(state)
    searched = {arm: cell["search_value"] for arm, cell in cells_of(state).items()}
    assert searched["fourier grid_size=1"] > searched["fourier grid_size=2"]  # type: ignore[operator]
    assert summary.headline is not None
    assert summary.headline.label == "fourier grid_size=2"
    assert "grid_size=2, best in the fresh runs of the shortlists and as tuned here" in answer(
        summary
    )


# -- every kind of study ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exchanges", "text"),
    [
        (LISTED, None),
        (GRID, None),
        ((*LISTED[:2], ("sampler: tpe", "sampler: random"), FULL), None),
        ((("trials: 6", "trials: 12"), ("seeds: 2", "seeds: 4, tunings: 2, shortlist: 2"), FULL), None),
        ((*LISTED, ("by: attention.grid_size", "by: arm")), None),
        ((*LISTED, ("by: attention.grid_size", "by: attention.basis")), None),
        ((("trials: 6", "trials: 12, allocation: by_level"), *LISTED[1:]), None),
        ((("trials: 6", "trials: 20, allocation: free"), *LISTED[1:]), None),
        ((*LISTED[:1], ("seeds: 2", "seeds: 2, budgets: [1, 2], shortlist: 2, shortlist_seeds: 3")), None),
        ((("seeds: 2", "seeds: 2, shortlist: 2"), FULL), MATCHED),
    ],
)  # fmt: skip
def test_a_study_with_a_shortlist_is_whole_and_replays(
    write_space: WriteSpace,
    tmp_path: Path,
    exchanges: tuple[tuple[str, str], ...],
    text: str | None,
) -> None:
    space = load_space(write_space(*exchanges, **({} if text is None else {"text": text})))
    folder = tmp_path / "s"
    state = simulate(space, folder, 2, curves(space)).state
    assert state.status == "completed"
    confirm = space.confirm
    for contest in Decisions(space, "").contests:
        numbers = state.shortlists.planned[contest.label]
        assert 0 < len(numbers) <= confirm.shortlist
        listed = [state.trials[number] for number in numbers]
        assert {(trial.arm, trial.tuning) for trial in listed} <= {
            (arm.label, contest.tuning) for arm in contest.arms
        }
        assert all(len(state.shortlists.runs[number]) == confirm.fresh_seeds for number in numbers)
    assert len(state.of_phase("confirm")) == len(state.confirmation["cells"]) * confirm.runs_each  # type: ignore[index]
    assert not list(replay(space, events_of(folder)))
    assert findings(folder) == []


def test_tunings_have_shortlists_and_seeds_of_their_own(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = load_space(
        write_space(("trials: 6", "trials: 12"), ("seeds: 2", "seeds: 4, tunings: 2, shortlist: 2"), FULL)
    )  # fmt: skip
    state = simulate(space, tmp_path / "s", 2, curves(space)).state
    runs = state.of_phase("shortlist")
    assert Counter((run.arm, run.tuning) for run in runs) == {
        (arm, tuning): 4 for arm in space.arms for tuning in (0, 1)
    }
    seeds = {tuning: {run.seed for run in runs if run.tuning == tuning} for tuning in (0, 1)}
    assert not seeds[0] & seeds[1]


def test_arms_of_a_level_share_its_shortlist(write_space: WriteSpace, tmp_path: Path) -> None:
    space = load_space(write_space(*LISTED, ("by: attention.grid_size", "by: attention.basis")))
    state = simulate(space, tmp_path / "s", 2, curves(space)).state
    assert {label: len(each) for label, each in state.shortlists.planned.items()} == {
        "softmax": 3,
        "basis=fourier": 3,
    }
    assert len(state.of_phase("shortlist")) == 2 * 3 * 2


# -- folding ----------------------------------------------------------------------------------


def progress(decisions: Decisions) -> tuple[object, ...]:
    """What a study does next in a state, and what it has."""
    state = decisions.state
    runs = {number: [run.number for run in runs] for number, runs in state.shortlists.runs.items()}
    return (
        decisions.proposal(),
        decisions.turn(),
        decisions.total_trials,
        state.shortlists.planned,
        runs,
    )


def test_a_study_killed_after_any_event_goes_on_as_if_nothing_had_happened(
    space: Space, done: Simulated, tmp_path: Path
) -> None:
    """What follows from a prefix of the journal is what the study did: asked for, planned, chose."""
    events = events_of(tmp_path / "s")
    kinds = ("trial_asked", "shortlist_planned", "confirmation_planned", "study_ended")
    places = [place for place, event in enumerate(events) if event.kind in kinds]
    first = next(event.seq for event in events if event.kind == "shortlist_planned")
    for place in [each for each in places if each >= first][::3]:
        decisions = Decisions(space, "")
        for event in events[:place]:
            decisions.observe(event)
        data = dict(events[place].data)
        if events[place].kind == "trial_asked":
            assert decisions.proposal() == data
        else:
            assert decisions.turn() == (events[place].kind, data)


def test_another_shortlist_or_another_choice_is_named_by_a_replay(
    space: Space, done: Simulated, tmp_path: Path
) -> None:
    events = events_of(tmp_path / "s")
    for kind, change in (("shortlist_planned", {"contests": []}), ("confirmation_planned", {"skipped": ["x"]})):  # fmt: skip
        place = next(place for place, event in enumerate(events) if event.kind == kind)
        other = Event(place, events[place].time, kind, {**events[place].data, **change})
        found = replay(space, [*events[:place], other])
        assert next(found).seq == place


def test_totals_fall_to_what_is_there_once_the_lists_are_planned(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = load_space(write_space(*STOPPED))
    decisions = Decisions(space, "")
    assert decisions.total_trials == {"search": 24, "shortlist": 3 * 3 * 2, "confirm": 6}
    state = simulate(space, tmp_path / "s", 2, curves(space)).state
    for event in events_of(tmp_path / "s"):
        decisions.observe(event)
    counts = {phase: len(state.of_phase(phase)) for phase in decisions.total_trials}
    assert decisions.total_trials == counts
    assert counts["shortlist"] < 3 * 3 * 2  # early stopping leaves two in each arm


# -- what it takes ----------------------------------------------------------------------------


def test_the_plan_names_the_shortlists_and_their_price(space: Space, tmp_path: Path) -> None:
    output = io.StringIO()
    print_plan(space, Console(file=output, width=300), tmp_path, {})
    text = output.getvalue()
    assert "shortlist     18 trials: the best 3 cells of each of 3 searches x 2 fresh seeds" in text
    # 12 trials of the search, 18 of the shortlists and 6 of the confirmation, of 4 epochs each
    assert "epochs        144\n" in text


def test_the_report_tells_of_the_lists_and_of_the_luck_of_the_search(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space, folder = grid(write_space), tmp_path / "s"
    known = curves(space, fresh={0.001: 0.5, 0.002: 0.7, 0.004: 0.6})
    write_report(folder, simulate(space, folder, 2, known).state)
    text = (folder / "report.md").read_text()
    assert "the 3 best cells of the search were trained again with 2 fresh seeds (18 runs)" in text
    assert "The best cell of the search was confirmed in 0 of 3 cases." in text
    assert "was on average 39.00 points above the mean of its fresh runs" in text
    assert "| chosen by | highest mean val_accuracy over 2 fresh seeds" in text
    assert "| softmax | softmax | learning_rate 0.002 | 2 | 88.00 | 70.00 | 2 | 0 | yes |" in text
    assert "| softmax | 4 | 4 | 0 | 0 | 16 | 89.00 | learning_rate 0.001 | " in text


def test_a_study_that_is_not_done_says_how_far_the_lists_are(
    space: Space, done: Simulated, tmp_path: Path
) -> None:
    events = events_of(tmp_path / "s")
    state = StudyState()
    for event in events:
        state.apply(event)
        if sum(run.ended for run in state.of_phase("shortlist")) == 3:
            break
    assert "3 of 12 runs of shortlists have ended, and nothing" in answer(summarise(state)) or (
        "3 of 18 runs of shortlists have ended, and nothing" in answer(summarise(state))
    )
