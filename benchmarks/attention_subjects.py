"""The subjects of the attention benchmark: an implementation, or an operator, in a whole model or alone.

Shapes: B images, N tokens, H heads, D head width, G frequencies, R outputs, P = H operators.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmarks.attention_operators import DROPOUT, DROPPED, mechanisms, operators
from benchmarks.measuring import DEVICE, Call
from karat.attention.config import AttentionConfig
from karat.attention.kernels import KERNELS, kernel_for
from karat.attention.operator import Operator
from karat.attention.part import Part as AttentionPart
from karat.errors import InputError
from karat.models.build import build_model
from karat.models.config import ModelConfig

SOFTMAX, EAGER, FORMULA = "softmax-sdpa", "softmax-eager", "formula"
SOFTMAX_DROPPED = SOFTMAX + DROPPED
Part = Literal["model", "operator"]
Compared = Literal["kernels", "operators", "mechanisms"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One comparison.

    Args:
        part: the whole model, or attention alone, from the output of the qkv projection to the
            input of the output projection.
        compare: the kernels of the Fourier operator; or the operator with every basis, base activation and
            order, or every other mechanism, each with the kernel that `auto` chooses.
        model: a size, or the timm name of a ViT.
        image_size, patch_size: pixels along an edge; None for the patch size of the model.
        batch_size: images per step.
        grid_size, rank: G and R of the Fourier operator.
        dtype: `float32`, or `bfloat16` under autocast.
    """

    part: Part = "model"
    compare: Compared = "kernels"
    model: str = "vit_tiny"
    image_size: int = 224
    patch_size: int | None = None
    batch_size: int = 8
    grid_size: int = 3
    rank: int = 12
    dtype: Literal["float32", "bfloat16"] = "float32"

    @property
    def tokens(self) -> int:
        """The number of tokens, N."""
        return self.config.grid(self.image_size) ** 2 + 1

    @property
    def config(self) -> ModelConfig:
        """The model; only one block of it if attention alone is measured."""
        depth = 1 if self.part == "operator" else None
        return ModelConfig(name=self.model, patch_size=self.patch_size, depth=depth)

    def describe(self) -> str:
        """One line of text for the report."""
        grid = f"Fourier G = {self.grid_size}, " if self.compare == "kernels" else ""
        return (
            f"{self.model} ({self.part}), {self.image_size} pixels, N = {self.tokens}, "
            f"batch {self.batch_size}, {self.dtype}, {grid}R = {self.rank}"
        )


class Subject:
    """One implementation under one setting, ready to be called."""

    def __init__(self, setting: Setting, implementation: str) -> None:
        self.setting = setting
        draw = torch.Generator().manual_seed(0)
        model = make_model(setting, implementation)
        if setting.part == "model":
            self.module = model
            shape: tuple[int, ...] = (3, setting.image_size, setting.image_size)
        else:
            self.module = attention_of(model)
            shape = (setting.tokens, 3 * model.embed_dim)  # type: ignore[operator]
        self.inputs = torch.randn(setting.batch_size, *shape, generator=draw).to(DEVICE)
        if setting.part == "operator":
            self.inputs.requires_grad_()

    def forward(self) -> Tensor:
        """The forward pass of training, which keeps what the backward pass needs."""
        enabled = self.setting.dtype != "float32"
        with torch.autocast(DEVICE, torch.bfloat16, enabled=enabled):
            out: Tensor = self.module(self.inputs)
        return out

    def step(self) -> None:
        """One forward and backward pass."""
        self.module.zero_grad()
        self.inputs.grad = None
        self.forward().float().square().mean().backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def inference(self) -> None:
        """One forward pass without gradients."""
        self.forward()

    @property
    def given(self) -> list[Tensor]:
        """Tensors that do not count as kept: parameters and images, not a projection's output."""
        return [*self.module.parameters(), *([self.inputs] if self.setting.part == "model" else [])]


