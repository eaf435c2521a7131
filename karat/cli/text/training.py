"""What a launch says of its training beside the plan, and which devices it refuses."""

from collections.abc import Iterable

from karat.space.arms import trial_config
from karat.space.space import Arm, Space
from karat.training.config import TrialConfig
from karat.training.recipes import DEFAULT, shortened
from karat.training.steps.notes import average_text, shortened_text


def training_notes(space: Space) -> list[str]:
    """What the user may not expect of the arms' training, each once."""
    found: dict[str, None] = {}
    recipes = space.recipes
    for arm in _trained_alike(space):
        config, own = trial_config(space, arm), arm.sections["training"]
        used = {**own, **{key.partition(".")[2]: None for key in arm.tuned}}
        recipe = recipes.get(str(own.get("recipe", DEFAULT)), {})
        if (warmup := shortened(used, recipe)) is not None:
            found[shortened_text(recipe["warmup_epochs"], warmup)] = None
        if text := average_text(config.training.ema_decay, _steps(config)):
            found[text] = None
    return list(found)


def check_devices(space: Space) -> None:
    """Refuse settings that this machine's device cannot do; without a GPU here, the trials' machines are asked.

    Raises:
        SettingError: names the setting, what is missing, and what to do.
    """
    configs = [trial_config(space, arm).training for arm in _trained_alike(space)]
    if not any(each.precision != "float32" or each.compile for each in configs):
        return  # before torch, which takes seconds, is loaded
    import torch

    from karat.training.steps.device import check_device

    if space.resources.gpus and not torch.cuda.is_available():
        return
    device = torch.device("cuda" if space.resources.gpus else "cpu")
    for config in configs:
        check_device(config, device)


def _trained_alike(space: Space) -> Iterable[Arm]:
    """One arm of each way of training: of a thousand arms most differ in other things."""
    ways = {
        repr((arm.sections["training"], arm.sections["data"], arm.tuned)): arm
        for arm in space.arms.values()
    }
    return ways.values()


def _steps(config: TrialConfig) -> int:
    """Steps of the whole training."""
    size, training = config.data.info().train_size, config.training
    return max(1, size // min(training.batch_size, size)) * training.epochs
