"""A confirmation run keeps the weights of epochs that are asked for: the same ones however it was interrupted."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from karat.errors import InputError, SettingError
from karat.forecast.plan import ArmPlan, snapshot_bytes
from karat.forecast.schedule import Run
from karat.journal.journal import Journal
from karat.journal.layout import trial_folder
from karat.space.reader import load_space
from karat.study.audit import audit
from karat.study.retention import making_room, tidy
from karat.system.disk_quota import DiskBudget
from karat.training.checkpoint import (
    drop_snapshots,
    epoch_of,
    load_checkpoint,
    save_checkpoint,
    save_series,
    save_snapshot,
    snapshots,
)
from karat.training.trainer import EpochResult, Trainer
from tests.driven import checked, go, without_ray
from tests.studies import confirmed, small_study
from tests.training.test_trainer import config, train

__all__ = ["without_ray"]  # a fixture
WriteSpace = Callable[..., Path]


def epochs_kept(folder: Path) -> list[int]:
    return [epoch_of(path) for path in snapshots(folder)]


@pytest.mark.parametrize(
    ("given", "epochs", "kept"),
    [
        (0, 20, []),
        (1, 20, [20]),
        (4, 20, [5, 10, 15, 20]),
        (3, 10, [3, 7, 10]),
        (5, 5, [1, 2, 3, 4, 5]),
        (5, 3, [1, 2, 3]),  # a space's number holds for shorter trainings too
        ([1, 5, 20], 20, [1, 5, 20]),
        ([1, 5, 20], 40, [1, 5, 20]),  # a longer run keeps the same ones
    ],
)
def test_a_number_is_spread_over_the_run_and_a_list_stands(
    given: Any, epochs: int, kept: list[int]
) -> None:
    training = config(training={"epochs": epochs, "keep_checkpoints": given}).training
    assert list(training.kept_of(epochs)) == kept


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (-1, "at least 0"),
        ([], "a list of epochs from 1 to 3"),
        ([2, 2], "increasing"),
        ([0, 2], "from 1 to 3"),
        ([1, 4], "from 1 to 3"),
        ("all", "must be a whole number, or a list"),
        ([1.5], "must be a whole number"),
        (True, "must be a whole number"),
    ],
)
def test_epochs_that_a_run_does_not_have_are_refused(given: Any, rule: str) -> None:
    with pytest.raises(SettingError, match=rule) as error:
        config(training={"keep_checkpoints": given})
    assert error.value.key.startswith("training.keep_checkpoints")


def test_a_resumed_run_keeps_what_an_unbroken_one_does(tmp_path: Path) -> None:
    settings = config(training={"epochs": 3, "keep_checkpoints": [1, 3], "ema_decay": 0.5})
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    weights: dict[int, dict[str, Tensor]] = {}
    trainer = Trainer(settings, 1, folder=whole, test_at_end=True)
    while not trainer.finished:
        result = trainer.run_epoch()
        assert isinstance(result, EpochResult)
        assert result.snapshots == ([1, 3] if trainer.finished else None)
        assert trainer.average is not None
        weights[trainer.epoch] = {k: v.clone() for k, v in trainer.average.state().items()}
    shutil.copytree(whole, broken)
    for series in ("epoch-00003", "tested-00003"):
        for path in broken.glob(f"{series}.*"):
            path.unlink()
    again = Trainer(settings, 1, folder=broken, test_at_end=True, resume_at_most=2)
    assert epochs_kept(broken) == [1]  # what the run will write again is deleted
    train(again)
    for folder in (whole, broken):
        assert epochs_kept(folder) == [1, 3]
        for path in snapshots(folder):
            content = load_checkpoint(path)
            assert content["epoch"] == epoch_of(path)
            # The averaged weights, which are the evaluated ones.
            assert all(
                torch.equal(content["model"][k], v) for k, v in weights[epoch_of(path)].items()
            )


def test_a_run_of_the_search_keeps_none(tmp_path: Path) -> None:
    settings = config(training={"epochs": 1, "keep_checkpoints": 1})
    (result,) = train(Trainer(settings, 1, folder=tmp_path))
    assert result.snapshots is None
    assert not snapshots(tmp_path)


def test_where_a_file_does_not_fit_snapshots_make_room_and_are_missed_by_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = {"w": torch.zeros(2500)}  # 10 kB
    budget = DiskBudget(tmp_path, 25e-6)
    save_snapshot(tmp_path, 1, weights, budget=budget)
    save_snapshot(tmp_path, 2, weights, budget=budget)
    save_snapshot(tmp_path, 3, weights, budget=budget)  # 3 of them do not fit
    assert "the weights of epoch 3 are not kept" in caplog.text
    assert epochs_kept(tmp_path) == [1, 2]
    save_series(tmp_path, "tested", 3, {"model": weights}, budget=budget)
    assert not snapshots(tmp_path)
    assert (tmp_path / "tested-00003.pt").is_file()
    with pytest.raises(OSError, match="is used up"):  # no snapshots are left to delete
        save_series(tmp_path, "epoch", 3, {"w": torch.zeros(5000)}, budget=budget)


def test_a_full_disk_costs_snapshots_before_any_tested_weights(
    write_space: WriteSpace, tmp_path: Path, without_ray: None
) -> None:
    text = "confirm: {by: attention.grid_size, seeds: 2}"
    path = write_space(
        ("recipe: quick", "recipe: quick, keep_checkpoints: [2]"),
        (text, f"{text}\nresources: {{disk_gb: 4.0e-4}}"),
    )
    assert go(path, tmp_path) == 0
    folder = tmp_path / "small"
    state, space = checked(folder), load_space(path)
    runs = state.of_phase("confirm")
    for run in runs:
        own = trial_folder(folder, run.number)
        for series in ("snapshot", "tested"):
            save_checkpoint(own, f"{series}-00002", {"model": {"w": torch.zeros(2500)}})

    def dropped(**more: bool) -> list[int]:
        found = []
        for kind, trials in making_room(space, state, folder, **more):
            assert kind == "snapshots_dropped"
            for trial in trials:
                trial.snapshots_dropped = True
                tidy(folder, trial)
            found += [trial.number for trial in trials]
        return found

    assert dropped() == []  # there is room
    (folder / "ballast").write_bytes(bytes(320_000 - DiskBudget(folder, 1).used() + 15_000))
    assert dropped() == [runs[0].number, runs[1].number]  # until less than 80 % is used
    assert dropped(is_full=True) == [run.number for run in runs[2:]]
    assert all(list(trial_folder(folder, run.number).glob("tested-*.pt")) for run in runs)


def test_the_audit_misses_kept_weights_unless_they_were_deleted_for_room(tmp_path: Path) -> None:
    folder = small_study(tmp_path, ("recipe: quick", "recipe: quick, keep_checkpoints: [1, 3]"))
    assert audit(folder, tracking=False) == []
    run, other = confirmed(folder)[:2]
    assert run.snapshots == other.snapshots == (1, 3)
    first, last = snapshots(trial_folder(folder, run.number))
    first.unlink()
    last.write_bytes(b"x")
    lines = audit(folder, tracking=False)
    assert "no checkpoint of the kept weights of epochs [1]" in lines[0]
    assert "snapshot-00003.pt: damaged" in lines[1]
    drop_snapshots(trial_folder(folder, run.number))
    with Journal.open(folder) as journal:
        journal.append("snapshots_dropped", trials=[run.number])
    assert audit(folder, tracking=False) == []


def test_it_is_no_part_of_the_question(
    write_space: WriteSpace, tmp_path: Path, without_ray: None
) -> None:
    watched = ("recipe: quick", "recipe: quick, keep_checkpoints: 2")
    assert load_space(write_space()).hash == load_space(write_space(watched)).hash
    assert go(write_space(), tmp_path, steps=6) == 75
    assert go(write_space(watched), tmp_path) == 0  # goes on with another value
    state = checked(tmp_path / "small")
    assert state.extensions[0].changes[0] == "training.keep_checkpoints from nothing to 2"
    assert "keep_checkpoints" not in state.trials[0].config["training"]
    kept = {run.config["training"]["keep_checkpoints"] for run in state.of_phase("confirm")}
    assert kept == {2}
    # Asked for again by a larger study, whose cells may be from trials with another value: none is repeated.
    before = len(state.of_phase("confirm"))
    assert go(write_space(watched), tmp_path, "seeds=+1") == 0
    state = checked(tmp_path / "small")
    assert len(state.of_phase("confirm")) == before * 3 / 2
    assert not any(trial.set_aside for trial in state.trials.values())


@pytest.mark.parametrize("group", ["factors", "tuned"])
def test_it_is_neither_compared_nor_tuned(write_space: WriteSpace, group: str) -> None:
    path = write_space((f"{group}:\n", f"{group}:\n  training.health: {{values: [false, true]}}\n"))
    with pytest.raises(InputError, match="changes no result"):
        load_space(path)


def test_the_plan_prices_them(write_space: WriteSpace) -> None:
    plan = ArmPlan(parameters=1000, epochs=4, epoch_s=1.0, memory="-", is_probed=False)
    runs = [cast(Run, SimpleNamespace(confirmed=6))]
    for given, kept in (("[1, 2]", 2), ("4", 4), ("0", 0)):
        space = load_space(
            write_space(("recipe: quick", f"recipe: quick, keep_checkpoints: {given}"))
        )
        assert snapshot_bytes(space, dict.fromkeys(space.arms, plan), runs) == 4 * 1000 * 6 * kept
