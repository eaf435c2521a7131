"""The least time that attention alone could take on this CPU, and the time that it takes.

    python -m benchmarks.roofline --grid-size 3

The floor is the larger of two times: the operations at the rate of torch's matrix product, and the
bytes at the rate of a copy. Both rates are measured in the same run as the kernels, in CPU time.
Operations are counted for forward and backward, per score (a pair of tokens in a head); an
elementwise operation counts as one multiply-add.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.attention_subjects import FORMULA, SOFTMAX, Setting, Subject
from benchmarks.measuring import DEVICE, in_turns, machine

SINE, EXPONENTIAL = 40, 12  # elementwise operations per evaluation; a sine includes its cosine


@dataclass(frozen=True, kw_only=True)
class Work:
    """Forward and backward: operations per score, and the least bytes to and from memory."""

    products: float
    elementwise: float
    bytes_moved: float


def work_of(name: str, setting: Setting) -> Work:
    """The work of one implementation.

    Matrix products, as multiply-adds per score, with head width D, G frequencies and F = 2 G
    features of R outputs:

    * softmax: 2 D forward; 5 D backward, which computes the scores again.
    * recompute: D + F R forward; D + 3 F R + 2 D backward (scores and rows again, gradients of
      weights and of features, of q and k). Terms in N R D are less than a tenth and ignored.
    * formula: D + F R + R + D forward; twice that backward.

    Bytes: q, k and v are read twice and their gradients written once, the output is written and
    its gradient read; the formula also writes and reads N x N matrices: scores, G angles, F
    features and weights, and in the backward pass reads them and writes their gradients.
    """
    shape = setting.config.shape()
    width, rank, grid = shape["embed_dim"] // shape["num_heads"], setting.rank, setting.grid_size
    features = 2 * grid
    tensor = 4 * setting.batch_size * setting.tokens * shape["embed_dim"]
    least = (2 * 3 + 3 + 2) * tensor
    sines = 2 * (SINE + 4 * (grid - 1)) + features  # both passes, angle addition; gradients
    if name == SOFTMAX:
        return Work(products=7 * width, elementwise=2 * EXPONENTIAL + 8, bytes_moved=least)
    if name == FORMULA:
        matrices = 4 * scores_of(setting) * (2 + grid + features)
        once = 2 * width + features * rank + rank
        evaluations = 2 * features * SINE + 2 * features  # autograd evaluates them again
        return Work(products=3 * once, elementwise=evaluations, bytes_moved=least + 5 * matrices)
    return Work(products=4 * width + 4 * features * rank, elementwise=sines, bytes_moved=least)


def scores_of(setting: Setting) -> int:
    """The number of scores, B H N N."""
    return setting.batch_size * setting.config.shape()["num_heads"] * setting.tokens**2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__)
    parser.add_argument("--grid-size", type=int, default=3, help="G of the Fourier basis (3)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements per implementation (7)")
    options = parser.parse_args(arguments)
    if DEVICE != "cpu":
        print("error: the counts hold only for the CPU kernels; run without CUDA", file=sys.stderr)
        return 2
    setting = Setting(part="operator", batch_size=16, grid_size=options.grid_size)
    names = (SOFTMAX, "recompute", FORMULA)
    steps = {name: Subject(setting, name).step for name in names}
    square, long = torch.randn(1024, 1024), torch.randn(1 << 25)
    rates = {"product": lambda: square @ square, "copy": long.clone}
    times = in_turns({**steps, **rates}, options.rounds)
    taken = {name: statistics.median(each) for name, each in times.items()}
    operations_per_ms = 1024**3 / taken["product"]
    bytes_per_ms = 2 * 4 * len(long) / taken["copy"]
    print(f"{machine()}; {setting.describe()}")
    print(
        f"{operations_per_ms / 1e6:.0f} G multiply-adds and {bytes_per_ms / 1e6:.1f} GB per second "
        "of CPU time\n"
    )
    print(
        "| implementation | products | elementwise | MB moved | floor (ms) | measured (ms) "
        "| measured / floor |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in names:
        work = work_of(name, setting)
        of_operations = (work.products + work.elementwise) * scores_of(setting) / operations_per_ms
        floor = max(of_operations, work.bytes_moved / bytes_per_ms)
        print(
            f"| {name} | {work.products:.0f} | {work.elementwise:.0f} "
            f"| {work.bytes_moved / 1e6:.0f} | {floor:.1f} | {taken[name]:.1f} "
            f"| {taken[name] / floor:.2f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
