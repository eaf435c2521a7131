"""`confirm.by: arm`: every arm is a contest of its own, against the reference, or against that with its own levels."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.cli.studies.list import brief_answer
from karat.errors import InputError
from karat.forecast.curves import ModelledCurves
from karat.forecast.simulator import simulate
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.planning.replay import replay
from karat.report.answer import answer
from karat.report.facts.standing import standing_of
from karat.report.facts.summary import summarise
from karat.report.writer import write_report
from karat.space.reader import load_space
from tests.simulated import findings
from tests.spaces import MATCHED

WriteSpace = Callable[..., Path]
BY_ARM = ("by: attention.grid_size", "by: arm")
BY_SIZE = ("by: model.embed_dim", "by: arm")
# Two factors, of which neither has all arms as its levels.
CROSSED = (
    ("trials: 6", "trials: 10"),
    BY_ARM,
    (
        "when: {attention.basis: fourier}}\n",
        "when: {attention.basis: fourier}}\n"
        "  attention.block_sharing: {values: [blockwise, universal], when: {attention.basis: fourier}}\n",
    ),
)


def test_every_arm_is_confirmed_for_itself_with_as_much_tuning(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = load_space(write_space(*CROSSED))
    curves = ModelledCurves(0, dict.fromkeys(space.arms, 1.0))
    folder = tmp_path / "s"
    state = simulate(space, folder, 2, curves).state
    assert state.confirmation is not None
    cells = state.confirmation["cells"]
    assert {cell["arm"]: cell["level"] for cell in cells} == {
        arm: None if arm == "softmax" else arm for arm in space.arms
    }
    assert set(Counter(trial.arm for trial in state.of_phase("search")).values()) == {2}
    assert not list(replay(space, list(read_events(folder / JOURNAL))))
    assert findings(folder) == []
    summary = summarise(state)
    assert summary.search.tuned == dict.fromkeys(space.arms, 2)
    assert {arm.against for arm in summary.others} == {"softmax"}
    assert "the levels of arm" not in answer(summary)
    write_report(folder, state)
    text = (folder / "report.md").read_text()
    assert "## Between the arms" in text
    assert "| confirmed | every arm |" in text
    assert "Tuning was equal: 2 trials on each side of every comparison." in text
    assert "as well." not in text  # no arm stands for others


def test_every_arm_is_compared_with_the_reference_that_has_its_levels(
    write_space: WriteSpace, tmp_path: Path
) -> None:
    space = load_space(write_space(BY_SIZE, text=MATCHED))
    assert space.references == {
        f"embed_dim={size} fourier grid_size={grid}": f"embed_dim={size} softmax"
        for size in (12, 24)
        for grid in (1, 2)
    }
    curves = ModelledCurves(0, dict.fromkeys(space.arms, 1.0))
    folder = tmp_path / "s"
    state = simulate(space, folder, 2, curves).state
    assert not list(replay(space, list(read_events(folder / JOURNAL))))
    assert findings(folder) == []
    summary = summarise(state)
    assert summary.matched == ("model.embed_dim",)
    assert {arm.label: arm.against for arm in summary.others} == space.references
    assert summary.headline is None  # no arm is better than those of another size
    assert "Against softmax at the same embed_dim: " in answer(summary)
    assert "fourier grid_size=1 at embed_dim=12" in answer(summary)
    assert brief_answer(standing_of(state)).endswith(", each against its own reference")
    write_report(folder, state)
    text = (folder / "report.md").read_text()
    assert "Differences are to softmax at the same embed_dim" in text
    assert "| confirmed | every arm |" in text


@pytest.mark.parametrize(
    ("text", "exchanges", "message"),
    [
        (
            MATCHED,
            [
                BY_SIZE,
                (
                    "search:",
                    "exclude:\n  - {model.embed_dim: 24, attention.basis: softmax}\nsearch:",
                ),
            ],
            None,  # the reference of the other size is left for all
        ),
        (
            MATCHED,
            [
                BY_SIZE,
                ("[12, 24]", "[12, 24, 36]"),
                (
                    "search:",
                    "exclude:\n  - {model.embed_dim: 24, attention.basis: softmax}\nsearch:",
                ),
            ],
            "for embed_dim=24 fourier grid_size=1 there are 0 of embed_dim=12 softmax, embed_dim=36 softmax; "
            "embed_dim=24 softmax does not run: excluded by",
        ),
        (
            MATCHED,
            [
                BY_SIZE,
                (
                    "search:",
                    "exclude:\n  - {model.embed_dim: 24, attention.basis: fourier}\nsearch:",
                ),
            ],
            "reference: matches embed_dim=24 softmax, with which no other arm is compared; "
            "embed_dim=24 fourier grid_size=1 does not run: excluded by",
        ),
        (
            None,
            [BY_ARM, ("confirm:", "exclude:\n  - {attention.basis: softmax}\nconfirm:")],
            "reference: must match an arm; no arm has all these levels; softmax does not run: excluded by",
        ),
        (
            None,
            [
                BY_ARM,
                ("reference: {attention.basis: softmax}", "reference: {attention.basis: fourier}"),
            ],
            "for softmax there are 0 of fourier grid_size=1, fourier grid_size=2",
        ),
        (None, [("by: attention.grid_size", "by: arms")], "or `arm` to confirm each arm"),
    ],
)
def test_every_arm_needs_one_reference(
    write_space: WriteSpace, text: str | None, exchanges: list[tuple[str, str]], message: str | None
) -> None:
    more = {} if text is None else {"text": text}
    if message is None:
        assert len(set(load_space(write_space(*exchanges, **more)).references.values())) == 1
        return
    with pytest.raises(InputError, match=message):
        load_space(write_space(*exchanges, **more))
