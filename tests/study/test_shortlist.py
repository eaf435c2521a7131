"""A study with a shortlist that is really trained, extended, killed, shown in MLflow, and short of disk."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from karat.cli import driver
from karat.cli.progress import Progress
from karat.journal.journal import Event, Journal, read_events
from karat.journal.layout import JOURNAL, trial_folder
from karat.journal.state import StudyState
from karat.planning.budget import too_little_left
from karat.planning.replay import replay
from karat.space.reader import load_space
from karat.space.space import Space
from karat.study import retention
from karat.study.audit import audit
from karat.study.description import description
from karat.study.study import Study
from karat.tracking.record import Record
from karat.tracking.trial_run import run_name
from tests import driven
from tests.driven import checked, without_ray
from tests.marks import further
from tests.studies import rewrite, small_study, state_of
from tests.study.test_study import decisions, open_study, run

__all__ = ["without_ray"]  # a fixture
WriteSpace = Callable[..., Path]
FULL = ("scheduler: asha, grace_epochs: 1, reduction_factor: 3", "scheduler: none")
LISTED = (("trials: 6", "trials: 9"), ("seeds: 2", "seeds: 2, shortlist: 2"), FULL)


def space_of(write_space: WriteSpace) -> Space:
    return load_space(write_space(*LISTED))


def of_phase(state: StudyState) -> dict[str, int]:
    return {phase: len(state.of_phase(phase)) for phase in ("search", "shortlist", "confirm")}  # type: ignore[arg-type]


# -- really trained ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shortlist")
    return small_study(folder, ("seeds: 2", "seeds: 2, shortlist: 2, shortlist_seeds: 1"), FULL)


def test_a_trained_study_keeps_all_invariants_and_tests_no_run_of_a_shortlist(
    trained: Path,
) -> None:
    state = state_of(trained)
    assert of_phase(state) == {"search": 4, "shortlist": 4, "confirm": 4}
    assert audit(trained, tracking=False) == []
    for trial in state.of_phase("shortlist"):
        names = [
            path.name.partition("-")[0] for path in trial_folder(trained, trial.number).glob("*.pt")
        ]
        assert names == ["best"]
        assert trial.tested is None


@pytest.mark.slow
def test_audit_names_a_run_that_was_repeated_tested_or_not_planned(
    trained: Path, tmp_path: Path
) -> None:
    events = list(read_events(trained / JOURNAL))
    asked = [e for e in events if e.kind == "trial_asked" and e.data["phase"] == "shortlist"]
    confirmed = next(e for e in events if e.kind == "trial_asked" and e.data["phase"] == "confirm")
    same = {key: asked[0].data[key] for key in ("arm", "factors", "tuned", "config", "seed", "seed_index")}  # fmt: skip
    other = next(e for e in asked if e.data["arm"] == same["arm"] and e.seq != asked[0].seq)
    changes: Sequence[tuple[Event, dict[str, object], str]] = [
        (other, same, "of a shortlist was trained 2 times with seed"),
        (asked[0], {"seed": confirmed.data["seed"]}, "seeds of a shortlist were used again for confirmation"),
        (asked[0], {"seed": events[2].data["seed"]}, "seeds of the search were used again for a shortlist"),
    ]  # fmt: skip
    for number, (event, change, message) in enumerate(changes):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / JOURNAL).write_bytes((trained / JOURNAL).read_bytes())
        rewrite(
            folder, lambda e, at=event.seq, new=change: {**e.data, **(new if e.seq == at else {})}
        )  # type: ignore[misc]
        assert any(message in line for line in audit(folder, tracking=False)), message


@pytest.mark.slow
def test_mlflow_counts_the_runs_of_shortlists_for_themselves(trained: Path) -> None:
    record = Record(trained / JOURNAL)
    record.read()
    counts = {
        name: value
        for point in record.study_points
        for name, value in point.metrics.items()
        if name.endswith("_trials_ended")
    }
    assert counts == {
        "search_trials_ended": 4,
        "shortlist_trials_ended": 4,
        "confirm_trials_ended": 4,
    }
    run_of_list = record.state.of_phase("shortlist")[0]
    assert run_name(run_of_list) == f"shortlist {run_of_list.number:04d} {run_of_list.arm} seed 0"


# -- with the fake engine ---------------------------------------------------------------------


def test_a_study_killed_at_any_step_takes_the_same_decisions(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = space_of(write_space)
    study, journal = open_study(space, tmp_path / "whole")
    with journal:
        run(study, slots=1)
    whole = decisions(study.state)
    assert of_phase(study.state) == {"search": 9, "shortlist": 12, "confirm": 6}
    steps = sum(len(trial.reports) for trial in study.state.trials.values())
    for step in range(30, steps, 7):
        folder = tmp_path / f"killed-{step}"
        for pieces in (step, 10**6):
            study, journal = open_study(space, folder)
            with journal:
                run(study, steps=pieces, slots=1)
        assert decisions(study.state) == whole
        assert list(replay(space, list(read_events(folder / JOURNAL)))) == []


def test_the_progress_line_counts_the_runs(write_space: WriteSpace, tmp_path: Path) -> None:
    study, journal = open_study(space_of(write_space), tmp_path / "s")
    with journal:
        told = Progress(study, 1, Console(quiet=True))
        assert "shortlist 0 of 12" in told._line()
        run(study)
        assert "shortlist 12 of 12" in told._line()
        assert "left" not in told._line()
    study, journal = open_study(load_space(write_space()), tmp_path / "plain")
    with journal:
        assert "shortlist" not in Progress(study, 1, Console(quiet=True))._line()


def test_with_little_disk_the_trials_that_may_be_listed_or_are_confirmed_keep_their_weights(
    write_space: WriteSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention.DiskBudget, "used", lambda _: 10**12)
    limited = ("confirm:", "resources: {disk_gb: 1}\nconfirm:")
    space = load_space(write_space(*LISTED, limited))
    folder = tmp_path / "s"
    study, journal = open_study(space, folder)
    with journal:
        dropped_at_plan: list[int] = []

        def look(event: Event, state: StudyState) -> None:
            if event.kind == "shortlist_planned":
                listed = [n for each in event.data["contests"] for n in each["trials"]]
                dropped_at_plan.extend(n for n in listed if state.trials[n].weights_dropped)

        study.listeners.append(look)
        run(study)
    assert dropped_at_plan == []
    assert study.state.confirmation is not None
    kept = {t.number for t in study.state.of_phase("search") if not t.weights_dropped}
    assert {cell["trial"] for cell in study.state.confirmation["cells"]} <= kept
    of_lists = study.state.of_phase("shortlist")
    assert any(each.weights_dropped for each in of_lists)


def test_a_search_ends_early_enough_for_its_shortlists_too(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    needed = {}
    for name, listed in (("plain", ""), ("listed", ", shortlist: 3")):
        limit = ("search: {", "budget: {cpu_hours: 0.01}\nsearch: {")
        seeds = ("seeds: 2", f"seeds: 2{listed}")
        space = load_space(write_space(("trials: 6", "trials: 30"), seeds, FULL, limit))
        now = [1e6]
        with Journal.open(tmp_path / name, lambda now=now: now[0]) as journal:  # type: ignore[misc]
            study = Study(space, journal, tmp_path / name, lambda now=now: now[0])  # type: ignore[misc]
            study.record("study_created", **description(space, "fingerprint"))
            terms = {each: getattr(space.terms, each) for each in space.terms.__slots__}
            study.record("launched", slots=1, environment={}, terms=terms)
            for _ in range(3):
                segment = study.next_segment()
                assert segment is not None
                for epoch in range(1, 5):
                    now[0] += 1
                    metrics = {"val_accuracy": 0.5, "val_loss": 1.0}
                    study.on_report(segment.trial, epoch, metrics, 1.0)
            found = too_little_left(space, study.state, now[0])
            assert found is not None
            needed[name] = found["needed"] * 3600
    assert needed["plain"] == pytest.approx(4 * (1 + 3 * 2))
    assert needed["listed"] == pytest.approx(4 * (1 + 3 * 2 + 3 * 3 * 2))


# -- extended ---------------------------------------------------------------------------------


@pytest.fixture
def go(without_ray: None, tmp_path: Path) -> Callable[..., int]:
    """Launches in the test's folder."""

    def launch(path: Path, *extend: str, steps: int = driven.ALL) -> int:
        return driven.go(path, tmp_path, *extend, steps=steps)

    return launch


