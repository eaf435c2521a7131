"""What a plan says of matched arms: target, what is reached, and by how much it deviates."""

from collections.abc import Iterator

from karat.space.arms import sections_of
from karat.space.matching.choice import cost_text
from karat.space.matching.config import MEASURED, WORDS
from karat.space.matching.costs import ExactCosts
from karat.space.space import Space


def match_lines(space: Space) -> Iterator[str]:
    """A line on the cost, and one for each arm; nothing where no cost is matched."""
    config = space.match
    if config is None:
        return
    price = _prices(space)
    matched = {arm.raw: label for label, arm in space.arms.items() if arm.raw is not None}
    yield (
        f"every arm also within {100 * config.tolerance:g} % of the {WORDS[config.by]} of its reference, where it is "
        "further off as it is"
    )
    if config.by in MEASURED:
        yield "measured at the first launch; a plan without --measure estimates which values that will find"
    for label, changes in config.chosen.items():
        reference = space.references[label]
        target = price[reference]
        own = matched.get(label, label)
        changed = ", ".join(f"{key} {value}" for key, value in changes.items())
        texts = [
            f"{cost_text(config.by, price[x])} ({_off(price[x], target)})" for x in (label, own)
        ]
        yield (
            f"{label}: {texts[0]}; {f'with {changed} {texts[1]}' if changed else 'as it is'}; "
            f"{reference} has {cost_text(config.by, target)}"
        )


def _prices(space: Space) -> dict[str, float]:
    """The cost of every arm, counted or as it was measured."""
    config = space.match
    assert config is not None
    if config.by in MEASURED:
        return dict(config.costs or {})
    costs = ExactCosts(config.by)
    return {label: costs.of(sections_of(space, arm)) for label, arm in space.arms.items()}


def _off(cost: float, target: float) -> str:
    return f"{100 * (cost / target - 1):+.1f} %"
