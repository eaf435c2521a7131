"""What a plan says of its design."""

from collections.abc import Iterator

from karat.space.space import Space


def design_lines(space: Space) -> Iterator[str]:
    """The name of the design with the number of its arms, then what it can show."""
    first, *more = space.design.in_words(space.crossing)
    arms = len(space.arms)
    yield f"design        {space.design.name}: {first}; {arms:,} arm{'s' * (arms != 1)}"
    for line in more:
        yield f"{'':14}{line}"
