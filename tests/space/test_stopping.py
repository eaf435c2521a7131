"""The early stopping of a space: by default none for few trials in an arm, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from karat.cli.exit_status import OK
from karat.cli.launch import launch
from karat.errors import InputError
from karat.planning.extension import larger_space
from karat.schedulers import ArmSize
from karat.space.reader import load_space, space_of
from karat.space.stopping import FEW_TRIALS, trials_per_arm
from tests.spaces import ON_DIGITS

WriteSpace = Callable[..., Path]
STOPPING = "early_stopping: {scheduler: asha, grace_epochs: 1, reduction_factor: 3}\n"
ARMS = 3  # of the small space


def without(trials: int, write_space: WriteSpace) -> Path:
    """The small space without early stopping, and with this number of trials."""
    return write_space((STOPPING, ""), ("trials: 6", f"trials: {trials}"))


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        (ARMS * FEW_TRIALS - 1, {"scheduler": "none"}),
        (ARMS * FEW_TRIALS, {"scheduler": "asha"}),
    ],
)
def test_arms_of_few_trials_run_in_full_by_default(
    write_space: WriteSpace, trials: int, expected: dict[str, object]
) -> None:
    assert load_space(without(trials, write_space)).early_stopping == expected


def test_an_explicit_choice_is_obeyed_however_few_trials_there_are(
    write_space: WriteSpace,
) -> None:
    assert load_space(write_space()).early_stopping["scheduler"] == "asha"
    many = write_space(
        (STOPPING, "early_stopping: {scheduler: none}\n"), ("trials: 6", "trials: 99")
    )
    assert load_space(many).early_stopping == {"scheduler": "none"}


@pytest.mark.parametrize(
    ("trials", "says"),
    [
        (6, f"none, the default for arms of fewer than {FEW_TRIALS} trials (here 2)"),
        (90, f"asha, the default for arms of at least {FEW_TRIALS} trials (here 30)"),
    ],
)
def test_the_dry_run_says_which_and_why(
    write_space: WriteSpace, capsys: pytest.CaptureFixture[str], trials: int, says: str
) -> None:
    assert launch(["--space", str(without(trials, write_space)), "--dry-run"]) == OK
    assert says in " ".join(capsys.readouterr().out.split())


def test_sizes_are_the_trials_and_epochs_of_each_arm(write_space: WriteSpace) -> None:
    space = load_space(write_space(("trials: 6", "trials: 7")))
    assert list(space.sizes.values()) == [ArmSize(trials=n, epochs=4) for n in (3, 2, 2)]
    free = load_space(write_space(("trials: 6", "trials: 9, allocation: free")))
    assert set(free.sizes.values()) == {ArmSize(trials=None, epochs=4)}
    assert trials_per_arm(free.search, free.sizes) == 3
    grid = load_space(
        write_space(
            ("{low: 1e-3, high: 1e-2, log: true}", "{values: [1e-3, 1e-2]}"),
            ("sampler: tpe, trials: 6", "sampler: grid"),
        )
    )
    assert set(grid.sizes.values()) == {ArmSize(trials=2, epochs=4)}


def test_a_study_keeps_its_rule_when_more_trials_are_asked_for(write_space: WriteSpace) -> None:
    few = load_space(without(ARMS * FEW_TRIALS - 1, write_space))
    source = {**few.source, "search": {**few.source["search"], "trials": 200}}
    larger, changes = larger_space(few, source, "here")
    assert larger.early_stopping == {"scheduler": "none"}
    assert [change.key for change in changes] == ["search.trials"]


def test_a_journal_says_what_the_rule_of_its_study_is(write_space: WriteSpace) -> None:
    space = load_space(without(90, write_space))
    again = space_of(space.source, space.name, "journal", {"scheduler": "none"})
    assert again.early_stopping == {"scheduler": "none"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{grace_epochs: 2}", "grace_epochs = 2: needs early_stopping.scheduler"),
        ("{scheduler: ahsa}", "did you mean 'asha'"),
        ("{scheduler: asha, grace_epochs: 5}", "trials have 4 epochs; must be below 4"),
        ("{scheduler: one_epoch, keep: 2}", "an arm has 2 trials; must be below"),
        ("{scheduler: median}", "min_trials = 3.*an arm has 2 trials"),
        ("{scheduler: hyperband}", "2 brackets, and an arm has 2 trials"),
        ("{scheduler: asha, audit_share: 1.5}", "audit_share = 1.5: must be a number from 0 to 1"),
    ],
)
def test_impossible_settings_are_refused_with_their_line(
    write_space: WriteSpace, given: str, says: str
) -> None:
    path = write_space((STOPPING, f"early_stopping: {given}\n"))
    with pytest.raises(InputError, match=f":14.*{says}"):
        load_space(path)


@pytest.mark.parametrize("path", ON_DIGITS, ids=lambda path: path.stem)
def test_shipped_spaces_with_few_trials_in_an_arm_run_them_in_full(path: Path) -> None:
    space = load_space(path)
    is_small = trials_per_arm(space.search, space.sizes) < FEW_TRIALS
    assert (space.early_stopping["scheduler"] == "none") == is_small
    assert "early_stopping" not in yaml.safe_load(path.read_text())
