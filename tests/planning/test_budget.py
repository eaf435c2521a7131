"""A budget: usage follows from the journal, and a used-up budget shuts the launch down gracefully."""

from collections.abc import Callable
from pathlib import Path

import pytest

from karat.causes import SegmentEnd
from karat.errors import InputError
from karat.journal.journal import Event, Journal, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.journal.usage import Usage
from karat.journal.wording import search_cut_text, study_text
from karat.planning.extension import larger_space
from karat.planning.replay import replay
from karat.report.answer import status_text
from karat.report.narrative import search_notes
from karat.report.writer import summarise, write_report
from karat.seeds import derive
from karat.space.reader import load_space
from karat.space.space import Space
from karat.study.description import description
from karat.study.study import Study
from karat.training.segment import Estimate
from tests.launched import NO_MLFLOW, Launch

EPOCH_S = 360.0  # a tenth of an hour
PRICED = "cluster: {usd_per_cpu_hour: 2}"
WriteSpace = Callable[..., Path]


class Clock:
    """A clock that only tests advance."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def budgeted(write_space: WriteSpace) -> Callable[..., Space]:
    def write(budget: str, *more: tuple[str, str]) -> Space:
        exchange = ("search: {", f"budget: {budget}\n{PRICED}\nsearch: {{")
        return load_space(write_space(exchange, *more))

    return write


def launch(space: Space, folder: Path, clock: Clock, *, epochs: int | None = None) -> StudyState:
    """Run in one slot, six minutes per epoch, until no segment is left; or kill it after `epochs`."""
    with Journal.open(folder, clock) as journal:
        study = Study(space, journal, folder, clock)
        if not study.state.created:
            study.record("study_created", **description(space, "fingerprint"))
        study.record("launched", slots=1, environment={}, terms=vars_of(space))
        while (segment := study.next_segment()) is not None:
            trial, done = study.state.trials[segment.trial], False
            epoch = len(trial.reports)
            while not done and study.spent() is None:
                epoch, clock.now = epoch + 1, clock.now + EPOCH_S
                value = derive("value", trial.number) / 2**32 + 0.01 * epoch
                metrics = {"val_accuracy": value, "val_loss": 1.0, "test_accuracy": value}
                done = study.on_report(trial.number, epoch, metrics, EPOCH_S)
                if epochs is not None and (epochs := epochs - 1) == 0:
                    return study.state
        if not study.finished:
            study.on_interrupted(None)
        return study.state


def vars_of(space: Space) -> dict[str, object]:
    terms = space.terms
    return {name: getattr(terms, name) for name in terms.__slots__}


@pytest.mark.parametrize(
    ("budget", "hours"),
    [("{wall_hours: 2.05}", 2.1), ("{cpu_hours: 1.0}", 1.0), ("{usd: 3}", 1.5)],
)
def test_every_limit_interrupts_the_study_when_it_is_spent(
    budgeted: Callable[..., Space], tmp_path: Path, budget: str, hours: float
) -> None:
    space, clock = budgeted(budget), Clock()
    begun = clock.now
    state = launch(space, tmp_path / "s", clock)
    assert state.status == "interrupted"
    assert study_text(state).startswith(f"budget.{budget[1:].split(':')[0]} = ")
    assert (clock.now - begun) / 3600 == pytest.approx(hours)
    assert all(trial.status != "running" for trial in state.trials.values())
    write_report(tmp_path / "s", state)
    summary = summarise(state)
    assert "raised, the same command goes on" in status_text(summary)
    assert any(note.startswith("Spent: ") for note in search_notes(summary))


def test_raised_budget_goes_on_and_counts_over_launches(
    budgeted: Callable[..., Space], tmp_path: Path
) -> None:
    space, clock, folder = budgeted("{wall_hours: 1}"), Clock(), tmp_path / "s"
    launch(space, folder, clock)
    again = launch(space, folder, clock)  # as it is: nothing more is run
    assert again.status == "interrupted"
    assert again.usage.until().wall_hours == pytest.approx(1.0)
    clock.now += 7 * 24 * 3600
    source = {**space.source, "budget": {"wall_hours": 1.5}}
    larger, changes = larger_space(space, source, "here")
    assert [str(change) for change in changes] == ["budget.wall_hours from 1.0 to 1.5"]
    assert larger.hash == space.hash
    with Journal.open(folder, clock) as journal:
        study = Study(space, journal, folder, clock)
        described = {**description(larger, "fingerprint"), "uid": study.state.created["uid"]}
        study.extend(larger, described, extend=(), asked=source)
    state = launch(space, folder, clock)
    assert state.usage.until().wall_hours == pytest.approx(1.5)
    assert state.usage.until().cpu_hours == pytest.approx(1.5)
    assert study_text(state).startswith("budget.wall_hours = 1.5 is spent")


def test_what_is_spent_is_the_same_from_the_journal_and_after_a_kill(
    budgeted: Callable[..., Space], tmp_path: Path
) -> None:
    space, clock, folder = budgeted("{usd: 100}"), Clock(), tmp_path / "s"
    live = launch(space, folder, clock, epochs=5).usage.until()
    assert live.cpu_hours == pytest.approx(0.5)
    clock.now += 48 * 3600  # not running for two days, which is no usage
    with Journal.open(folder, clock) as journal:
        study = Study(space, journal, folder, clock)
        assert study.state.usage.until(clock.now) == live
    folded = StudyState.of(read_events(folder / JOURNAL))
    assert folded.usage.until() == live
    assert live.usd == pytest.approx(2 * live.cpu_hours)


def test_search_ends_early_so_that_the_rest_does_for_the_confirmation(
    budgeted: Callable[..., Space], tmp_path: Path
) -> None:
    more = [("trials: 6", "trials: 60"), ("epochs: 4", "epochs: 3")]
    space, clock, folder = budgeted("{wall_hours: 6}", *more), Clock(), tmp_path / "s"
    state = launch(space, folder, clock)
    assert state.status == "completed"
    assert state.usage.until().wall_hours <= 6
    assert len(state.of_phase("search")) < 60
    assert len(state.of_phase("confirm")) == 6
    assert state.search_cut is not None
    assert "budget.wall_hours" in search_cut_text(state.search_cut)
    assert any("in favour of the confirmation" in note for note in search_notes(summarise(state)))
    assert not list(replay(space, list(read_events(folder / JOURNAL))))


def test_budget_too_small_for_a_winner_of_each_level_is_searched_to_its_end(
    budgeted: Callable[..., Space], tmp_path: Path
) -> None:
    state = launch(budgeted("{wall_hours: 0.5}"), tmp_path / "s", Clock())
    assert (state.status, state.search_cut, state.confirmation) == ("interrupted", None, None)


def test_usage_of_a_killed_segment_ends_at_its_last_report() -> None:
    usage = Usage()
    events = [
        (0.0, "launched", {"terms": {"cpus": 2, "gpus": 0.5, "usd_per_gpu_hour": 4.0}}),
        (100.0, "segment_started", {"trial": 0}),
        (1900.0, "reported", {"trial": 0}),
        (9000.0, "segment_ended", {"trial": 0, "cause": "driver_gone"}),
        (9001.0, "launched", {"terms": {"cpus": 2}}),
        (9002.0, "interrupted", {"signal": "SIGTERM"}),
    ]
    for seq, (time, kind, data) in enumerate(events):
        usage.apply(Event(seq, time, kind, data))
    spent = usage.until(10**6)
    assert spent.cpu_hours == pytest.approx(1.0)
    assert spent.gpu_hours == pytest.approx(0.25)
    assert spent.usd == pytest.approx(1.0)
    assert spent.wall_hours == pytest.approx(1901 / 3600)


GPU = {"terms": {"cpus": 1, "gpus": 1.0, "usd_per_gpu_hour": 3.0}}


def usage_of(*events: tuple[float, str, dict[str, object]]) -> Usage:
    usage = Usage()
    for seq, (time, kind, data) in enumerate(events):
        usage.apply(Event(seq, time, kind, data))
    return usage


def test_usage_of_trials_that_share_a_gpu_is_their_share_of_it() -> None:
    eight = [(0.0, "segment_started", {"trial": n, "gpus": 1 / 8}) for n in range(8)]
    usage = usage_of((0.0, "launched", GPU), *eight)
    assert usage.until(3600.0).gpu_hours == pytest.approx(1.0)
    assert usage.until(3600.0).cpu_hours == pytest.approx(8.0)
    ends = [(3600.0, "trial_ended", {"trial": n, "status": "completed"}) for n in range(8)]
    last = [(3600.0, "reported", {"trial": n}) for n in range(8)]
    spent = usage_of((0.0, "launched", GPU), *eight, *last, *ends).until()
    assert (spent.gpu_hours, spent.usd) == (pytest.approx(1.0), pytest.approx(3.0))


def test_usage_of_a_journal_without_gpu_shares_is_as_before() -> None:
    old = (0.0, "segment_started", {"trial": 0, "estimate": {"gpus": 1 / 8}})
    assert usage_of((0.0, "launched", GPU), old).until(3600.0).gpu_hours == pytest.approx(1.0)


def test_segment_that_waits_for_a_worker_uses_nothing() -> None:
    begun = [(0.0, "launched", GPU), (0.0, "segment_started", {"trial": 0, "placed": False})]
    assert usage_of(*begun).until(7200.0).cpu_hours == 0
    assert usage_of(*begun).until(7200.0).wall_hours == 2
    gone = (3600.0, "segment_ended", {"trial": 0, "cause": "interrupted"})
    assert usage_of(*begun, gone).until(7200.0).cpu_hours == 0
    placed = [(3600.0, "segment_placed", {"trial": 0}), (5400.0, "reported", {"trial": 0})]
    usage = usage_of(*begun, *placed)
    assert usage.until(7200.0).cpu_hours == pytest.approx(1.0)
    assert usage.slot_seconds(7200.0) == pytest.approx(3600.0)
    end = (5400.0, "trial_ended", {"trial": 0, "status": "completed"})
    assert usage_of(*begun, *placed, end).until(7200.0).gpu_hours == pytest.approx(0.5)


def test_slots_of_a_launch_grow_with_the_segments_that_run_at_once(
    budgeted: Callable[..., Space], tmp_path: Path
) -> None:
    space, folder = budgeted("{wall_hours: 9}"), tmp_path / "s"
    with Journal.open(folder) as journal:
        study = Study(space, journal, folder)
        study.record("study_created", **description(space, "fingerprint"))
        study.record("launched", slots=1, environment={}, terms=vars_of(space))
        for slots in (1, 2, 3):
            assert study.next_segment() is not None
            assert study.state.launches[-1].slots == slots
    assert StudyState.of(read_events(folder / JOURNAL)).launches[-1].slots == 3


def test_rest_of_a_study_is_priced_with_the_parts_that_its_trials_take(
    budgeted: Callable[..., Space], tmp_path: Path
) -> None:
    wants = ("confirm:", "resources: {gpus: auto}\nconfirm:")
    space = budgeted("{gpu_hours: 0.5}", wants, ("epochs: 4", "epochs: 2"))
    clock, folder, cuts = Clock(), tmp_path / "s", []
    for part in (1 / 8, None):
        with Journal.open(folder / str(part), clock) as journal:
            study = Study(space, journal, folder / str(part), clock)
            study.record("study_created", **description(space, "fingerprint"))
            study.record("launched", slots=1, environment={}, terms=vars_of(space))
            study.estimate = lambda _, p=part: Estimate(memory_bytes=1, epoch_s=None, gpus=p)  # type: ignore[misc]
            for _ in range(4):
                segment = study.next_segment()
                assert segment is not None
                for epoch in (1, 2):
                    clock.now += 100
                    metrics = {"val_accuracy": 0.5, "val_loss": 1.0}
                    study.on_report(segment.trial, epoch, metrics, 100.0)
            cuts.append(study.state.search_cut)
    assert cuts[0] is None
    assert "the confirmation may take" in search_cut_text(cuts[1])


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("budget: {wall_hours: 0}", "budget.wall_hours = 0.0: must be greater than 0"),
        ("budget: {gpu_hours: -1}", "budget.gpu_hours = -1.0: must be greater than 0"),
        ("budget: {hours: 3}", "budget.hours: unknown key"),
        ("budget: {usd: 50}", "budget.usd = 50.0: needs a price of an hour"),
        ("budget: {usd: .inf}", "numbers must be finite"),
    ],
)
def test_wrong_budget_is_refused_with_its_line(
    write_space: WriteSpace, budget: str, message: str
) -> None:
    path = write_space(("search: {", f"{budget}\nsearch: {{"))
    with pytest.raises(InputError) as caught:
        load_space(path)
    assert message in str(caught.value)
    assert f"{path}:" in str(caught.value)


def test_trials_on_a_gpu_need_the_price_of_a_gpu(budgeted: Callable[..., Space]) -> None:
    with pytest.raises(InputError, match=r"cluster\.usd_per_gpu_hour"):
        budgeted("{usd: 5}", ("confirm:", "resources: {gpus: 1}\nconfirm:"))


@pytest.mark.slow
def test_launch_with_a_spent_budget_exits_75_and_goes_on_when_it_is_raised(
    launch: Launch, write_space: WriteSpace, tmp_path: Path
) -> None:
    space, words = (
        write_space(("epochs: 4", "epochs: 1000"), NO_MLFLOW),
        ("--set", "budget.cpu_hours=0.002"),
    )
    study = launch(space, tmp_path / "st", *words, COLUMNS="200")
    output = study.end(75)
    assert "budget.cpu_hours = 0.002 is spent" in output
    assert "With budget.cpu_hours raised, the same command goes on" in output
    ends = [event for event in study.events if event.kind == "segment_ended"]
    assert ends
    assert {event.data["cause"] for event in ends} <= {SegmentEnd.PAUSED, SegmentEnd.INTERRUPTED}
    assert not any(trial.status == "running" for trial in study.state.trials.values())
    assert study.state.of_phase("confirm") == []  # the rest was not run
    assert "interrupted: budget.cpu_hours" in (study.folder / "report.md").read_text()
    same = launch(space, tmp_path / "st", *words, COLUMNS="200")
    assert same.end(75).count("is spent") == 1
