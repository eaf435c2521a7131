"""Attention transfer: the attention of one trained model, frozen, with the value branch of another that is trained.

Shapes: B batch, N tokens, C width, H heads, D head width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from karat.errors import HostError
from karat.models.hosts import attention_layers, is_converted


class GivenAttention(nn.Module):
    """A block's attention with queries, keys and operator of another model, and values of its own.

    The values, their projection and everything else in the model are trained. Whatever the giver's mechanism makes of a
    score (softmax or an operator) is applied to these values; its parameters are the giver's, and frozen.

    Args:
        attention: timm's attention module of the model that is trained; values and projection become this one's.
        giver: the attention module of the frozen model, timm's or converted.
    """

    def __init__(self, attention: Any, giver: Any) -> None:
        super().__init__()
        self.num_heads, width = attention.num_heads, attention.proj.in_features
        self.v = nn.Linear(width, width, bias=attention.qkv.bias is not None)
        with torch.no_grad():
            self.v.weight.copy_(attention.qkv.weight[-width:])
            if self.v.bias is not None:
                self.v.bias.copy_(attention.qkv.bias[-width:])
        self.proj, self.proj_drop = attention.proj, attention.proj_drop
        self.norm = getattr(attention, "norm", nn.Identity())
        self._giver = [giver]  # in a list: its weights belong to the giver, not to this module
        self._qkv: Tensor | None = None
        giver.qkv.register_forward_hook(self._note)

    def _note(self, module: nn.Module, given: object, qkv_BNX: Tensor) -> None:
        self._qkv = qkv_BNX

    def forward(self, x_BNC: Tensor, attn_mask: Tensor | None = None, **more: object) -> Tensor:
        """Attention output, shape (B, N, C); the giver must have seen the same images before."""
        [giver], qkv_BNX = self._giver, self._qkv
        assert qkv_BNX is not None
        assert attn_mask is None
        self._qkv = None
        qkv = _split(qkv_BNX, 3, giver.num_heads).permute(2, 0, 3, 1, 4)
        q_BHND, k_BHND = giver.q_norm(qkv[0]), giver.k_norm(qkv[1])
        v_BHND = _split(self.v(x_BNC), 1, self.num_heads)[:, :, 0].transpose(1, 2)
        operator = getattr(giver, "operator", None)
        if operator is None:
            out_BHND = F.scaled_dot_product_attention(q_BHND, k_BHND, v_BHND, scale=giver.scale)
        else:
            out_BHND = operator((q_BHND, k_BHND, v_BHND), x_BNC, giver.scale)
        out_BNC = self.norm(out_BHND.transpose(1, 2).flatten(2))
        projected: Tensor = self.proj_drop(self.proj(out_BNC))
        return projected


def _split(x_BNX: Tensor, count: int, heads: int) -> Tensor:
    """The last dimension as (count, H, D)."""
    batch, tokens, width = x_BNX.shape
    return x_BNX.reshape(batch, tokens, count, heads, width // (count * heads))


def give_attention(model: nn.Module, giver: nn.Module) -> nn.Module:
    """Replace the attention of a model by that of another one, which is frozen; in place.

    The giver becomes a part of the model (`attention_giver`), and sees every image first. Source: Li et al. 2024, "On the
    surprising effectiveness of attention transfer for vision transformers" (arXiv 2411.09702), attention copy; in the
    paper's Table 4 between models with softmax and with KArAt.

    Args:
        model: a plain ViT of timm with softmax, as it is drawn.
        giver: a plain ViT, converted or not, with as many blocks, heads and tokens; its weights do not change any more.

    Returns:
        The model.

    Raises:
        HostError: they do not fit; the model is unchanged then.
    """
    pairs = list(zip(attention_layers(giver), attention_layers(model), strict=False))
    _refuse(model, giver)
    giver.requires_grad_(False)
    giver.eval()
    for there, here in pairs:
        here.block.attn = GivenAttention(here.block.attn, there.block.attn)
    model.add_module("attention_giver", _Frozen(giver))
    model.register_forward_pre_hook(_ask_first)
    return model


def _ask_first(model: nn.Module, images: tuple[Tensor, ...]) -> None:
    with torch.no_grad():
        model.get_submodule("attention_giver")(*images)


class _Frozen(nn.Module):
    """A model that stays in the mode of evaluation."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def train(self, mode: bool = True) -> "_Frozen":
        return super().train(False)

    def forward(self, images: Tensor) -> None:
        self.model(images)


def _refuse(model: nn.Module, giver: nn.Module) -> None:
    from timm.models.vision_transformer import VisionTransformer  # takes seconds to import

    if not (isinstance(giver, VisionTransformer) and isinstance(model, VisionTransformer)):
        raise HostError("only a plain ViT gives its attention, and only to a plain ViT")
    found, wanted = attention_layers(giver), attention_layers(model)
    _refuse_other_images(model, giver)
    if len(found) != len(wanted):
        raise HostError(f"there are {len(found)} blocks there and {len(wanted)} here")
    for there, here in zip(found, wanted, strict=True):
        if is_converted(here):
            raise HostError("the model itself must have attention.mechanism: softmax")
        for key in ("num_heads", "num_tokens", "prefix_tokens"):
            if (ours := getattr(here, key)) != (theirs := getattr(there, key)):
                raise HostError(f"{here.name}: {key} is {theirs} there and {ours} here")
        operator = getattr(there.block.attn, "operator", None)
        mechanism = getattr(operator, "mechanism", None)
        if mechanism is not None and _changes_values(mechanism):
            raise HostError(f"{type(mechanism).__name__} changes values, too; it cannot be given")


def _refuse_other_images(model: Any, giver: Any) -> None:
    ours, theirs = model.patch_embed, giver.patch_embed
    for what, here, there in (
        ("have", f"{ours.proj.in_channels}", f"{theirs.proj.in_channels} channels"),
        ("are", "{}x{}".format(*ours.img_size), "{}x{}".format(*theirs.img_size)),
    ):
        if here != there.partition(" ")[0]:
            raise HostError(f"images {what} {there} there and {here} here")


def _changes_values(mechanism: Any) -> bool:
    from karat.attention.mechanisms import Mechanism

    return type(mechanism).finish is not Mechanism.finish
