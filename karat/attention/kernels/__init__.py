"""Ways to compute Φ̂(A) from queries and keys: one file each, all the same function.

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
    """What a kernel is asked for.

    Args:
        basis: name of the basis family.
        features: F, or 0 for a family whose units share no features.
        base_activation: b of the units, `zero` for none.
        outputs: R.
        head_dim: D.
        dtype: of queries and keys, as torch prints it (`torch.float32`).
        device: `cpu`, `cuda`, ...
    """

    basis: str
    features: int
    base_activation: str
    outputs: int
    head_dim: int
    dtype: str
    device: str


class Units(Protocol):
    """What a kernel needs to know of the units (`karat.attention.units.Units`), P R M of them.

    `coefficients` go by name, (P, R, M, own) each; `scale` and `base_scale` are (P, R, M) or None;
    a call with scores (P, M, L) gives rows (P, R, L).
    """

    basis: Basis
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
    """One way to compute the rows. It holds no state and is made once for a process.

    `refusal` is asked before `rows`, with the same task. `rows` must give gradients to queries,
    keys and the units' parameters, may compute in any order, and must keep the dtype rule:
    float32 or wider inside and out, whatever the dtype of queries and keys.
    """

    @abc.abstractmethod
    def refusal(self, task: Task) -> str | None:
        """Which limit of this kernel the task breaks, as a phrase; None if it can be done."""

    @abc.abstractmethod
    def rows(self, q_BHND: Tensor, k_BHMD: Tensor, scale: float, units: Units) -> Tensor:
        """`Φ(scale q kᵀ)` for every query, shape (B, H, N, R).

        Args:
            q_BHND, k_BHMD: any strides; head h belongs to operator h // (H / P).
            scale: of the scores.
            units: of shape (P, R, M).
        """

    def attend(self, qkv: QKV, scale: float, units: Units, matrix_PMR: Tensor) -> Tensor:
        """`Φ(scale q kᵀ) (Wᵀ v)`, shape (B, H, N, D), W being `matrix_PMR`.

        A kernel may keep less for the backward pass here than the rows, and return the gradient
        of one tensor as one.
        """
        q_BHND, k_BHMD, v_BHMD = qkv
        rows_BHNR = self.rows(q_BHND, k_BHMD, scale, units)
        sharing = rows_BHNR.shape[1] // matrix_PMR.shape[0]
        narrow = matrix_PMR.to(rows_BHNR.dtype).mT.repeat_interleave(sharing, 0)
        return rows_BHNR @ (narrow @ v_BHMD.to(rows_BHNR.dtype))


KERNELS = Catalog(Kernel, "attention.kernel")  # type: ignore[type-abstract]
_MADE: dict[str, Kernel] = {}


def candidates(name: str) -> dict[str, Kernel]:
    """The kernels from which `choose` may choose, the preferred one first.

    `auto` is `triton` on a machine with CUDA, then `recompute`, which takes anything anywhere.

    Raises:
        SettingError: no kernel of that name.
    """
    names = [name]
    if name == AUTO:
        names = ["triton", "recompute"] if torch.cuda.is_available() else ["recompute"]
    return {each: _kernel(each) for each in names}


def choose(among: Mapping[str, Kernel], task: Task) -> tuple[str, Kernel]:
    """The first kernel that can do the task, and its name.

    Raises:
        KernelError: none can; the message says which limit, and which kernels could.
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
    """The kernel of that name, or the one that `auto` takes for this task.

    Raises:
        KernelError: the kernel cannot do this task; the message says which limit, and which can.
        SettingError: no kernel of that name.
    """
    return choose(candidates(name), task)


def _kernel(name: str) -> Kernel:
    if name not in _MADE:
        _MADE[name] = KERNELS[name]()
    return _MADE[name]
