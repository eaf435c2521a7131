"""What a training step costs by mechanism and basis: makes the table of `--dry-run`'s forecast.

    python -m benchmarks.step_costs --out karat/forecast/speed/step_costs.json

CPU seconds of one thread. Two models of two blocks, one with 17 tokens and one with 65, are trained
with every mechanism and basis, in turns with softmax: what a step takes beyond softmax gives the cost of a
call and of a score. Models with softmax, probed as `--measure` does, give the cost of the rest. To be made again
when a kernel or a mechanism becomes faster. Half an hour on a busy machine, ten minutes on a quiet one.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.measuring import Call, machine
from karat.attention.bases import BASES
from karat.attention.config import AttentionConfig
from karat.attention.mechanisms import MECHANISMS
from karat.attention.names import KARAT, SOFTMAX
from karat.forecast.probing.probe import probe
from karat.forecast.speed.step_costs import Extra, Host, StepCosts, kinds_of
from karat.forecast.speed.yardsticks import Speed, measured_speed
from karat.models.build import build_model
from karat.models.config import ModelConfig
from karat.models.costs import costs_of
from karat.models.layers import chosen_layers
from karat.models.shape import layer_shapes
from karat.training.config import TrialConfig

FOURIER = {"basis": "fourier", "grid_size": 3}
VARIANTS: tuple[Mapping[str, Any], ...] = (
    {**FOURIER, "operator_order": "phi_w"},
    {**FOURIER, "operator_order": "phi_phi"},
    {**FOURIER, "projection": "simplex"},
    {**FOURIER, "projection": "softmax"},
    {**FOURIER, "base_activation": "silu"},
    {**FOURIER, "rank": "full"},
)
HOSTS = ({"depth": 2}, {"depth": 4}, {"depth": 2, "embed_dim": 192}, {"depth": 2, "patch_size": 1})
SETTLED = 3  # steps before those that count


class Shape(NamedTuple):
    """A small model: images of a step, and their pixels along an edge, of a patch, and channels."""

    batch: int
    image: int
    patch: int
    channels: int

    @property
    def model(self) -> ModelConfig:
        return ModelConfig(name="vit_micro", patch_size=self.patch, depth=2)

    @property
    def rest(self) -> dict[str, int]:
        return {"image_size": self.image, "channels": self.channels, "classes": 10}


FEW, MANY = Shape(64, 8, 2, 1), Shape(16, 32, 4, 3)


def settings_of_all() -> list[Mapping[str, Any]]:
    """Every basis, every other mechanism, and the variants of the operator."""
    bases = [FOURIER if name == "fourier" else {"basis": name} for name in BASES]
    others: list[Mapping[str, Any]] = [
        {"mechanism": name} for name in MECHANISMS if name not in (SOFTMAX, KARAT)
    ]
    return [*bases, *map(_with_basis, others), *VARIANTS]


def _with_basis(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    has = "basis" in MECHANISMS[settings["mechanism"]].operator_settings
    return {**settings, **FOURIER} if has else settings


def step_of(shape: Shape, attention: AttentionConfig) -> Call:
    """Forward and backward pass of a model."""
    model = build_model(shape.model, attention, seed=0, **shape.rest).train()
    images = torch.randn(shape.batch, shape.channels, shape.image, shape.image)
    labels = torch.zeros(shape.batch, dtype=torch.long)

    def step() -> None:
        model.zero_grad()
        F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]

    return step


def beyond_softmax(shape: Shape, attention: AttentionConfig, rounds: int) -> float:
    """Seconds that one attention module takes in a step beyond softmax."""
    softmax, other = step_of(shape, AttentionConfig()), step_of(shape, attention)
    for _ in range(SETTLED):
        softmax(), other()
    found = [seconds(other) - seconds(softmax) for _ in range(rounds)]
    return statistics.median(found) / shape.model.shape()["depth"]


def seconds(call: Call) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def extra_of(attention: AttentionConfig, rounds: int) -> Extra:
    """Fit the two figures of an entry to the two shapes."""
    scores, taken = [], []
    for shape in (FEW, MANY):
        layer = chosen_layers(layer_shapes(shape.model, shape.image), attention)[0]
        scores.append(shape.batch * layer.num_heads * layer.num_tokens**2)
        taken.append(beyond_softmax(shape, attention, rounds))
    call_s, scores_s = fitted(scores, taken)
    return Extra(call_s=call_s, scores_s=scores_s, operations=operations_of(attention))


def operations_of(attention: AttentionConfig) -> float:
    """Those of learned functions for one score, in the larger shape."""
    layer = chosen_layers(layer_shapes(MANY.model, MANY.image), attention)[0]
    return attention.make_mechanism().learned_work(layer.place).as_products / layer.num_tokens


def operation_of(rounds: int) -> float:
    """Seconds of one operation of learned functions: what more frequencies take, by their number."""
    few, many = (AttentionConfig.from_settings({**FOURIER, "grid_size": g}) for g in (3, 16))
    layer = chosen_layers(layer_shapes(MANY.model, MANY.image), few)[0]
    scores = MANY.batch * layer.num_heads * layer.num_tokens**2
    taken = beyond_softmax(MANY, many, rounds) - beyond_softmax(MANY, few, rounds)
    return taken / scores / (operations_of(many) - operations_of(few))


def fitted(scores: Sequence[int], taken: Sequence[float]) -> tuple[float, float]:
    """Seconds of a call and of a score; a mechanism that is slower than softmax has no negative ones."""
    scores_s = (taken[1] - taken[0]) / (scores[1] - scores[0])
    call_s = taken[0] - scores_s * scores[0]
    if taken[0] > 0 > call_s:  # a call costs something: both shapes count alike for a score
        return 0.0, statistics.geometric_mean(t / n for t, n in zip(taken, scores, strict=True))
    return call_s, scores_s


def host_of() -> Host:
    """Fit the figures of the model around attention to probes of several models with softmax."""
    rows, steps, saves = [], [], []
    for model in HOSTS:
        sections = {
            "data": {"name": "digits"},
            "model": {"name": "vit_micro", "patch_size": 2, **model},
            "attention": {"mechanism": SOFTMAX},
            "training": {"recipe": "quick"},
        }
        config, measured = TrialConfig.from_sections(sections), probe(sections)
        costs = costs_of(config.model, config.attention, **config.data_shape())
        operations = 3 * config.training.batch_size * costs.forward_flops
        weight = 1 / measured.step_s  # all models count alike, however large
        rows.append([weight, weight * config.model.shape()["depth"], weight * operations])
        steps.append(1.0)
        saves.append(measured.save_s)
        print(
            f"{model}: {1e3 * measured.step_s:.1f} ms a step, {1e3 * measured.save_s:.1f} to save"
        )
    (step_s, layer_s, multiply_add_s), *_ = np.linalg.lstsq(np.array(rows), np.array(steps))
    return Host(
        step_s=float(step_s),
        layer_s=float(layer_s),
        multiply_add_s=float(multiply_add_s),
        save_s=statistics.median(saves),
    )


def table(rounds: int) -> StepCosts:
    """Measure everything."""
    before, host, extra = measured_speed(), host_of(), {}
    operation_s = operation_of(rounds)
    for settings in settings_of_all():
        attention = AttentionConfig.from_settings(settings)
        kind = kinds_of(attention)[-1 if "basis" in settings and "mechanism" not in settings else 0]
        extra[kind] = extra_of(attention, rounds)
        print(f"{kind}: {extra[kind]}", flush=True)
    extra[SOFTMAX] = Extra(call_s=0.0, scores_s=0.0, operations=0.0)
    speeds = (before, measured_speed())
    print(*speeds)
    return StepCosts(speed=Speed.mean(speeds), host=host, operation_s=operation_s, extra=extra)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step_costs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=9, help="of each comparison (9)")
    parser.add_argument("--out", type=Path, required=True, help="file of the table")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    source = {"made_by": "python -m benchmarks.step_costs", "machine": machine()}
    options.out.write_text(json.dumps({**source, **asdict(table(options.rounds))}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
