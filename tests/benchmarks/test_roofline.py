"""The counts of operations that the roofline stands on."""

import pytest

from benchmarks.attention_subjects import FORMULA, SOFTMAX, Setting
from benchmarks.roofline import main, work_of


@pytest.mark.parametrize(("name", "products"), [(SOFTMAX, 448), ("recompute", 544), (FORMULA, 636)])
def test_products_are_those_of_the_note(name: str, products: int) -> None:
    setting = Setting(part="operator", grid_size=3, rank=12)
    assert work_of(name, setting).products == products


def test_formula_moves_matrices_that_the_kernel_does_not() -> None:
    setting = Setting(part="operator", batch_size=16)
    assert work_of(FORMULA, setting).bytes_moved > 10 * work_of("recompute", setting).bytes_moved


def test_floor_and_measurement_are_printed_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rounds", "1"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == [SOFTMAX, "recompute", FORMULA]
    for row in rows:
        assert float(row.rstrip(" |").rpartition("|")[2]) > 0
