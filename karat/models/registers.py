"""A vision transformer with register tokens."""

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

START_STD = 1e-6  # as timm's class and register tokens


class RegisterTransformer(VisionTransformer):  # type: ignore[misc]
    """timm's ViT with learned tokens between class token and patches, which the head does not see.

    Source: arXiv 2309.16588: registers are appended after the position embedding and have no
    position. timm's own `reg_tokens` gives each of them one too, and draws them before the other
    weights, so that these would depend on the number of registers. Here they are drawn last: for
    one seed all other weights are those of the model without registers.

    Args:
        registers: number of registers, at least 1.
        arguments: arguments of timm's VisionTransformer, which must have a class token.
    """

    def __init__(self, registers: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        tokens = torch.empty(1, registers, self.embed_dim)
        if not tokens.is_meta:
            tokens.normal_(0.0, START_STD)
        self.registers = nn.Parameter(tokens)
        self.num_prefix_tokens += registers
        self.num_reg_tokens = registers

    def _pos_embed(self, x: Tensor) -> Tensor:
        x_BNC = super()._pos_embed(x)
        registers = self.registers.expand(x_BNC.shape[0], -1, -1)
        return torch.cat([x_BNC[:, :1], registers, x_BNC[:, 1:]], 1)

    def no_weight_decay(self) -> set[str]:
        """Parameters without weight decay: timm's, and the registers, which are tokens too."""
        return {"registers", *super().no_weight_decay()}
