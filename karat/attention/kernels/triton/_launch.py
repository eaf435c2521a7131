"""Block sizes, grids and launches of one call."""

import subprocess
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from karat.attention.kernels.triton._blocks import Blocks, Case, blocks_for
from karat.attention.kernels.triton._forward import rows_kernel
from karat.attention.kernels.triton._generated import Functions
from karat.attention.kernels.triton._jit import INTERPRETED, triton
from karat.attention.kernels.triton._learned import parts_kernel, weights_kernel
from karat.attention.kernels.triton._sides import side_kernel

PRECISIONS = {torch.float32: "ieee", torch.bfloat16: "tf32x3", torch.float16: "tf32x3"}
COLUMNS = 16  # outputs of a program for the parts of units
# Programs for the gradient of the parameters, about. A constant, and not the number of processors
# of the device, so that sums have the same order and the same bits on every device.
PROGRAMS = 1024


class CannotCompileError(Exception):
    """Triton did not compile a kernel, or the device cannot hold it; the message says why."""


class Launch:
    """One call: its shapes, block sizes and kernel launches.

    Args:
        functions: those of the basis.
        q, k: queries (B, H, N, D) and keys (B, H, M, D), any strides, the same dtype.
        weights: of the features, (P, R, F, M), float32, any strides; F may be 0.
        kept: what is prepared of the units, (P, R, K, M), in the same way.
        scale: factor of the scores.
        choice: the sizes of blocks for a case.
    """

    def __init__(
        self,
        functions: Functions,
        q: Tensor,
        k: Tensor,
        weights: Tensor,
        kept: Tensor,
        scale: float,
        choice: Callable[[Case], Blocks] = blocks_for,
    ) -> None:
        self.functions, self.choice = functions, choice
        self.q, self.k, self.weights, self.kept, self.scale = q, k, weights, kept, scale
        self.batch, self.heads, self.tokens, self.width = q.shape
        self.operators, self.outputs, _, self.keys = weights.shape
        assert k.shape == (self.batch, self.heads, self.keys, self.width), (q.shape, k.shape)
        assert self.heads % self.operators == 0, (self.heads, self.operators)
        assert q.dtype == k.dtype, (q.dtype, k.dtype)
        assert weights.dtype == kept.dtype == torch.float32, (weights.dtype, kept.dtype)
        assert weights.shape[2] == functions.features, weights.shape
        assert kept.shape[2] == functions.kept, kept.shape
        self.sharing = self.heads // self.operators

    def rows(self) -> Tensor:
        """The rows, shape (B, H, N, R)."""
        rows = self.weights.new_empty((*self.q.shape[:3], self.outputs))
        blocks = self._blocks("rows")
        own, group = self.functions, _group(self.functions.features, blocks.group)
        tensors = (self.q, self.k, self.weights, self.kept, rows)
        self._run(
            rows_kernel,
            (self.batch * self.heads * _ceil(self.tokens, blocks.own),),
            tensors,
            (self.heads, self.sharing, self.tokens, self.keys),
            blocks,
            features=own.of("features", group),
            unit=own.of("unit"),
            FEATURES=own.features,
            GROUP=group,
            KEPT=own.kept,
            BLOCK_R=_padded(self.outputs),
        )
        return rows

    def grad_side(self, grad: Tensor, of_keys: bool) -> Tensor:
        """Gradient of the queries or of the keys, given that of the rows."""
        own, other = (self.k, self.q) if of_keys else (self.q, self.k)
        grad_own = own.new_empty(own.shape)
        blocks = self._blocks("sides")
        functions = self.functions
        group = _group(functions.features - functions.flat, blocks.group)
        tensors = (grad, own, other, self.weights, self.kept, grad_own)
        self._run(
            side_kernel,
            (self.batch * self.heads * _ceil(own.shape[2], blocks.own),),
            tensors,
            (self.heads, self.sharing, own.shape[2], other.shape[2]),
            blocks,
            slopes=functions.of("slopes", group),
            unit_slope=functions.of("unit_slope"),
            OWN_KEYS=of_keys,
            FLAT=functions.flat,
            FEATURES=functions.features,
            GROUP=group,
            KEPT=functions.kept,
            BLOCK_R=_padded(self.outputs),
        )
        return grad_own

    def grad_weights(self, grad: Tensor) -> Tensor:
        """Gradient of the weights of the features.

        A program handles a block of keys, a group of features, and every s-th pair of image and head
        of an operator.
        """
        blocks, count = self._blocks("learned"), self.functions.features
        group = _group(count, blocks.group)
        tiles = _ceil(self.keys, blocks.own) * _ceil(count, group)
        sums = self.weights.new_empty((self._splits(tiles), *self.weights.shape))
        self._run(
            weights_kernel,
            (tiles, self.operators, sums.shape[0]),
            (grad, self.q, self.k, sums),
            (self.batch * self.sharing, self.sharing, self.tokens, self.keys),
            blocks,
            features=self.functions.of("features", group),
            FEATURES=count,
            GROUP=group,
            BLOCK_R=_padded(self.outputs),
        )
        return sums.sum(0)

    def grad_parts(self, grad: Tensor) -> Tensor:
        """Gradient of each of `Unit.parts`, shape (P, R, parts, M), in the same way."""
        blocks, count = self._blocks("learned"), self.functions.parts
        group = _group(count, blocks.group)
        tiles = _ceil(self.keys, blocks.own) * _ceil(count, group) * _ceil(self.outputs, COLUMNS)
        shape = (self._splits(tiles), self.operators, self.outputs, count, self.keys)
        sums = self.kept.new_empty(shape)
        self._run(
            parts_kernel,
            (tiles, self.operators, shape[0]),
            (grad, self.q, self.k, self.kept, sums),
            (self.batch * self.sharing, self.sharing, self.tokens, self.keys),
            blocks,
            unit_parts=self.functions.of("unit_parts", group),
            PARTS=count,
            GROUP=group,
            KEPT=self.functions.kept,
            BLOCK_C=COLUMNS,
        )
        return sums.sum(0)

    def _splits(self, tiles: int) -> int:
        """How many programs share a block of the gradient, each with its own sum."""
        images = self.batch * self.sharing
        return max(1, min(PROGRAMS // (tiles * self.operators), images))

    def _blocks(self, kernel: str) -> Blocks:
        return self.choice(
            Case(
                kernel=kernel,
                dtype=str(self.q.dtype).removeprefix("torch."),
                units=self.functions.kept > 0,
                features=self.functions.features,
                outputs=_padded(self.outputs),
                width=_padded(self.width),
            )
        )

    def _run(
        self,
        kernel: Any,
        grid: tuple[int, ...],
        tensors: tuple[Tensor, ...],
        sizes: tuple[int, ...],
        blocks: Blocks,
        **constants: Any,
    ) -> None:
        constants |= {
            "OUTPUTS": self.outputs,
            "WIDTH": self.width,
            "BLOCK_OWN": blocks.own,
            "BLOCK_OTHER": blocks.other,
            "BLOCK_D": _padded(self.width),
            "PRECISION": PRECISIONS[self.q.dtype],
            "WIDEN": INTERPRETED,
            "num_warps": blocks.warps,
            "num_stages": blocks.stages,
        }
        arguments = (*tensors, self.scale, *(each.stride() for each in tensors), *sizes)
        _start(kernel, grid, arguments, constants)


def _start(
    kernel: Any, grid: tuple[int, ...], arguments: tuple[Any, ...], constants: dict[str, Any]
) -> None:
    _compile(kernel, grid, arguments, constants)
    try:
        kernel[grid](*arguments, **constants)
    except triton.runtime.errors.OutOfResources as error:
        raise CannotCompileError(str(error)) from error


_COMPILED: set[tuple[Any, ...]] = set()


def _compile(
    kernel: Any, grid: tuple[int, ...], arguments: tuple[Any, ...], constants: dict[str, Any]
) -> None:
    """Compile without running, once, so that a failure is told from an error of the device."""
    key = (kernel, arguments[0].dtype, *constants.values())
    if key in _COMPILED:
        return
    try:
        kernel.warmup(*arguments, grid=grid, **constants)
    except (
        *(triton.errors.TritonError, RuntimeError, OSError, subprocess.SubprocessError),
    ) as error:
        raise CannotCompileError(f"{type(error).__name__}: {error}") from error
    _COMPILED.add(key)


def _group(count: int, most: int) -> int:
    """The size of groups of at most `most`, as equal as possible; 1 if there is nothing."""
    return _ceil(count, _ceil(count, most)) if count else 1


def _padded(length: int) -> int:
    """The next power of two, at least 16, as `tl.dot` requires."""
    return max(16, 1 << (length - 1).bit_length())


def _ceil(length: int, block: int) -> int:
    return -(-length // block)
