"""The study without Ray: a fake engine reports synthetic numbers."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from karat.journal.journal import Event, Journal, read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.journal.wording import trial_text
from karat.planning.decisions import MAX_LOST_SEGMENTS
from karat.seeds import derive
from karat.space.reader import load_space
from karat.space.space import Space
from karat.study.description import description
from karat.study.study import Study
from karat.tested import Tested as Record
from karat.tested import packed
from tests.spaces import LISTS, MATCHED


def value_of(number: int, epoch: int) -> float:
    return derive("value", number) / 2**32 + 0.01 * epoch


def evaluation_of(accuracy: float, epoch: int) -> Record:
    """A test evaluation of 1000 images with about this accuracy."""
    correct = packed(np.arange(1000) < round(1000 * accuracy))
    hashes = dict.fromkeys(("predictions", "labels", "pixels", "weights"), "0" * 64)
    return Record(epoch=epoch, images=1000, correct=correct, where={}, **hashes)


def open_study(space: Space, folder: Path) -> tuple[Study, Journal]:
    journal = Journal.open(folder)
    study = Study(space, journal, folder)
    if not study.state.created:
        study.record("study_created", **description(space, "fingerprint"))
    return study, journal


def run(study: Study, steps: int = 10**6, slots: int = 2) -> None:
    """Run up to `steps` epochs, one at a time, in turn over the slots."""
    running: list[tuple[int, int]] = []
    while steps and not study.finished:
        while len(running) < slots and (segment := study.next_segment()) is not None:
            running.append((segment.trial, segment.from_epoch))
        if study.finished:  # nothing that may be trained was left to ask for
            return
        number, epoch = running.pop(0)
        trial = study.state.trials[number]
        metrics = {"val_accuracy": value_of(number, epoch + 1), "val_loss": 1.0}
        more = {}
        if epoch + 1 == trial.epochs and trial.phase == "confirm":
            record = evaluation_of(metrics["val_accuracy"], epoch + 1)
            metrics["test_accuracy"], more["tested"] = record.accuracy(), record.plain()
        if not study.on_report(number, epoch + 1, metrics, 1.0, **more):
            running.append((number, epoch + 1))
        steps -= 1


def decisions(state: StudyState) -> list[tuple[object, ...]]:
    return [
        (t.number, t.phase, t.arm, t.tuned, t.seed, t.status, len(t.reports))
        for t in state.trials.values()
    ]


def test_every_arm_gets_the_same_number_of_search_trials(
    small_space: Space, tmp_path: Path
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        run(study)
    counts = Counter(trial.arm for trial in study.state.of_phase("search"))
    assert set(counts.values()) == {2}
    assert study.state.status == "completed"


def test_confirmation_takes_the_best_of_each_level_and_the_reference_with_fresh_seeds(
    small_space: Space, tmp_path: Path
) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        run(study)
    state = study.state
    assert state.confirmation is not None
    cells = {cell["arm"]: cell for cell in state.confirmation["cells"]}
    assert set(cells) == set(small_space.arms)
    for arm, cell in cells.items():
        finished = [t for t in state.of_phase("search") if t.arm == arm and t.status == "completed"]
        assert cell["value"] == max(t.last("val_accuracy") or 0 for t in finished)
    confirmed = state.of_phase("confirm")
    assert len(confirmed) == 6
    assert all(len(trial.reports) == trial.epochs for trial in confirmed)
    assert not {t.seed for t in confirmed} & {t.seed for t in state.of_phase("search")}
    assert len({t.seed for t in confirmed}) == 2  # paired: all arms use the same seeds


def test_study_killed_at_any_step_takes_the_same_decisions(
    small_space: Space, tmp_path: Path
) -> None:
    study, journal = open_study(small_space, tmp_path / "whole")
    with journal:
        run(study, slots=1)
    whole = decisions(study.state)
    steps = sum(len(trial.reports) for trial in study.state.trials.values())
    for step in range(0, steps, 3):
        folder = tmp_path / f"killed-{step}"
        study, journal = open_study(small_space, folder)
        with journal:
            run(study, steps=step, slots=1)
        # Without checkpoints the running trial starts from scratch; its reports are the same.
        study, journal = open_study(small_space, folder)
        with journal:
            run(study, slots=1)
        assert decisions(study.state) == whole
        shutil.rmtree(folder)


def test_matched_levels_are_confirmed_beside_their_references_with_the_same_seeds(
    write_space: Callable[..., Path], tmp_path: Path
) -> None:
    study, journal = open_study(load_space(write_space(text=MATCHED)), tmp_path / "s")
    with journal:
        run(study)
    state = study.state
    assert state.confirmation is not None
    cells = state.confirmation["cells"]
    assert sorted((cell["level"], "softmax" in cell["arm"]) for cell in cells) == [
        (12, False),
        (12, True),
        (24, False),
        (24, True),
    ]
    for cell in cells:
        assert cell["arm"].startswith(f"embed_dim={cell['level']} ")
    seeds = {(t.seed_index, t.seed) for t in state.of_phase("confirm")}
    assert len(seeds) == 2
    assert len(state.of_phase("confirm")) == 8


def test_free_allocation_reserves_trials_for_every_reference(
    write_space: Callable[..., Path], tmp_path: Path
) -> None:
    space = load_space(write_space(("trials: 12", "trials: 12, allocation: free"), text=MATCHED))
    study, journal = open_study(space, tmp_path / "s")
    with journal:
        run(study)
    counts = Counter(trial.arm for trial in study.state.of_phase("search"))
    assert all(counts[label] >= 3 for label in space.reference_arms)
    assert sum(counts.values()) == 12


@pytest.mark.parametrize("allocation", ["equal", "free"])
def test_list_levels_are_the_same_before_and_after_the_journal(
    write_space: Callable[..., Path], tmp_path: Path, allocation: str
) -> None:
    exchange = ("trials: 12", f"trials: 12, allocation: {allocation}")
    space = load_space(write_space(exchange, text=LISTS))
    study, journal = open_study(space, tmp_path / "whole")
    with journal:
        run(study, slots=1)
    whole, live = decisions(study.state), study.state
    folded = StudyState.of(read_events(tmp_path / "whole" / JOURNAL))
    assert folded.references == live.references == space.references
    assert folded.confirmation == live.confirmation
    assert [t.factors for t in folded.trials.values()] == [t.factors for t in live.trials.values()]
    assert [t.config for t in folded.trials.values()] == [t.config for t in live.trials.values()]
    assert {arm["label"]: arm["factors"] for arm in folded.created["arms"]} == {
        label: arm.factors for label, arm in space.arms.items()
    }
    for step in (3, 20):
        folder = tmp_path / f"killed-{step}"
        study, journal = open_study(space, folder)
        with journal:
            run(study, steps=step, slots=1)
        study, journal = open_study(space, folder)
        with journal:
            run(study, slots=1)
        assert decisions(study.state) == whole


def test_one_reference_of_an_older_journal_holds_for_all_levels(
    small_space: Space, tmp_path: Path
) -> None:
    created = description(small_space, "fingerprint")
    del created["references"]
    older = StudyState.of([Event(0, 0.0, "study_created", {**created, "reference": "softmax"})])
    assert older.references == small_space.references == {1: "softmax", 2: "softmax"}


def test_failed_trial_ends_alone_with_its_reason(small_space: Space, tmp_path: Path) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        segment = study.next_segment()
        assert segment is not None
        details = {"name": "train_loss", "value": "nan", "epoch": 1, "step": 3}
        study.on_failed(segment.trial, "non-finite", details)
        run(study)
    first = study.state.trials[0]
    assert (first.status, trial_text(first)) == (
        "failed",
        "training loss is nan at epoch 1, step 3",
    )
    assert study.state.status == "completed"


def test_lost_worker_is_tried_again_a_few_times(small_space: Space, tmp_path: Path) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        for _ in range(MAX_LOST_SEGMENTS):
            assert study.next_segment() is not None
            study.on_failed(0, "lost", {"what": "worker"})
            assert study.state.trials[0].status == "waiting"
        study.next_segment()
        study.on_failed(0, "lost", {"what": "worker"})
    assert study.state.trials[0].status == "failed"


def test_study_in_which_all_trials_fail_is_failed(small_space: Space, tmp_path: Path) -> None:
    study, journal = open_study(small_space, tmp_path / "s")
    with journal:
        while (segment := study.next_segment()) is not None:
            study.on_failed(segment.trial, "hung", {"minutes": 1, "trace": "hang.txt"})
    assert study.state.status == "failed"


def test_studies_of_every_sampler_and_allocation_complete(
    write_space: Callable[..., Path], tmp_path: Path
) -> None:
    ranges = "{low: 1e-3, high: 1e-2, log: true}"
    searches = {
        "random": [("sampler: tpe", "sampler: random")],
        "free": [("trials: 6", "trials: 9, allocation: free")],
        "grid": [("sampler: tpe, trials: 6", "sampler: grid"), (ranges, "{values: [1e-3, 2e-3]}")],
    }
    for name, exchanges in searches.items():
        space = load_space(write_space(*exchanges))
        study, journal = open_study(space, tmp_path / name)
        with journal:
            run(study)
        assert study.state.status == "completed"
        if name == "grid":
            per_arm = Counter(trial.arm for trial in study.state.of_phase("search"))
            assert set(per_arm.values()) == {2}
