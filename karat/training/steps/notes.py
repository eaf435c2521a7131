"""What follows from a recipe's settings where training is shorter than it was written for, in words."""

MOST_INITIAL = 0.05  # share of the initial weights in an average that is said to be of trained ones


def shortened_text(recipe: float, used: float) -> str:
    """That the warm-up is shorter than the recipe's.

    Args:
        recipe, used: epochs of warm-up, of the recipe and of the training.
    """
    return (
        f"the recipe's warm-up of {recipe:g} epoch{'s' * (recipe != 1)} would be more than half of the training and is shortened in "
        f"proportion, to {used:.2g}; training.warmup_epochs sets another"
    )


def average_text(decay: float, steps: int) -> str:
    """That the averaged weights are partly the initial ones; empty where these hardly count.

    Args:
        decay: of the moving average; 0 for none.
        steps: of the whole training.
    """
    share = decay**steps if decay else 0.0
    if share <= MOST_INITIAL:
        return ""
    least = MOST_INITIAL ** (1 / steps)
    return (
        f"with training.ema_decay {decay:g}, {100 * share:.0f} % of the averaged weights, which are evaluated, are still the "
        f"initial ones after {steps:,} steps; with {least:.3g} it would be {100 * MOST_INITIAL:.0f} %"
    )
