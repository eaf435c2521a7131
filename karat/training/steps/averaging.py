"""The moving average of a model's weights, which is evaluated in their place."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from karat.attention.carried import weights_of


class WeightAverage:
    """`average = decay * average + (1 - decay) * weights` after each step; starts at the initial weights.

    Buffers are those of the model. There is no correction of the start, as in timm's `ModelEmaV3` without its
    warm-up: after n steps the initial weights still have a share of decay^n.

    Args:
        model: on its device, where the average is too. Its tensors must stay the same, as in training.
        decay: above 0 and below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        now = model.state_dict()
        self._weights = {name: value.detach().clone() for name, value in now.items()}
        # A weight with several names, as of an operator that all blocks share, is averaged under each.
        trained = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        self._averaged = [self._weights[name] for name in now if name in trained]
        self._trained = [now[name] for name in now if name in trained]
        self._others = [(self._weights[name], now[name]) for name in now if name not in trained]

    @torch.no_grad()
    def update(self) -> None:
        """Take the model's last step into account."""
        torch._foreach_lerp_(self._averaged, self._trained, 1 - self.decay)
        for own, value in self._others:
            own.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """The averaged weights, with the names of the model's."""
        return self._weights

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the averaged weights of a checkpoint."""
        for name, value in weights_of(self._weights).items():
            value.copy_(state[name])


def average_of(model: nn.Module, decay: float) -> WeightAverage | None:
    """The average of a model's weights; None with a decay of 0."""
    return WeightAverage(model, decay) if decay else None
