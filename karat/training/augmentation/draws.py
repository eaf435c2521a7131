"""Random numbers that follow from (seed, epoch, index of the image, purpose) alone, without a state.

A generator with a state gives an image numbers that depend on which images came before it, and so on the batch
size and the number of workers and processes. Here each number is a function of its position, computed by Philox 4x32
with 10 rounds in integers, which gives the same on every device.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import functools

import torch
from torch import Tensor

from karat.seeds import derive

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_WORD = 0xFFFFFFFF
_QUANTILES = 1 << 16


class Draws:
    """The random numbers of some images in one epoch.

    Args:
        seed: of the trial.
        epoch: epochs done before this one.
        images: index of each image in the training split, int64 (n,), on the CPU.
    """

    def __init__(self, seed: int, epoch: int, images: Tensor) -> None:
        self._seed, self._epoch = seed, epoch
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def of(self, chosen: Tensor) -> "Draws":
        """Those of some of the images: positions, or a mask, (n,)."""
        return Draws(self._seed, self._epoch, self.images[chosen])

    def uniform(self, purpose: str, count: int = 1) -> Tensor:
        """Numbers from 0 to below 1, multiples of 2^-24: float32 (n, count), on the CPU.

        Args:
            purpose: numbers of other purposes are independent of these.
            count: numbers for each image; the first of them do not depend on it.
        """
        words = self._bits(purpose, count, "cpu")
        return words.bitwise_right_shift(8).float().mul_(2.0**-24)

    def one(self, purpose: str) -> Tensor:
        """One number from 0 to below 1 for each image: float32 (n,), on the CPU."""
        return self.uniform(purpose)[:, 0]

    def normal(self, purpose: str, count: int = 1, device: torch.device | str = "cpu") -> Tensor:
        """Standard normal numbers: float32 (n, count).

        They are quantiles from a table with 2^16 entries and so at most 4.33 from 0: a function of libm
        would differ between devices in the last bit.

        Args:
            purpose, count: as of `uniform`.
            device: where they are computed.
        """
        table = _quantiles().to(device)
        return table[self._bits(purpose, count, device).bitwise_right_shift(16)]

    def _bits(self, purpose: str, count: int, device: torch.device | str) -> Tensor:
        """Integers from 0 to 2^32 - 1: int64 (n, count)."""
        names = (self._seed, "augmentation", self._epoch, purpose)
        key = (derive(*names, "low"), derive(*names, "high"))
        blocks = torch.arange(-(-count // 4), device=device)
        images = self.images.to(device)[:, None].expand(-1, len(blocks))
        zeros = torch.zeros_like(images)
        words = philox((images & _WORD, images >> 32, blocks.expand_as(images), zeros), key)
        return torch.stack(words, -1).flatten(1)[:, :count]


def philox(counter: tuple[Tensor, ...], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Four words of 32 bits for each counter of four words, all as int64 of one shape."""
    first, second, third, fourth = counter
    low, high = key
    for _ in range(_ROUNDS):
        # The product of two words wraps around in int64, which leaves its 64 bits as they are.
        one, other = first * _MULTIPLIERS[0], third * _MULTIPLIERS[1]
        first, third = (other >> 32 & _WORD) ^ second ^ low, (one >> 32 & _WORD) ^ fourth ^ high
        second, fourth = other & _WORD, one & _WORD
        low, high = (low + _WEYL[0]) & _WORD, (high + _WEYL[1]) & _WORD
    return first, second, third, fourth


@functools.cache
def _quantiles() -> Tensor:
    """Quantiles of the standard normal distribution at the middles of 2^16 equal parts, float32."""
    middles = (torch.arange(_QUANTILES, dtype=torch.float64) + 0.5) / _QUANTILES
    quantiles: Tensor = torch.special.ndtri(middles)
    return quantiles.float()
