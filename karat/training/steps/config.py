"""Settings of a step of training: fields of `karat.training.TrainingConfig`, so that each is a factor or tuned.

Knows no torch, since every command that reads a space needs it; timm is asked about optimisers other than AdamW.
"""

from dataclasses import dataclass, fields
from typing import Literal

from karat.errors import SettingError, nearest
from karat.settings import above, at_least, at_most, below

BF16 = "bf16"
ADAMW = "adamw"
LOOKAHEAD = "lookahead_"
MOST_PARTS = 4096
COSTLY = ("precision", "compile", "micro_batches", "optimizer", "ema_decay")
Precision = Literal["float32", "bf16"]
Schedule = Literal["cosine", "linear", "tanh", "wsd", "constant"]


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """How a step is computed, and what is done with the weights; the defaults are what a recipe without them means.

    Args:
        precision: of the matrix products of a training step: `float32`, or `bf16`, torch's autocast to
            bfloat16. Weights, optimiser, loss and every evaluation are float32 in both.
        compile: whether torch.compile compiles the model's training step; evaluations are not compiled.
        micro_batches: parts in which every batch goes through the model, 1 to 4,096; gradients are
            accumulated, which gives the same step but for rounding, in less memory. Dropout and drop path draw
            other numbers.
        optimizer: `adamw`, `muon`, or another one that timm's `create_optimizer_v2` knows. `muon` trains the
            matrices of linear layers within blocks; AdamW trains all else, operators too.
        betas: decay rates of the optimiser's moments, each at least 0 and below 1; None for its own.
        momentum: of an optimiser that has one, at least 0 and below 1; None for timm's, 0.9.
        layer_decay: factor of the learning rate from each block to the one below it, above 0 and at most 1;
            None for one rate in all.
        schedule: of the learning rate after the warm-up: `cosine`, `linear` or `tanh` to `min_learning_rate`,
            `wsd` (constant, then down within the last fifth), or `constant`.
        learning_rate_batch: the batch size that `learning_rate` is for: with another `batch_size` the rate is
            in proportion. None is a rate as it stands. A recipe's has no effect where a space sets
            `learning_rate`.
        drop_path: probability with which the last block is left out of a step for an image (stochastic depth),
            at least 0 and below 1; it falls linearly to 0 in the first block. None is the model's own:
            0.1 for Swin and Swin v2, 0 for the others.
        ema_decay: decay of the moving average of the weights, at least 0 and below 1, updated every step; 0
            for none. With one, it is the averaged weights that are evaluated and kept.
    """

    precision: Precision = "float32"
    compile: bool = False
    micro_batches: int = 1
    optimizer: str = ADAMW
    betas: tuple[float, ...] | None = None
    momentum: float | None = None
    layer_decay: float | None = None
    schedule: Schedule = "cosine"
    learning_rate_batch: int | None = None
    drop_path: float | None = None
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        at_least("micro_batches", self.micro_batches, 1)
        at_most("micro_batches", self.micro_batches, MOST_PARTS)
        above("layer_decay", self.layer_decay, 0)
        at_most("layer_decay", self.layer_decay, 1)
        at_least("learning_rate_batch", self.learning_rate_batch, 1)
        for key in ("drop_path", "ema_decay", "momentum"):
            at_least(key, getattr(self, key), 0)
            below(key, getattr(self, key), 1)
        for beta in self.betas or ():
            at_least("betas", beta, 0)
            below("betas", beta, 1)
        self._check_optimizer()

    def costly(self) -> dict[str, object]:
        """The settings on which time and memory of a step depend, where they are not the defaults."""
        defaults = {each.name: each.default for each in fields(StepConfig)}
        values = {key: getattr(self, key) for key in COSTLY}
        return {key: value for key, value in values.items() if value != defaults[key]}

    def _check_optimizer(self) -> None:
        """Refuse what the optimiser does not have.

        Raises:
            SettingError: it is unknown or cannot be used, or does not have `betas` or `momentum`.
        """
        if self.optimizer == ADAMW and self.momentum is None and self.betas is None:
            return
        from timm.optim import get_optimizer_info, list_optimizers  # takes seconds to import

        name = self.optimizer.removeprefix(LOOKAHEAD)
        if name not in (known := list_optimizers()):
            raise SettingError("optimizer", f"unknown. {nearest(name, known)}", self.optimizer)
        info = get_optimizer_info(name)
        if info.second_order:
            raise SettingError(
                "optimizer", "needs second derivatives, which a step does not form", name
            )
        if self.momentum is not None and not info.has_momentum:
            rule = f"does not exist for training.optimizer: {self.optimizer}"
            raise SettingError("momentum", rule, self.momentum)
        if self.betas is not None and not info.has_betas:
            rule = f"do not exist for training.optimizer: {self.optimizer}"
            raise SettingError("betas", rule, self.betas)
        if self.betas is not None and len(self.betas) != info.num_betas:
            rule = f"must be {info.num_betas} numbers for training.optimizer: {self.optimizer}"
            raise SettingError("betas", rule, self.betas)
