"""The definition of the rows: all scores, then all units, then their sum."""

import torch
from torch import Tensor

from karat.attention.kernels import Kernel, Task, Units


class Reference(Kernel):
    """Stores every score and feature, and leaves the gradient to autograd; supports every task."""

    def refusal(self, task: Task) -> str | None:
        return None

    def rows(self, q_BHND: Tensor, k_BHMD: Tensor, scale: float, units: Units) -> Tensor:
        dtype = torch.promote_types(q_BHND.dtype, torch.float32)
        scores_BHMN = k_BHMD.to(dtype) @ (q_BHND.to(dtype) * scale).transpose(-2, -1)
        batch, heads, keys, tokens = scores_BHMN.shape
        operators, sharing = units.num_operators, heads // units.num_operators
        scores_BPKMN = scores_BHMN.reshape(batch, operators, sharing, keys, tokens)
        scores_PML = scores_BPKMN.permute(1, 3, 0, 2, 4).reshape(
            operators, keys, batch * sharing * tokens
        )
        rows_PRBKN: Tensor = units(scores_PML).view(
            operators, units.num_outputs, batch, sharing, tokens
        )
        return rows_PRBKN.permute(2, 0, 3, 4, 1).flatten(1, 2)
