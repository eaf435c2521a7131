"""The states of torch's random generators, which a training state within an epoch holds."""

import torch
from torch import Tensor


def random_states() -> list[Tensor]:
    """The state of the CPU's random generator, then that of each GPU."""
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def set_random_states(states: list[Tensor]) -> None:
    """Go on with these states."""
    torch.set_rng_state(states[0])
    # On a machine with another number of GPUs, the states of the GPUs do not apply.
    if len(states) == 1 + torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states[1:])
