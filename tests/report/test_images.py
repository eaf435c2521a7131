"""Intervals that take the test images as a sample."""

import numpy as np
import pytest
from scipy import stats

from karat.report.facts.images import population_interval

SEEDS, IMAGES = 8, 200


def study(rng: np.random.Generator) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Answers of two equal arms: images differ in how hard they are, and for whom; seeds in their luck."""
    hard, taste = rng.normal(1.5, 1.0, IMAGES), rng.normal(0, 2.0, (2, IMAGES))
    luck = rng.normal(0, 0.3, (2, SEEDS))
    found = []
    for arm in (0, 1):
        logits = hard + taste[arm] + luck[arm][:, None]
        right = rng.random((SEEDS, IMAGES)) < 1 / (1 + np.exp(-logits))
        found.append({seed: right[seed].astype(float) for seed in range(SEEDS)})
    return found[0], found[1]


def seeds_alone(ours: dict[int, np.ndarray], theirs: dict[int, np.ndarray]) -> tuple[float, float]:
    values = np.array([(ours[i] - theirs[i]).mean() for i in range(SEEDS)])
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return float(low), float(high)


def test_interval_covers_the_truth_for_new_images_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = alone = 0
    times = 600
    for _ in range(times):
        ours, theirs = study(rng)
        found = population_interval(ours, theirs, 1, 0.05)
        assert found is not None
        covered += found[0] <= 0 <= found[1]
        low, high = seeds_alone(ours, theirs)
        alone += low <= 0 <= high
    # Four standard errors at 95 %; the interval over seeds alone forgets the images and falls far below.
    assert abs(covered / times - 0.95) < 4 * (0.95 * 0.05 / times) ** 0.5
    assert alone / times < 0.88


def test_interval_is_never_narrower_than_that_over_seeds() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        ours, theirs = study(rng)
        found = population_interval(ours, theirs, 1, 0.05)
        assert found is not None
        low, high = seeds_alone(ours, theirs)
        assert found[1] - found[0] >= (high - low) * (1 - 1e-12)
        assert sum(found) == pytest.approx(low + high)


def test_seeds_of_a_tuning_are_averaged_first() -> None:
    ours, theirs = study(np.random.default_rng(3))
    means = [
        {t: np.mean([of[i] for i in range(t, SEEDS, 4)], axis=0) for t in range(4)}
        for of in (ours, theirs)
    ]
    assert population_interval(ours, theirs, 4, 0.05) == population_interval(*means, 1, 0.05)


@pytest.mark.parametrize("seeds", [0, 1])
def test_too_few_seeds_give_no_interval(seeds: int) -> None:
    ours, theirs = study(np.random.default_rng(4))
    few = {seed: ours[seed] for seed in range(seeds)}
    assert population_interval(few, theirs, 1, 0.05) is None


def test_equal_answers_give_an_interval_without_width() -> None:
    ours, _ = study(np.random.default_rng(5))
    assert population_interval(ours, ours, 1, 0.05) == (0.0, 0.0)
