"""timm's attention modules with the operator instead of softmax.

A wrapper takes over the submodules of timm's module under timm's names, so that weights stay bit
for bit and checkpoints of the host model fit. timm's modules are typed as Any, since their
attributes differ.

Shapes: B batch, N tokens, C width, H heads, D head width, M keys; W windows of an image.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from karat.attention.kernels import QKV
from karat.attention.part import Part
from karat.models.hosts import ConvertedAttention

# What attends in place of a part's own way: the part, queries, keys and values, scale, bias, pairs to keep.
Observer: TypeAlias = Callable[[Part, QKV, float, Tensor | None, Tensor | None], Tensor]


class HostAttention(ConvertedAttention):
    """Base class of the wrappers: what attends, output projection and dropout.

    Args:
        attention: the attention module of the host model.
        operator: what attends; other blocks may share it (universal block sharing).
    """

    def __init__(self, attention: Any, operator: Part) -> None:
        super().__init__()
        self.num_heads, self.scale = attention.num_heads, attention.scale
        self.attn_drop = attention.attn_drop
        self.proj, self.proj_drop = attention.proj, attention.proj_drop
        self.operator = operator
        self.content = operator.content  # false holds queries and keys at zero
        self.observer: Observer | None = None  # of karat.models.observing
        self.training = attention.training

    def kernels(self) -> set[str]:
        """Names of the kernels that compute this module in training, on its current device."""
        weight = self.proj.weight
        q_BHND = weight.new_empty(1, 1, 1, weight.shape[1] // self.num_heads)
        return self.operator.kernels(q_BHND, needs_weights=self._needs_weights)

    @property
    def _needs_weights(self) -> bool:
        return bool(self.attn_drop.p > 0)

    def _check(self, tokens: int) -> None:
        if tokens != self.operator.num_tokens and not self.operator.any_tokens:
            raise ValueError(
                f"this operator was made for {self.operator.num_tokens} tokens, got {tokens}; "
                "karat.transfer transfers a model to another resolution"
            )

    def _heads(self, x_BNX: Tensor, count: int) -> Tensor:
        """Split the last dimension into `count` tensors of H heads: shape (count, B, H, N, D)."""
        batch, tokens, _ = x_BNX.shape
        split = x_BNX.reshape(batch, tokens, count, self.num_heads, -1)
        return split.permute(2, 0, 3, 1, 4)

    @property
    def _dropout(self) -> float:
        return self.attn_drop.p if self.training else 0.0

    def _attend(
        self, qkv: QKV, x_BNC: Tensor, bias: Tensor | None = None, keep: Tensor | None = None
    ) -> Tensor:
        """Attention output (B, H, N, D) for the tokens `x_BNC` that entered the module."""
        if not self.content:
            q_BHND, k_BHND, v_BHND = qkv
            # A product with zero, so that the weights behind q and k have gradients, which are 0:
            # training on several processes waits for the gradient of every parameter.
            qkv = 0 * q_BHND, 0 * k_BHND, v_BHND
        if self.observer is not None:
            out_BHND = self.observer(self.operator, qkv, self.scale, bias, keep)
        else:
            out_BHND = self.operator.attend(qkv, self.scale, self._dropout, bias=bias, keep=keep)
        return self.operator.finish(out_BHND, x_BNC)


class KArAtAttention(HostAttention):
    """For timm's `Attention` (ViT, DeiT) and ConViT's plain `MHSA`."""

    def __init__(self, attention: Any, operator: Part) -> None:
        super().__init__(attention, operator)
        self.qkv = attention.qkv
        self.q_norm = getattr(attention, "q_norm", nn.Identity())
        self.k_norm = getattr(attention, "k_norm", nn.Identity())
        self.norm = getattr(attention, "norm", nn.Identity())
        norms = (self.q_norm, self.k_norm)
        self._normalises = not all(isinstance(norm, nn.Identity) for norm in norms)
        self.gate = getattr(attention, "gate", None)

    def forward(
        self, x_BNC: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Attention output, shape (B, N, C).

        Args:
            x_BNC: tokens.
            attn_mask: as in timm: truth values, or numbers that are added to the scores, where -inf
                and the dtype's lowest number mask a pair.
            is_causal: whether a token sees only itself and those before it; overrides `attn_mask`.

        Raises:
            ValueError: the operator was made for another number of tokens, or cannot be masked.
        """
        self._check(x_BNC.shape[1])
        qkv: QKV = self._heads(self.qkv(x_BNC), 3)
        q_BHND, k_BHND, v_BHND = qkv
        if self._normalises:
            q_BHND, k_BHND = self.q_norm(q_BHND), self.k_norm(k_BHND)
            qkv = q_BHND, k_BHND, v_BHND
        bias, keep = _bias_and_keep(attn_mask, is_causal, x_BNC)
        out_BHND = self._attend(qkv, x_BNC, bias, keep)
        out_BNC = self.norm(out_BHND.transpose(1, 2).flatten(2))
        if self.gate is not None:
            out_BNC = out_BNC * self.gate(x_BNC).sigmoid()
        projected: Tensor = self.proj_drop(self.proj(out_BNC))
        return projected


