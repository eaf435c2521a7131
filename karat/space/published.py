"""Results that somebody has published, which the report shows beside the study's own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from karat.parameters import Level, level_of

KEY, VALUE = "paper", "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedResult:
    """One published number.

    Args:
        levels: factor to its level, of the arms that it is about.
        value: the test metric, an accuracy as a share from 0 to 1.
    """

    levels: Mapping[str, Level]
    value: float

    def is_of(self, factors: Mapping[str, Level]) -> bool:
        """Whether an arm with these levels has the published one's."""
        return all(factors.get(key) == level for key, level in self.levels.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The section `paper` of a space.

    Args:
        source: where the numbers stand.
        setting: of what they are: data, training, how many runs.
    """

    source: str
    setting: str
    results: tuple[PublishedResult, ...]

    def of(self, factors: Mapping[str, Level]) -> PublishedResult | None:
        """The result that is about an arm with these levels; None if there is none."""
        return next((each for each in self.results if each.is_of(factors)), None)


def published_in(source: Mapping[str, Any]) -> Published | None:
    """The published results in a space's data, which has been checked; None without any."""
    section = source.get(KEY)
    if section is None:
        return None
    return Published(
        source=section["source"],
        setting=section["setting"],
        results=tuple(map(result_of, section["results"])),
    )


def result_of(entry: Mapping[str, Any]) -> PublishedResult:
    levels = {key: level_of(level) for key, level in entry.items() if key != VALUE}
    return PublishedResult(levels=levels, value=float(entry[VALUE]))


def about_no_arm(
    published: Published, arms: Iterable[Mapping[str, Level]]
) -> list[PublishedResult]:
    """The results that are about none of these arms, which are given by their levels."""
    known = list(arms)
    return [each for each in published.results if not any(map(each.is_of, known))]