def test_an_extended_study_plans_its_shortlists_again_and_counts_the_runs_it_has(
    write_space: WriteSpace, tmp_path: Path, go: Callable[..., int]
) -> None:
    path = write_space(*LISTED)
    assert go(path) == 0
    before = state_of(tmp_path / "small")
    listed = before.shortlists.planned
    assert go(path, "trials=+9") == 0
    after = checked(tmp_path / "small")
    assert of_phase(after) == {"search": 18, "shortlist": 12, "confirm": 6}
    assert after.created["totals"] == {"search": 18, "shortlist": 12, "confirm": 6}
    assert after.shortlists.planned != listed
    for contest, numbers in after.shortlists.planned.items():
        for number in set(numbers) & set(listed[contest]):
            runs = after.shortlists.runs[number]
            assert [r.number for r in runs] == [r.number for r in before.shortlists.runs[number]]
    aside = [t for t in after.trials.values() if t.phase == "shortlist" and t.set_aside]
    assert aside
    assert {t.number for t in aside} <= before.trials.keys()


def test_more_seeds_of_the_confirmation_repeat_no_run_of_a_shortlist(
    write_space: WriteSpace, tmp_path: Path, go: Callable[..., int]
) -> None:
    path = write_space(*LISTED)
    go(path)
    before = len(state_of(tmp_path / "small").trials)
    assert go(path, "seeds=+1") == 0
    state = checked(tmp_path / "small")
    assert of_phase(state) == {"search": 9, "shortlist": 12, "confirm": 9}
    assert len(state.trials) == before + 3