class KArAtGatedAttention(HostAttention):
    """For ConViT's gated positional self-attention (`GPSA`).

    `(1 - g) KArAt(scores) V + g softmax(position scores) V`, with a gate g per head. Source:
    arXiv 2103.10697, equation 7. Departure: the weights are not divided by their sum. The sum is 1
    for two softmaxes, but may be 0 for an operator.
    """

    def __init__(self, attention: Any, operator: Part) -> None:
        super().__init__(attention, operator)
        self.qk, self.v, self.pos_proj = attention.qk, attention.v, attention.pos_proj
        self.gating_param = attention.gating_param
        self._get_rel_indices = type(attention).get_rel_indices
        self.init_non_persistent_buffers()

    def _check(self, tokens: int) -> None:
        if tokens != self.operator.num_tokens:
            raise ValueError(
                f"this layer has relative positions of {self.operator.num_tokens} tokens, got "
                f"{tokens}; karat.transfer transfers a model to another resolution"
            )

    def init_non_persistent_buffers(self) -> None:
        """Compute the relative positions; timm calls this after loading onto another device."""
        places = self._get_rel_indices(self, self.operator.num_tokens)
        self.register_buffer("rel_indices", places, persistent=False)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Attention output for tokens of shape (B, N, C), same shape.

        Raises:
            ValueError: the operator was made for another number of tokens.
        """
        self._check(x_BNC.shape[1])
        q_BHND, k_BHND = self._heads(self.qk(x_BNC), 2)
        (v_BHND,) = self._heads(self.v(x_BNC), 1)
        content_BHND = self._attend((q_BHND, k_BHND, v_BHND), x_BNC)
        position_1HNM = self.pos_proj(self.rel_indices).permute(0, 3, 1, 2).softmax(-1)
        position_1HNM = self.attn_drop(position_1HNM.to(v_BHND.dtype))
        gate = self.gating_param.sigmoid().view(1, -1, 1, 1)
        mixed_BHND = (1 - gate) * content_BHND + gate * (position_1HNM @ v_BHND)
        projected: Tensor = self.proj_drop(self.proj(mixed_BHND.transpose(1, 2).flatten(2)))
        return projected


class KArAtWindowAttention(HostAttention):
    """For Swin's `WindowAttention`: attention inside each window, with relative position bias.

    Pairs that the shift mask forbids are left out of row sums and weights. timm adds -100 to their
    scores, which has no such effect on a periodic function.
    """

    def __init__(self, attention: Any, operator: Part) -> None:
        super().__init__(attention, operator)
        self.qkv = attention.qkv
        self.window_size, self.window_area = attention.window_size, attention.window_area
        self.relative_position_bias_table = attention.relative_position_bias_table
        self.kernels()  # raises a KernelError if the kernel of the settings cannot form weights
        self.init_non_persistent_buffers()

    @property
    def _needs_weights(self) -> bool:
        return True  # the bias is added to the scores, which kernels do not form

    def init_non_persistent_buffers(self) -> None:
        """Compute the index of the bias table; timm calls this after loading onto another device."""
        from timm.models.swin_transformer import get_relative_position_index

        device = self.relative_position_bias_table.device
        index = get_relative_position_index(*self.window_size, device=device)
        self.register_buffer("relative_position_index", index, persistent=False)

    def forward(self, x_BNC: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention output, shape (B W, N, C).

        Args:
            x_BNC: tokens of windows, shape (B W, N, C); the windows of an image are consecutive.
            mask: shape (W, N, N), 0 where a pair may attend and negative where not.

        Raises:
            ValueError: the operator was made for another number of tokens.
        """
        self._check(x_BNC.shape[1])
        q_BHND, k_BHND, v_BHND = self._heads(self.qkv(x_BNC), 3)
        bias_HNM = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        keep = None
        if mask is not None:
            keep = (mask == 0).unsqueeze(1).repeat(x_BNC.shape[0] // mask.shape[0], 1, 1, 1)
        out_BHND = self._attend((q_BHND, k_BHND, v_BHND), x_BNC, bias_HNM, keep)
        out_BNC = out_BHND.transpose(1, 2).flatten(2)
        projected: Tensor = self.proj_drop(self.proj(out_BNC))
        return projected

    def set_window_size(self, window_size: tuple[int, int]) -> None:
        """Called by timm's `set_input_size`; only the window size of the operator is possible.

        Raises:
            ValueError: the operator was made for another window size.
        """
        if tuple(window_size) != tuple(self.window_size):
            raise ValueError(
                f"this operator was made for windows of {tuple(self.window_size)}, got "
                f"{tuple(window_size)}; set the input size before karat.convert"
            )


def _bias_and_keep(
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
