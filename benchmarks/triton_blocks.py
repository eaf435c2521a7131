"""Measures block sizes of the Triton kernels on this GPU, and prints tables for `blocks.toml`.

    python -m benchmarks.triton_blocks --basis fourier --rank 12 --dtype bfloat16
    python -m benchmarks.triton_blocks --basis rational --base-activation silu --width 32

For each kernel it starts from the sizes of the present table and changes one of them at a time, up
and down, as long as the time falls by more than 2 %. Sizes that do not compile, or that the device
cannot hold, count as infinitely slow. Put the printed tables above the others in
`karat/attention/kernels/triton/blocks.toml`, run `pytest tests/attention/kernels -k triton`, and
say in `docs/benchmarks.md` on which device they were measured.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace

import torch

from benchmarks.measuring import DEVICE, in_turns
from karat.attention.bases import BASES
from karat.attention.kernels.triton._blocks import Blocks, Case, blocks_for
from karat.attention.kernels.triton._jit import INTERPRETED, triton
from karat.attention.kernels.triton._launch import CannotCompileError, Launch
from karat.attention.kernels.triton._operations import packed
from karat.attention.operator_config import OperatorConfig
from karat.attention.units import Units

SIZES: Mapping[str, Sequence[int]] = {
    "own": (16, 32, 64, 128),
    "other": (16, 32, 64),
    "group": (1, 2, 4, 8),
    "warps": (2, 4, 8),
    "stages": (1, 2, 3, 4),
}
GAIN = 0.98  # of the time; less is noise
Run = Callable[[Callable[[Case], Blocks]], Callable[[], object]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each kernel. Exit status 2 where there is no device."""
    options = parse(arguments)
    if triton is None or (DEVICE == "cpu" and not INTERPRETED):
        print("triton_blocks needs a CUDA device and the package triton", file=sys.stderr)
        return 2
    for kernel, run in runs_of(options).items():
        seen: list[Case] = []

        def noted(case: Case, seen: list[Case] = seen) -> Blocks:
            seen.append(case)
            return blocks_for(case)

        run(noted)()
        start = blocks_for(seen[0])
        found, before, after = descend(
            start, lambda blocks, run=run: time_of(run, blocks, options.rounds)
        )
        print(f"# {kernel}: {before:.3f} ms before, {after:.3f} ms with\n{toml_of(seen[0], found)}")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.triton_blocks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--basis", default="fourier", choices=sorted(BASES))
    parser.add_argument("--base-activation", default="zero")
    parser.add_argument("--rank", type=int, default=12)
    parser.add_argument("--width", type=int, default=64, help="of a head")
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=197)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args(arguments)


def runs_of(options: argparse.Namespace) -> dict[str, Run]:
    """For each kernel of the table, what makes a call of it from a choice of sizes."""
    config = OperatorConfig(basis=options.basis, base_activation=options.base_activation)
    shape = (options.heads, options.rank, options.tokens)
    units = Units(config, shape, torch.Generator().manual_seed(0)).to(DEVICE)
    dtype = getattr(torch, options.dtype)
    images = (options.batch_size, options.heads, options.tokens)
    q, k = (torch.randn(*images, options.width, device=DEVICE).to(dtype) for _ in range(2))
    grad = torch.randn(*images, options.rank, device=DEVICE)
    with torch.no_grad():
        own = packed(units)

    def launch(choice: Callable[[Case], Blocks]) -> Launch:
        return Launch(own.functions, q, k, own.weights, own.kept, options.width**-0.5, choice)

    def sides(choice: Callable[[Case], Blocks]) -> Callable[[], object]:
        both = launch(choice)
        return lambda: [both.grad_side(grad, of_keys=each) for each in (False, True)]

    def learned(choice: Callable[[Case], Blocks]) -> Callable[[], object]:
        one = launch(choice)
        return lambda: one.grad_parts(grad) if own.functions.kept else one.grad_weights(grad)

    return {"rows": lambda choice: launch(choice).rows, "sides": sides, "learned": learned}


def time_of(run: Run, blocks: Blocks, rounds: int) -> float:
    """Milliseconds, the median of the rounds; infinity for sizes that are impossible."""
    try:
        times = in_turns({"own": run(lambda case: blocks)}, rounds)["own"]
    except CannotCompileError:
        return math.inf
    return sorted(times)[len(times) // 2]


def descend(start: Blocks, time: Callable[[Blocks], float]) -> tuple[Blocks, float, float]:
    """The best sizes that single steps lead to, the time of the first ones, and of the best."""
    best, before = start, time(start)
    shortest, known = before, {start}
    while True:
        better = False
        for each in neighbours(best):
            if each in known:
                continue
            known.add(each)
            took = time(each)
            if took < GAIN * shortest:
                best, shortest, better = each, took, True
                break
        if not better:
            return best, before, shortest


def neighbours(blocks: Blocks) -> Iterator[Blocks]:
    """The sizes that differ in one number, by one step."""
    for name, sizes in SIZES.items():
        now = getattr(blocks, name)
        larger = [each for each in sizes if each > now][:1]
        smaller = [each for each in sizes if each < now][-1:]
        for size in (*larger, *smaller):
            yield replace(blocks, **{name: size})


def toml_of(case: Case, blocks: Blocks) -> str:
    """A table for `blocks.toml`, for this case and smaller ones."""
    lines = ["[[blocks]]"]
    for name, value in {**asdict(case), **asdict(blocks)}.items():
        text = f'"{value}"' if isinstance(value, str) else str(value).lower()
        lines.append(f"{name} = {text}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