def test_longer_trials_are_listed_anew(
    write_space: WriteSpace, tmp_path: Path, go: Callable[..., int]
) -> None:
    path = write_space(*LISTED)
    go(path)
    assert go(path, "epochs=+2") == 0
    state = checked(tmp_path / "small")
    assert of_phase(state) == {"search": 9, "shortlist": 12, "confirm": 6}
    assert {t.epochs for t in state.of_phase("shortlist")} == {6}


@pytest.mark.parametrize("extend", further(["trials=+5", "epochs=+1", "seeds=+1"]))
def test_an_extension_in_the_midst_of_the_shortlists_may_be_killed_at_any_step(
    write_space: WriteSpace, tmp_path: Path, go: Callable[..., int], extend: str
) -> None:
    path = write_space(*LISTED)
    found = []
    for pieces in (10**6, 7):
        folder = tmp_path / "small"
        go(path, steps=50)  # of 36 of the search, and 48 of the shortlists
        assert 0 < len(state_of(folder).of_phase("shortlist")) < 12
        while go(path, extend, steps=pieces):
            pass
        found.append(decisions(checked(folder)))
        folder.rename(tmp_path / f"pieces-{pieces}")
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("exchange", "message"),
    [
        (("shortlist: 2", "shortlist: 3"), "confirm.shortlist from 2 to 3"),
        (("shortlist: 2", "shortlist: 2, shortlist_seeds: 3"), "confirm.shortlist_seeds from 2 to 3"),
        ((", shortlist: 2", ""), "confirm.shortlist from 2 to 1"),
    ],
)  # fmt: skip
def test_another_shortlist_is_another_question(
    write_space: WriteSpace,
    go: Callable[..., int],
    exchange: tuple[str, str],
    message: str,
) -> None:
    go(write_space(*LISTED), steps=3)
    with pytest.raises(driver.InputError, match="another question") as caught:
        go(write_space(*LISTED, exchange))
    assert message in str(caught.value)
