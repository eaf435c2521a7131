"""`confirm.by: arm`: every arm is a contest of its own, against one reference."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.errors import InputError
from karat.forecast.curves import ModelledCurves
from karat.forecast.simulator import simulate
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.planning.replay import replay
from karat.report.answer import answer
from karat.report.facts.summary import summarise
from karat.report.writer import write_report
from karat.space.reader import load_space
from tests.simulated import findings
from tests.spaces import MATCHED

WriteSpace = Callable[..., Path]
BY_ARM = ("by: attention.grid_size", "by: arm")
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


@pytest.mark.parametrize(
    ("text", "exchanges", "message"),
    [
        (
            MATCHED,
            [("by: model.embed_dim", "by: arm")],
            r"must match one arm for confirm.by: arm; it matches 2 \(embed_dim=12 softmax, embed_dim=24 softmax\)",
        ),
        (
            None,
            [
                BY_ARM,
                ("reference: {attention.basis: softmax}", "reference: {attention.basis: fourier}"),
            ],
            "must match one arm for confirm.by: arm; it matches 2",
        ),
        (None, [("by: attention.grid_size", "by: arms")], "or `arm` to confirm each arm"),
    ],
)
def test_one_reference_is_needed(
    write_space: WriteSpace, text: str | None, exchanges: list[tuple[str, str]], message: str
) -> None:
    more = {} if text is None else {"text": text}
    with pytest.raises(InputError, match=message):
        load_space(write_space(*exchanges, **more))
