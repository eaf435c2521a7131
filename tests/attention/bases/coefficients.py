"""Coefficients for the tests of bases."""

import torch
from torch import Tensor

from karat.attention.bases import Basis


def started(
    basis: Basis,
    shape: tuple[int, int, int],
    start: str = "paper",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """Initial coefficients of a basis for `shape` = P, R, M, with gradients."""
    generator = torch.Generator().manual_seed(seed)
    coefficients = {}
    for name, own in basis.coefficient_shapes().items():
        out = torch.empty(*shape, *own, dtype=dtype)
        with torch.no_grad():
            basis.initialise(name, out, start, generator)
        coefficients[name] = out.requires_grad_()
    return coefficients


def spread(
    basis: Basis, shape: tuple[int, int, int], seed: int = 0, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Initial coefficients of the paper, but with units of different positions and widths."""
    coefficients = started(basis, shape, seed=seed, dtype=dtype)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        if "tau" in coefficients:
            coefficients["tau"].normal_(generator=generator)
            coefficients["s"].uniform_(0.3, 3.0, generator=generator)
    return coefficients
