"""What attention costs: kernels beside softmax in one vision transformer, in one run.

    python -m benchmarks.attention --model vit_tiny --image-size 224 --batch-size 8 --grid-size 3

Every implementation is measured in turn, round after round, so that a slow moment of the machine
meets all of them; figures are medians over the rounds, and ratios to softmax as timm computes it
(`scaled_dot_product_attention`).
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from karat.attention import AttentionConfig
from karat.errors import InputError
from karat.kernels import KERNELS, kernel_for
from karat.models import ModelConfig, build_model

SOFTMAX, EAGER = "softmax-sdpa", "softmax-eager"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One implementation: medians in milliseconds with their quartiles, bytes, ratios to softmax.

    `saved_bytes` are those that autograd keeps for the backward pass of one step, the parameters
    and the pictures left out; `peak_bytes` is the device's peak in a step, None on a CPU.
    """

    implementation: str
    step_ms: float
    step_quartiles_ms: tuple[float, float]
    inference_ms: float
    saved_bytes: int
    peak_bytes: int | None
    step_time_ratio: float
    inference_time_ratio: float
    saved_bytes_ratio: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention", description=__doc__)
    parser.add_argument("--model", default="vit_tiny", help="a size, or timm's name (vit_tiny)")
    parser.add_argument("--image-size", type=int, default=224, help="pixels (224)")
    parser.add_argument("--patch-size", type=int, help="pixels; that of the model")
    parser.add_argument("--batch-size", type=int, default=8, help="pictures in a step (8)")
    parser.add_argument("--grid-size", type=int, default=3, help="G, Fourier (3)")
    parser.add_argument("--rank", type=int, default=12, help="R (12)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (7)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    options = parser.parse_args(arguments)
    try:
        results = measure(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        found = {"machine": machine(), "settings": settings_of(options)}
        print(json.dumps({**found, "results": [asdict(result) for result in results]}))
    else:
        print(f"{machine()}\n{settings_of(options)}\n\n{table(results)}")
    return 0


def measure(options: argparse.Namespace) -> list[Result]:
    """Every implementation that can run here, softmax first."""
    models = {name: make(name, options) for name in implementations(options)}
    size = (options.batch_size, 3, options.image_size, options.image_size)
    pictures = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    steps: dict[str, list[float]] = {name: [] for name in models}
    forwards: dict[str, list[float]] = {name: [] for name in models}
    for number in range(options.rounds + 1):
        for name, model in models.items():
            step, forward = (
                milliseconds(run, model, pictures) for run in (training_step, inference)
            )
            if number:  # the first round warms up
                steps[name].append(step)
                forwards[name].append(forward)
    saved = {name: saved_bytes(model, pictures) for name, model in models.items()}
    peak = {name: peak_bytes(model, pictures) for name, model in models.items()}
    medians = {name: statistics.median(times) for name, times in steps.items()}
    fastest = {name: statistics.median(times) for name, times in forwards.items()}
    return [
        Result(
            implementation=name,
            step_ms=medians[name],
            step_quartiles_ms=quartiles(steps[name]),
            inference_ms=fastest[name],
            saved_bytes=saved[name],
            peak_bytes=peak[name],
            step_time_ratio=medians[name] / medians[SOFTMAX],
            inference_time_ratio=fastest[name] / fastest[SOFTMAX],
            saved_bytes_ratio=saved[name] / saved[SOFTMAX],
        )
        for name in models
    ]


def implementations(options: argparse.Namespace) -> list[str]:
    """Softmax twice, and the kernels that can do this here."""
    model = make("reference", options)
    operator = next(block.attn.operator for block in model.blocks)  # type: ignore[union-attr]
    task = operator.phi.task(torch.empty(1, 1, 1, model.embed_dim // model.blocks[0].attn.num_heads, device=DEVICE))  # type: ignore[index,union-attr,operator]  # fmt: skip
    able = []
    for name in KERNELS:
        try:
            able.append(kernel_for(name, task)[0])
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
    return [SOFTMAX, EAGER, *able]


def make(name: str, options: argparse.Namespace) -> nn.Module:
    """The model with this implementation, in training mode."""
    attention = AttentionConfig()
    if name not in (SOFTMAX, EAGER):
        settings = {"grid_size": options.grid_size, "rank": options.rank, "kernel": name}
        attention = AttentionConfig.from_settings({"basis": "fourier", **settings})
    config = ModelConfig(name=options.model, patch_size=options.patch_size)
    shape = {"image_size": options.image_size, "channels": 3, "classes": 10, "seed": 0}
    model = build_model(config, attention, **shape)
    if name == EAGER:
        for block in model.blocks:  # type: ignore[union-attr]
            block.attn.fused_attn = False
    return model.to(DEVICE).train()


def training_step(model: nn.Module, pictures: Tensor) -> None:
    """Forward and backward."""
    model.zero_grad()
    model(pictures).square().mean().backward()


@torch.no_grad()
def inference(model: nn.Module, pictures: Tensor) -> None:
    """Forward."""
    model(pictures)


def milliseconds(
    run: Callable[[nn.Module, Tensor], None], model: nn.Module, pictures: Tensor
) -> float:
    """Of one call: by the device's events, or by the clock."""
    if DEVICE == "cpu":
        started = time.perf_counter()
        run(model, pictures)
        return 1e3 * (time.perf_counter() - started)
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    run(model, pictures)
    after.record()
    torch.cuda.synchronize()
    elapsed: float = before.elapsed_time(after)
    return elapsed


def saved_bytes(model: nn.Module, pictures: Tensor) -> int:
    """What autograd keeps for the backward pass, each memory counted once."""
    given = {tensor.untyped_storage().data_ptr() for tensor in (pictures, *model.parameters())}
    kept: dict[int, Any] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = model(pictures)
    assert out.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


def peak_bytes(model: nn.Module, pictures: Tensor) -> int | None:
    """The device's peak in one step."""
    if DEVICE == "cpu":
        return None
    torch.cuda.reset_peak_memory_stats()
    training_step(model, pictures)
    return torch.cuda.max_memory_allocated()


def quartiles(times: list[float]) -> tuple[float, float]:
    """The first and the third."""
    if len(times) < 2:
        return times[0], times[0]
    first, _, third = statistics.quantiles(times, n=4)
    return first, third


def machine() -> str:
    """Processor or device, threads, and torch's version."""
    name = platform.machine()
    if DEVICE == "cuda":
        name = torch.cuda.get_device_name()
    elif (info := Path("/proc/cpuinfo")).is_file():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {cores} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"


def settings_of(options: argparse.Namespace) -> str:
    """What was measured, in words."""
    return (
        f"{options.model}, {options.image_size} pixels, batch {options.batch_size}, float32, "
        f"Fourier G = {options.grid_size}, R = {options.rank}, {options.rounds} rounds"
    )


def table(results: list[Result]) -> str:
    """Markdown."""
    lines = [
        "| implementation | step (ms) | quartiles | step / softmax | inference / softmax "
        "| kept for backward (MiB) | kept / softmax |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in results:
        low, high = each.step_quartiles_ms
        lines.append(
            f"| {each.implementation} | {each.step_ms:.0f} | {low:.0f} to {high:.0f} "
            f"| {each.step_time_ratio:.2f} | {each.inference_time_ratio:.2f} "
            f"| {each.saved_bytes / 2**20:.0f} | {each.saved_bytes_ratio:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
