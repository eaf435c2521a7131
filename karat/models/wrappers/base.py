"""What all attention modules with an operator have in common.

A wrapper takes over everything that timm's module has under timm's names, so that weights stay bit
for bit and checkpoints of the host model fit. timm's modules are typed as Any, since their
attributes differ.

Shapes: B batch, N tokens (queries), M keys, C width, H heads, D head width, X any width.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from karat.attention.kernels import QKV
from karat.attention.part import Part
from karat.models.layouts.common import ConvertedAttention

# What attends in place of a part's own way: the part, queries, keys and values, scale, bias, pairs to keep.
Observer: TypeAlias = Callable[[Part, QKV, float, Tensor | None, Tensor | None], Tensor]
_FIRST = ("attn_drop", "proj", "proj_drop")


class HostAttention(ConvertedAttention):
    """Base class of the wrappers: what attends, output projection and dropout.

    Args:
        attention: the attention module of the host model.
        operator: what attends; other blocks may share it (universal block sharing).
        has_bias: whether the host adds numbers to the scores, so that scores and weights are formed.
    """

    num_heads: int
    scale: float
    operator: Part

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """What timm's module has."""

    def __init__(self, attention: Any, operator: Part, *, has_bias: bool = False) -> None:
        super().__init__()
        self._timm = type(attention)  # whose methods compute position biases and indices
        # This order of submodules is that of parameters in the optimizer states of checkpoints.
        _take_over(self, attention, lambda name: name in _FIRST)
        self.operator = operator
        self.has_bias = has_bias
        self.content = operator.content  # false holds queries and keys at zero
        self.observer: Observer | None = None  # of karat.models.observing
        _take_over(self, attention, lambda name: name not in _FIRST)
        if has_bias:
            self.kernels()  # raises a KernelError if the kernel of the settings cannot form weights

    def kernels(self) -> set[str]:
        """Names of the kernels that compute this module in training, on its current device."""
        weight = self.proj.weight
        q_BHND = weight.new_empty(1, 1, 1, weight.shape[1] // self.num_heads)
        return self.operator.kernels(q_BHND, needs_weights=self.has_bias)

    @property
    def _projects_apart(self) -> bool:
        """Whether queries and values have no common matrix of weights."""
        return getattr(self, "qkv", None) is None

    @property
    def _drop_rate(self) -> float:
        # Hiera has no dropout of the weights.
        return float(self.attn_drop.p) if hasattr(self, "attn_drop") else 0.0

    def _check(self, keys: int) -> None:
        if keys != self.operator.num_tokens and not self.operator.any_tokens:
            raise ValueError(
                f"this operator was made for {self.operator.num_tokens} tokens, got {keys}; "
                "karat.transfer transfers a model to another resolution"
            )

    def _heads(self, x_BNX: Tensor, count: int) -> Tensor:
        """Split the last dimension into `count` tensors of H heads: shape (count, B, H, N, D)."""
        batch, tokens, width = x_BNX.shape
        head_dim = width // (count * self.num_heads)  # not -1, which an empty batch cannot tell
        split = x_BNX.reshape(batch, tokens, count, self.num_heads, head_dim)
        return split.permute(2, 0, 3, 1, 4)

    def _attend(
        self, qkv: QKV, x_BNC: Tensor, bias: Tensor | None = None, keep: Tensor | None = None
    ) -> Tensor:
        """Attention output (B, H, N, D) for the tokens `x_BNC` that entered the module."""
        # Products with zero, so that the weights behind q and k have gradients, which are 0:
        # training on several processes waits for the gradient of every parameter.
        if not self.content:
            q_BHND, k_BHMD, v_BHMD = qkv
            qkv = 0 * q_BHND, 0 * k_BHMD, v_BHMD
        if self._projects_apart and not self.operator.uses_scores:
            q_BHND, k_BHMD, v_BHMD = qkv
            qkv = q_BHND, k_BHMD, v_BHMD + 0 * (q_BHND.mean() + k_BHMD.mean())
        if self.observer is not None:
            out_BHND = self.observer(self.operator, qkv, self.scale, bias, keep)
            return self.operator.finish(out_BHND, x_BNC)
        dropout = self._drop_rate if self.training else 0.0
        out: Tensor = self.operator(qkv, x_BNC, self.scale, dropout, bias=bias, keep=keep)
        return out

    def _projected(self, out_BHND: Tensor) -> Tensor:
        """The output projection of all heads, shape (B, N, C)."""
        projected: Tensor = self.proj_drop(self.proj(out_BHND.transpose(1, 2).flatten(2)))
        return projected


def bias_and_keep(
    attn_mask: Tensor | None, is_causal: bool, x_BNC: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """The part of a timm mask that is added to scores, and the pairs that are not masked."""
    if is_causal:
        tokens = x_BNC.shape[1]
        return None, torch.ones(tokens, tokens, dtype=torch.bool, device=x_BNC.device).tril()
    if attn_mask is None:
        return None, None
    if attn_mask.dtype == torch.bool:
        return None, attn_mask
    keep = attn_mask > torch.finfo(attn_mask.dtype).min / 2
    return attn_mask.masked_fill(~keep, 0), keep


def projected_with_biases(module: Any, x_BNC: Tensor) -> Tensor:
    """The projection to queries, keys and values, where those of queries and values alone have a bias."""
    if getattr(module, "q_bias", None) is None:
        projected: Tensor = module.qkv(x_BNC)
        return projected
    bias = torch.cat((module.q_bias, module.k_bias, module.v_bias))
    return F.linear(x_BNC, module.qkv.weight, bias)


def refuse_other_windows(module: HostAttention, window_size: tuple[int, int]) -> None:
    """For timm's `set_input_size`, which would resize the table of position biases.

    Raises:
        ValueError: the operator was made for another window size.
    """
    own = tuple(module.window_size)
    if tuple(window_size) != own:
        raise ValueError(
            f"this operator was made for windows of {own}, got {tuple(window_size)}; set the input "
            "size before karat.convert"
        )


def _take_over(module: nn.Module, attention: Any, wanted: Callable[[str], bool]) -> None:
    """Give a module the parameters, buffers, submodules and settings of timm's module."""
    for name, parameter in attention._parameters.items():
        if wanted(name):
            module.register_parameter(name, parameter)
    passing = attention._non_persistent_buffers_set
    for name, buffer in attention._buffers.items():
        if wanted(name):
            module.register_buffer(name, buffer, persistent=name not in passing)
    for name, each in attention._modules.items():
        if wanted(name):
            module.add_module(name, each)
    for name, value in vars(attention).items():
        if wanted(name) and not name.startswith("_"):
            setattr(module, name, value)
