"""What is printed of the commands that train nothing: every figure, with its bound."""

import re

import pytest

from benchmarks.commands import Cost, main


@pytest.mark.slow
def test_every_command_is_measured_beside_its_bound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rounds", "1"]) == 0
    text = capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if "refused |" in line]
    assert [row[2].partition(":")[0] for row in rows] == ["0.2", "10"]
    assert all(float(row[1]) > 0 for row in rows)
    assert re.search(r"\| a plan of 980 arms \| [\d.]+ \| 2: (kept|BROKEN) \|", text)
    assert re.search(r"64 trials at once: [\d.]+ ms \(median; bound 50 ms\)", text)


def test_bound_that_is_not_kept_is_shown() -> None:
    cost = Cost(name="x", seconds=0.3, most_s=0.2)
    assert cost.row == "| x | 0.300 | 0.2: BROKEN |"
