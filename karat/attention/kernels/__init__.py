"""Implementations of Φ̂(A) from queries and keys: one file each, all with the same result.

Shapes: B batch, H heads, N tokens, M keys, D head width, P operators, R outputs, F features.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch

from karat.catalog import Catalog
from karat.errors import KernelError

if TYPE_CHECKING:
    from torch import Tensor

    from karat.attention.bases import Basis

__all__ = [
    "AUTO",
    "KERNELS",
    "QKV",
    "Kernel",
    "Task",
    "Units",
    "candidates",
    "choose",
    "kernel_for",
]


AUTO = "auto"
QKV: TypeAlias = "Tensor | tuple[Tensor, Tensor, Tensor]"
"""Queries (B, H, N, D), keys and values (B, H, M, D), or one tensor of the three, (3, B, H, N, D)."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """The description of a computation, from which a kernel decides whether it supports it.

    Args:
        basis: name of the basis family.
        features: F, or 0 for a family whose units share no features.
        base_activation: b of the units, `zero` for none.
        outputs: R.
        head_dim: D.
        dtype: dtype of queries and keys, as torch prints it (`torch.float32`).
        device: `cpu`, `cuda`, ...
        has_formula: whether the family states a formula, and not torch code alone.
        spec: `Units.spec`.
    """

    basis: str
    features: int
    base_activation: str
    outputs: int
    head_dim: int
    dtype: str
    device: str
    has_formula: bool = True
    spec: str = ""


class Units(Protocol):
    """The part of `karat.attention.units.Units` that kernels use: P x R x M units.

    `coefficients` maps names to tensors of shape (P, R, M, shape of one unit); `scale` and
    `base_scale` are (P, R, M) or None; a call with scores (P, M, L) returns rows (P, R, L).
    """

    basis: Basis
    basis_name: str
    base_activation: str
    spec: str
    num_operators: int
    num_outputs: int
    coefficients: Any
    scale: Any
    base_scale: Any

    def feature_weights(self, dtype: torch.dtype) -> Tensor: ...

    def __call__(self, scores_PML: Tensor) -> Tensor: ...


class Kernel(abc.ABC):
    """One implementation of the rows. It has no state; a process creates one instance.

    `refusal` is called before `rows`, for the same task. `rows` must be differentiable by queries,
    keys and the parameters of the units, and may compute in any order. It computes and returns
    float32 or wider, whatever the dtype of queries and keys.
    """

    @abc.abstractmethod
    def refusal(self, task: Task) -> str | None:
        """The limit of this kernel that the task exceeds, as a phrase; None if it is supported."""

    @abc.abstractmethod
    def rows(self, q_BHND: Tensor, k_BHMD: Tensor, scale: float, units: Units) -> Tensor:
        """`Φ(scale q kᵀ)` for every query, shape (B, H, N, R).

        Args:
            q_BHND, k_BHMD: any strides; head h uses operator h // (H / P).
            scale: factor of the scores.
            units: P x R x M units.
        """

    def attend(self, qkv: QKV, scale: float, units: Units, matrix_PMR: Tensor) -> Tensor:
        """`Φ(scale q kᵀ) (Wᵀ v)`, shape (B, H, N, D), where W is `matrix_PMR`.

        A kernel may override this to keep less than the rows for the backward pass, and to return
        the gradient of a packed qkv tensor as one tensor.
        """
        q_BHND, k_BHMD, v_BHMD = qkv
        rows_BHNR = self.rows(q_BHND, k_BHMD, scale, units)
        sharing = rows_BHNR.shape[1] // matrix_PMR.shape[0]
        narrow = matrix_PMR.to(rows_BHNR.dtype).mT.repeat_interleave(sharing, 0)
        return rows_BHNR @ (narrow @ v_BHMD.to(rows_BHNR.dtype))

    def attend_rows(self, qkv: QKV, scale: float, units: Units) -> Tensor:
        """`Φ(scale q kᵀ) v`, shape (B, H, N, D): the rows are the attention weights themselves.

        Args:
            qkv: queries (B, H, N, X), keys (B, H, M, X), and a value for each output, (B, H, R, D).
            scale, units: as for `rows`.
        """
        q_BHNX, k_BHMX, v_BHRD = qkv
        rows_BHNR = self.rows(q_BHNX, k_BHMX, scale, units)
        return rows_BHNR @ v_BHRD.to(rows_BHNR.dtype)


KERNELS = Catalog(Kernel, "attention.kernel")  # type: ignore[type-abstract]
_MADE: dict[str, Kernel] = {}


def candidates(name: str) -> dict[str, Kernel]:
    """The kernels for `choose`, the preferred one first.

    `auto` is `triton` on a machine with CUDA, then `recompute`, which supports every task.

    Raises:
        SettingError: there is no kernel of that name.
    """
    names = [name]
    if name == AUTO:
        names = ["triton", "recompute"] if torch.cuda.is_available() else ["recompute"]
    return {each: _kernel(each) for each in names}


def choose(among: Mapping[str, Kernel], task: Task) -> tuple[str, Kernel]:
    """The first kernel that supports the task, and its name.

    Raises:
        KernelError: none does; the message names the limit, and the kernels that support the task.
    """
    refusals = []
    for name, kernel in among.items():
        refusal = kernel.refusal(task)
        if refusal is None:
            return name, kernel
        refusals.append(f"kernel {name}: {refusal}")
    able = [name for name in KERNELS if _kernel(name).refusal(task) is None]
    raise KernelError(f"{'; '.join(refusals)}; {', '.join(able)} can do this")


def kernel_for(name: str, task: Task) -> tuple[str, Kernel]:
    """The kernel of that name, or the one that `auto` selects for this task.

    Raises:
        KernelError: the kernel does not support the task; see `choose`.
        SettingError: there is no kernel of that name.
    """
    return choose(candidates(name), task)


def _kernel(name: str) -> Kernel:
    if name not in _MADE:
        _MADE[name] = KERNELS[name]()
    return _MADE[name]
