"""The search for block sizes: what it finds, and what it prints."""

import math
import tomllib
from dataclasses import replace

import pytest

from benchmarks import triton_blocks
from karat.attention.kernels.triton._blocks import Blocks, Case, choose

START = Blocks(own=64, other=16, group=8, warps=4, stages=2)
CASE = Case(kernel="sides", dtype="bfloat16", units=True, features=1, outputs=16, width=64)


def test_sizes_are_changed_one_at_a_time_while_that_helps() -> None:
    best = replace(START, own=32, group=2, stages=1)
    tried = []

    def time(blocks: Blocks) -> float:
        tried.append(blocks)
        if blocks.own == 128:
            return math.inf
        return 1.0 + sum(
            abs(math.log2(getattr(blocks, name) / getattr(best, name)))
            for name in triton_blocks.SIZES
        )

    assert triton_blocks.descend(START, time) == (best, 5.0, 1.0)
    assert len(tried) == len(set(tried))


def test_a_printed_table_is_one_that_is_read_and_fits_its_case() -> None:
    tables = tomllib.loads(triton_blocks.toml_of(CASE, START))["blocks"]
    assert choose(tables, CASE) == START
    with pytest.raises(ValueError, match="no table fits"):
        choose(tables, replace(CASE, width=128))


def test_without_a_device_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if triton_blocks.DEVICE == "cuda":
        pytest.skip("there is one")
    assert triton_blocks.main([]) == 2
    assert "needs a CUDA device" in capsys.readouterr().err
