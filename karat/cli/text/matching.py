"""What a plan says of matched arms: target, what is reached, and by how much it deviates."""

from collections.abc import Iterator

from karat.space.arms import sections_of
from karat.space.matching.choice import number_text
from karat.space.matching.config import WORDS
from karat.space.matching.costs import ExactCosts
from karat.space.space import Space


def match_lines(space: Space) -> Iterator[str]:
    """A line on the cost, and one for each arm; nothing where no cost is matched."""
    config = space.match
    if config is None:
        return
    costs = ExactCosts(config.by)
    price = {label: costs.of(sections_of(space, arm)) for label, arm in space.arms.items()}
    matched = {arm.raw: label for label, arm in space.arms.items() if arm.raw is not None}
    yield (
        f"{WORDS[config.by]} of every arm, within {100 * config.tolerance:g} % of those of its reference; arms that "
        "are further off as they are run a second time, matched"
    )
    for label in config.chosen:
        own = matched.get(label, label)
        reference = space.references[label]
        target = price[reference]
        changed = ", ".join(f"{key} {value}" for key, value in config.chosen[label].items())
        yield (
            f"{label}: {number_text(price[label])} ({_off(price[label], target)}); "
            f"{f'with {changed} {number_text(price[own])} ({_off(price[own], target)})' if changed else 'as it is'}; "
            f"{reference} has {number_text(target)}"
        )


def _off(cost: float, target: float) -> str:
    return f"{100 * (cost / target - 1):+.1f} %"
