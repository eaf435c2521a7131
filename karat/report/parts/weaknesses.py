"""What weakens a study, as far as its summary tells: what its seeds can see, and for which images it holds."""

from collections.abc import Iterator
from dataclasses import dataclass

from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.summary import Summary
from karat.statistics.power import Sight, Spread, pairs_needed, pooled_spread, sight
from karat.statistics.sequential import nominal_level

COARSE = 0.5  # of the smallest difference: one image that weighs more is much


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the confirmation could see, at the spread of the paired differences that it found.

    Args:
        spread: of the differences.
        sight: of its seeds.
        needed: pairs that see the smallest difference of interest; None above `MOST_PAIRS`.
    """

    spread: Spread
    sight: Sight
    needed: int | None


def seen(summary: Summary) -> Seen | None:
    """What could be seen; None before two pairs of runs, or where they do not differ from seed to seed."""
    rule, arms = summary.rule, summary.others
    spread = pooled_spread(arm.comparison for arm in arms if arm.comparison is not None)
    most = rule.looks[-1] if rule.looks else summary.seeds
    seeds = rule.tunings if rule.tunings > 1 else most
    if spread is None or seeds < 2:
        return None
    found = sight(
        seeds=seeds,
        looks=rule.looks,
        arms=len(arms),
        alpha=rule.alpha,
        smallest_difference=rule.smallest_difference,
        spread=spread.sd,
    )
    effect = rule.smallest_difference / spread.sd
    level = nominal_level(rule.alpha / len(arms), rule.looks)
    return Seen(spread=spread, sight=found, needed=pairs_needed(effect, level))


def images_tested(summary: Summary) -> int | None:
    """Number of test images; None where the journal does not say."""
    return summary.setup.images.get("test")


def image_is_coarse(summary: Summary) -> bool:
    """Whether one test image weighs much, beside the smallest difference of interest."""
    images = images_tested(summary)
    if not images or not summary.metric.is_share:
        return False
    return 1 / images > COARSE * summary.rule.smallest_difference


def only_on_these_images(summary: Summary) -> Iterator[ConfirmedArm]:
    """The arms whose verdict their interval for other images of the same kind does not bear."""
    least = summary.rule.smallest_difference
    for arm in summary.others:
        found = arm.comparison
        if found is None or arm.population is None:
            continue
        low, high = arm.population
        is_open = found.verdict in ("better", "worse") and low <= 0 <= high
        is_wide = found.verdict == "equivalent" and not -least < low <= high < least
        if is_open or is_wide:
            yield arm


def least_flip_p(summary: Summary) -> float | None:
    """The lowest p that the test by flipped signs can have with the pairs there are; None without any."""
    pairs = [arm.comparison.n for arm in summary.others if arm.comparison and arm.comparison.n]
    return 2.0 ** (1 - max(pairs)) if pairs else None
