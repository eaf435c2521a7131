"""The cost of attention: kernels, or operators, compared with softmax, in a whole vision transformer or alone.

    python -m benchmarks.attention --model vit_tiny --image-size 224 --batch-size 8 --grid-size 3
    python -m benchmarks.attention --compare operators
    python -m benchmarks.attention --sweep short --out benchmarks/results

Each round measures every implementation once. Times are medians over the rounds. Ratios are
relative to softmax as timm computes it (`scaled_dot_product_attention`), and are medians of the
ratios within each round.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.attention_subjects import (
    FORMULA,
    SOFTMAX,
    Setting,
    Subject,
    implementations,
    prepare_step,
)
from benchmarks.measuring import in_turns, machine, peak_bytes, quartiles, ratio, saved_bytes
from karat.errors import InputError

TOKENS = {17: (32, 8), 65: (32, 4), 197: (224, 16)}  # N to the pixels of image and patch
GRIDS = (1, 3, 5, 11)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One implementation: medians in milliseconds with their quartiles, bytes, ratios to softmax.

    A step is forward and backward. `saved_bytes` is what autograd keeps for the backward pass of
    one step, without parameters and images. `peak_bytes` is the peak memory of a step above the
    memory before it; None if the system does not report it.
    """

    implementation: str
    step_ms: float
    step_quartiles_ms: tuple[float, float]
    inference_ms: float
    inference_quartiles_ms: tuple[float, float]
    saved_bytes: int
    peak_bytes: int | None
    step_time_ratio: float
    inference_time_ratio: float
    saved_bytes_ratio: float
    peak_bytes_ratio: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All implementations under one setting."""

    setting: Setting
    results: list[Result]

    def json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "setting": {**asdict(self.setting), "tokens": self.setting.tokens},
            "results": [asdict(result) for result in self.results],
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    options = parse(arguments)
    found: list[Comparison] = []
    try:
        for setting in SWEEPS[options.sweep]() if options.sweep else [setting_of(options)]:
            found.append(measure(setting, options.rounds))
            if options.out:  # after each setting, since a sweep may be interrupted
                write(options, found)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    data, text = data_of(options, found), text_of(options, found)
    print(json.dumps(data) if options.json else text)
    if options.out and options.sweep:
        from benchmarks.attention_plot import plot

        plot(data, options.out / "attention.png")
    return 0


def data_of(options: argparse.Namespace, found: list[Comparison]) -> dict[str, Any]:
    """What `--json` prints."""
    about: dict[str, Any] = {"machine": machine(), "rounds": options.rounds}
    return about | ({"sweep": [c.json() for c in found]} if options.sweep else found[0].json())


def text_of(options: argparse.Namespace, found: list[Comparison]) -> str:
    """What is printed without `--json`."""
    tables = "\n\n".join(f"{c.setting.describe()}\n\n{table(c.results)}" for c in found)
    return f"{machine()}; medians of {options.rounds} rounds\n\n{tables}"


def write(options: argparse.Namespace, found: list[Comparison]) -> None:
    """Write the table and the JSON into the folder `--out`."""
    options.out.mkdir(parents=True, exist_ok=True)
    data = json.dumps(data_of(options, found), indent=1)
    (options.out / "attention.json").write_text(f"{data}\n")
    (options.out / "attention.md").write_text(f"{text_of(options, found)}\n")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    plain = Setting()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attention",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    choices = ("model", "operator")
    parser.add_argument(
        "--part",
        default=plain.part,
        choices=choices,
        help="the whole model, or attention alone (model)",
    )
    parser.add_argument(
        "--compare",
        default=plain.compare,
        choices=("kernels", "operators", "mechanisms"),
        help="kernels of one operator; every basis, base activation and order; or every other mechanism (kernels)",
    )
    parser.add_argument("--model", default=plain.model, help="size or timm name (vit_tiny)")
    parser.add_argument("--image-size", type=int, default=plain.image_size, help="pixels (224)")
    parser.add_argument("--patch-size", type=int, help="pixels (that of the model)")
    parser.add_argument(
        "--batch-size", type=int, default=plain.batch_size, help="images per step (8)"
    )
    parser.add_argument(
        "--grid-size", type=int, default=plain.grid_size, help="G of the Fourier basis (3)"
    )
    parser.add_argument("--rank", type=int, default=plain.rank, help="R (12)")
    parser.add_argument("--dtype", default=plain.dtype, choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=7, help="measurements per implementation (7)")
    parser.add_argument("--sweep", choices=SWEEPS, help="many settings, instead of those above")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument(
        "--out", type=Path, help="folder for the table, the JSON and the plot of a sweep"
    )
    return parser.parse_args(arguments)


def setting_of(options: argparse.Namespace) -> Setting:
    """The one setting that the options describe."""
    return Setting(**{field.name: getattr(options, field.name) for field in fields(Setting)})


def short_sweep() -> list[Setting]:
    """Whole models: kernels twice, then every operator; attention alone over N and G: 5 minutes on two cores."""
    models = [
        Setting(grid_size=3),
        Setting(image_size=32, patch_size=4, batch_size=32),
        Setting(compare="operators", batch_size=4),
    ]
    return models + _operators(["vit_tiny"])


def full_sweep() -> list[Setting]:
    """Three model sizes over N and G, whole and attention alone: almost an hour on two cores."""
    sizes = ["vit_tiny", "vit_small", "vit_base"]
    models = [
        Setting(model=size, image_size=pixels, patch_size=patch, batch_size=batch, grid_size=grid)
        for size in sizes
        for (pixels, patch), batch in zip(TOKENS.values(), (32, 16, 4), strict=True)
        for grid in GRIDS
    ]
    return models + _operators(sizes)


def _operators(sizes: list[str]) -> list[Setting]:
    return [
        Setting(part="operator", model=size, image_size=pixels, patch_size=patch, batch_size=16, grid_size=grid)
        for size in sizes
        for pixels, patch in TOKENS.values()
        for grid in GRIDS
    ]  # fmt: skip


SWEEPS = {"short": short_sweep, "full": full_sweep}


def measure(setting: Setting, rounds: int) -> Comparison:
    """Measure every implementation that runs on this machine, softmax first."""
    names, refusals = implementations(setting)
    for refusal in refusals:
        print(f"skipped: {refusal}", file=sys.stderr)
    peaks = {name: peak_bytes(prepare_step, setting, name) for name in names}
    subjects = {name: Subject(setting, name) for name in names}
    steps = in_turns({name: each.step for name, each in subjects.items()}, rounds)
    forwards = in_turns({name: each.inference for name, each in subjects.items()}, rounds)
    saved = {name: saved_bytes(each.forward, each.given) for name, each in subjects.items()}
    step_ms, inference_ms = (
        {name: statistics.median(of_one) for name, of_one in times.items()}
        for times in (steps, forwards)
    )
    results = [
        Result(
            implementation=name,
            step_ms=step_ms[name],
            step_quartiles_ms=quartiles(steps[name]),
            inference_ms=inference_ms[name],
            inference_quartiles_ms=quartiles(forwards[name]),
            saved_bytes=saved[name],
            peak_bytes=peaks[name],
            step_time_ratio=ratio(steps[name], steps[SOFTMAX]),
            inference_time_ratio=ratio(forwards[name], forwards[SOFTMAX]),
            saved_bytes_ratio=saved[name] / saved[SOFTMAX],
            peak_bytes_ratio=_ratio(peaks[name], peaks[SOFTMAX]),
        )
        for name in names
    ]
    return Comparison(setting=setting, results=results)


def _ratio(one: int | None, other: int | None) -> float | None:
    return one / other if one is not None and other else None


def table(results: list[Result]) -> str:
    """A Markdown table; if the formula was measured, with each time and memory relative to it."""
    formula = next((each for each in results if each.implementation == FORMULA), None)
    heads = ["implementation", "step (ms)", "quartiles", "step / softmax", "inference / softmax",
             "kept for backward (MiB)", "kept / softmax", "peak (MiB)"]  # fmt: skip
    if formula is not None:
        heads += ["formula / step", "formula / kept"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for each in results:
        low, high = each.step_quartiles_ms
        cells = [
            each.implementation,
            f"{each.step_ms:.1f}",
            f"{low:.1f} to {high:.1f}",
            f"{each.step_time_ratio:.2f}",
            f"{each.inference_time_ratio:.2f}",
            f"{each.saved_bytes / 2**20:.1f}",
            f"{each.saved_bytes_ratio:.3f}",
            "" if each.peak_bytes is None else f"{each.peak_bytes / 2**20:.0f}",
        ]
        if formula is not None:
            cells += [
                f"{formula.step_ms / each.step_ms:.2f}",
                f"{formula.saved_bytes / each.saved_bytes:.1f}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
