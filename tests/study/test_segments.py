"""What a worker is told of a segment, and how long it may be silent."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from karat.journal.trial import Trial
from karat.space.reader import load_space
from karat.study.segments import silence_s


def test_a_trial_that_tests_corrupted_images_may_be_silent_for_as_many_epochs(
    write_space: Callable[..., Path],
) -> None:
    space = load_space(write_space())
    epoch_s = 60 * space.resources.minutes_per_epoch

    def silent(phase: str, reports: int, **data: Any) -> float:
        config = {"data": {"name": "digits", **data}}
        found = SimpleNamespace(phase=phase, reports=[0] * reports, epochs=3, config=config)
        return silence_s(space, {0: cast(Trial, found)}, 0)

    names = {"corruptions": ["noise", "blur"]}
    assert silence_s(space, {}, None) == epoch_s  # it waits for a trial
    assert silent("confirm", 2, **names) == (1 + 2 * 5) * epoch_s
    assert silent("confirm", 1, **names) == epoch_s  # not its last epoch
    assert silent("search", 2, **names) == epoch_s  # is not tested
    assert silent("confirm", 2) == epoch_s