class Formula(AttentionPart):
    """KArAt's low-rank operator as the paper writes it: W Φ̂(A) for all pairs, then times V."""

    def __init__(self, operator: Operator) -> None:
        super().__init__(operator.num_tokens, any_tokens=False)
        self.operator = operator

    def attend(
        self,
        qkv: Any,
        scale: float,
        dropout: float = 0.0,
        *,
        bias: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Attention output of shape (B, H, N, D)."""
        assert not dropout, "the formula is measured without dropout"
        assert bias is None, "the formula is measured without a bias"
        assert keep is None, "the formula is measured without a mask"
        q_BHND, k_BHND, v_BHND = qkv
        scores_BHNN = q_BHND @ k_BHND.mT * scale
        orders = torch.arange(1, self.operator.phi.basis.grid_size + 1, device=scores_BHNN.device)
        angles_BHGNN = scores_BHNN.unsqueeze(2) * orders.view(-1, 1, 1)
        features_BHFNN = torch.cat([angles_BHGNN.cos(), angles_BHGNN.sin()], 2)
        weights_HRFN = self.operator.phi.feature_weights(torch.float32)
        rows_BHNR = torch.einsum("bhfnm,hrfm->bhnr", features_BHFNN, weights_HRFN)
        assert self.operator.weight is not None
        out: Tensor = (rows_BHNR @ self.operator.weight.mT) @ v_BHND
        return out


def prepare_step(setting: Setting, implementation: str) -> Call:
    """A step to call, for `peak_bytes`."""
    return Subject(setting, implementation).step


def make_model(setting: Setting, implementation: str) -> nn.Module:
    """The model with this implementation, in training mode."""
    attention = AttentionConfig()
    if (settings := _settings(setting, implementation)) is not None:
        attention = AttentionConfig.from_settings(settings)
    shape = {"image_size": setting.image_size, "channels": 3, "classes": 10, "seed": 0}
    model = build_model(setting.config, attention, **shape)
    for block in model.blocks:  # type: ignore[union-attr]
        if implementation == EAGER:
            block.attn.fused_attn = False
        elif implementation == FORMULA:
            block.attn.operator = Formula(block.attn.operator)
        if implementation.endswith(DROPPED):
            block.attn.attn_drop.p = DROPOUT
    return model.to(DEVICE).train()


def _settings(setting: Setting, implementation: str) -> dict[str, Any] | None:
    """`attention:` as a space has it; None for softmax."""
    if implementation in (SOFTMAX, EAGER, SOFTMAX_DROPPED):
        return None
    if setting.compare != "kernels":
        known = operators if setting.compare == "operators" else mechanisms
        return known(setting.rank)[implementation]
    kernel = "reference" if implementation == FORMULA else implementation
    shape = {"grid_size": setting.grid_size, "rank": setting.rank}
    return {"basis": "fourier", **shape, "kernel": kernel}


def attention_of(model: nn.Module) -> nn.Module:
    """The attention of the first block without its projections."""
    attention: nn.Module = model.blocks[0].attn  # type: ignore[index,union-attr]
    attention.qkv, attention.proj = nn.Identity(), nn.Identity()
    return attention


def implementations(setting: Setting) -> tuple[list[str], list[str]]:
    """Names of the implementations that run here, softmax first, and why others do not."""
    if setting.compare == "operators":
        return [SOFTMAX, SOFTMAX_DROPPED, *operators(setting.rank)], []
    if setting.compare == "mechanisms":
        return [SOFTMAX, *mechanisms(setting.rank)], []
    operator = make_model(setting, "reference").blocks[0].attn.operator  # type: ignore[index,union-attr]
    shape = setting.config.shape()
    narrow = torch.empty(
        1, 1, 1, shape["embed_dim"] // shape["num_heads"],
        device=DEVICE, dtype=getattr(torch, setting.dtype),
    )  # fmt: skip
    able, refusals = [], []
    for name in KERNELS:
        try:
            able.append(kernel_for(name, operator.phi.task(narrow))[0])
        except InputError as error:
            refusals.append(str(error))
    formula = [FORMULA] if setting.part == "operator" else []
    return [SOFTMAX, EAGER, *formula, *able], refusals
