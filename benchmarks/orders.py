"""Attention alone with every basis, base activation, order and projection, and with dropout, against softmax.

    OMP_NUM_THREADS=1 python -m benchmarks.orders --batch-size 4 --rounds 11

From queries, keys and values to the output, forward and backward: CPU time against softmax in torch's
fused kernel, and the arithmetic that is counted, in multiply-adds of products that take as long. With
dropout the rival is softmax with dropout: the better of torch's fused kernel and the plain formula.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measuring import DEVICE, Call, in_turns, machine, ratio, saved_bytes
from karat.attention.bases import BASES
from karat.attention.config import AttentionConfig
from karat.attention.heads import make_part
from karat.attention.mechanisms import Place

TOKENS, HEADS, WIDTH, DROPPED = 197, 3, 64, 0.1
SOFTMAX, FUSED, PLAIN = "softmax", "softmax, dropout, fused", "softmax, dropout, plain"
Settings = Mapping[str, Any]
FOURIER: Settings = {"basis": "fourier", "grid_size": 3}
OF_FORMS: tuple[Settings, ...] = (FOURIER, {"basis": "rational"})
FORMS: tuple[Settings, ...] = (
    {"operator_order": "phi_w"},
    {"operator_order": "phi_phi"},
    {"projection": "simplex"},
    {"projection": "softmax"},
    {"heads": [0]},
    {"rank": "full"},
)
PLACE = Place(num_heads=HEADS, num_tokens=TOKENS, head_dim=WIDTH, width=HEADS * WIDTH)


def all_settings() -> dict[str, Settings]:
    """Every setting that is compared, by name; `dropout` is not one of attention's own."""
    bases: list[Settings] = [
        FOURIER,
        {"basis": "fourier", "grid_size": 16},
        *({"basis": name} for name in BASES if name != "fourier"),
        {**FOURIER, "base_activation": "silu"},
        {"basis": "rational", "base_activation": "gelu"},
    ]
    forms = [{**basis, **form} for basis in OF_FORMS for form in FORMS]
    dropped = [{**basis, "dropout": DROPPED} for basis in OF_FORMS]
    return {_name(each): each for each in (*bases, *forms, *dropped)}


def _name(settings: Settings) -> str:
    basis, *others = settings.items()
    return ", ".join([str(basis[1]), *(f"{key} {value}" for key, value in others)])


def counted(settings: Settings) -> float:
    """Multiply-adds of a score against softmax's, by what takes as long; for dropout of the rest alone."""
    own = {key: value for key, value in settings.items() if key not in ("dropout", "heads")}
    mechanism = AttentionConfig.from_settings(own).make_mechanism()
    work = mechanism.learned_work(PLACE)
    found = mechanism.step_operations(PLACE) - work.total + work.as_products
    softmax = AttentionConfig().make_mechanism().step_operations(PLACE)
    share = len(settings["heads"]) / HEADS if "heads" in settings else 1.0
    return share * found / softmax + 1 - share


class Subject:
    """An attention with its input, the output of the projection to queries, keys and values."""

    def __init__(self, attend: Any, batch: int) -> None:
        draw = torch.Generator().manual_seed(0)
        packed = torch.randn(batch, TOKENS, 3 * HEADS * WIDTH, generator=draw)
        self.packed, self.attend = packed.to(DEVICE).requires_grad_(), attend

    def forward(self) -> Tensor:
        batch = self.packed.shape[0]
        qkv = self.packed.view(batch, TOKENS, 3, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
        out: Tensor = self.attend(qkv)
        return out.transpose(1, 2).reshape(batch, TOKENS, -1)

    def step(self) -> None:
        self.forward().square().mean().backward()  # type: ignore[no-untyped-call]


def softmax_of(dropout: float, fused: bool) -> Any:
    """Softmax attention, given queries, keys and values."""

    def attend(qkv: Tensor) -> Tensor:
        q, k, v = qkv
        if fused:
            return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        weights: Tensor = (q * WIDTH**-0.5 @ k.mT).softmax(-1)
        out: Tensor = F.dropout(weights, dropout) @ v
        return out

    return attend


def karat_of(settings: Settings) -> Any:
    """An attention of karat, given queries, keys and values."""
    own = {key: value for key, value in settings.items() if key != "dropout"}
    part = make_part(AttentionConfig.from_settings(own), PLACE).to(DEVICE)
    dropout = settings.get("dropout", 0.0)
    return lambda qkv: part.attend(qkv, WIDTH**-0.5, dropout)


def table(names: Sequence[str], batch: int, rounds: int) -> str:
    """Measure, and write a Markdown table."""
    settings = {name: each for name, each in all_settings().items() if not names or name in names}
    subjects = {
        SOFTMAX: Subject(softmax_of(0.0, fused=True), batch),
        FUSED: Subject(softmax_of(DROPPED, fused=True), batch),
        PLAIN: Subject(softmax_of(DROPPED, fused=False), batch),
        **{name: Subject(karat_of(each), batch) for name, each in settings.items()},
    }
    calls: dict[str, Call] = {name: each.step for name, each in subjects.items()}
    times = in_turns(calls, rounds)
    rival = min((FUSED, PLAIN), key=lambda name: ratio(times[name], times[SOFTMAX]))
    lines = ["| attention | step / rival | counted | kept (MiB) |", "|---|---|---|---|"]
    for name, subject in subjects.items():
        each = settings.get(name, {})
        own_rival = rival if "dropout" in each else SOFTMAX
        bytes_kept = saved_bytes(subject.forward, [subject.packed])
        of_count = f"{counted(each):.2f}" if each and "dropout" not in each else ""
        measured = ratio(times[name], times[own_rival])
        lines.append(f"| {name} | {measured:.2f} | {of_count} | {bytes_kept / 2**20:.1f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.orders",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--batch-size", type=int, default=4, help="images (4)")
    parser.add_argument(
        "--rounds", type=int, default=11, help="in each of which all are measured (11)"
    )
    parser.add_argument("--only", nargs="*", default=[], help="names of rows; all by default")
    options = parser.parse_args(arguments)
    print(machine())
    print(table(options.only, options.batch_size, options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
