"""Test images as a sample: how far a difference would vary with other images of the same kind.

Intervals over seeds hold for the test images at hand. With 359 images, one of them is 0.28 points, and
another draw of images would give other differences, however many seeds there are.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from karat.journal.trial import Trial
from karat.statistics.samples import Array
from karat.tested import Tested


def answers(trials: Sequence[Trial]) -> dict[int, Array]:
    """Seed index to whether each test image was classified correctly, 1.0 or 0.0, [images].

    Only of completed runs whose journal says it, and only where all have as many images.
    """
    found = {
        trial.seed_index: bits.astype(float)
        for trial in trials
        if trial.status == "completed" and (bits := _bits(trial)) is not None
    }
    return found if len({len(bits) for bits in found.values()}) == 1 else {}


def _bits(trial: Trial) -> NDArray[np.bool_] | None:
    """What was right, image by image; None where the journal does not say, or where it cannot be read."""
    try:
        return None if trial.tested is None else Tested.read(trial.tested).bits()
    except ValueError:
        return None  # `karat audit` says why


def population_interval(
    runs: Mapping[int, Array], base: Mapping[int, Array], tunings: int, alpha: float
) -> tuple[float, float] | None:
    """The (1 - alpha) interval of the difference in accuracy for images like these.

    Seeds and images are crossed random effects without replication: the variance of the mean of S
    seeds and I images is (MS_seeds + MS_images - MS_rest) / (S I), with degrees of freedom after
    Satterthwaite. It is never narrower than the interval over seeds alone, which is a part of it.

    Source: Cornfield and Tukey 1956 (Annals of Mathematical Statistics 27:907) for the mean squares;
    Satterthwaite 1946 (Biometrics Bulletin 2:110).

    Args:
        runs, base: see `answers`.
        tunings: as `Rule.tunings`: the seeds of one are averaged first.
        alpha: 1 - confidence.

    Returns:
        None with fewer than two seeds or tunings in both, or two images.
    """
    from scipy import stats

    shared = sorted(set(runs) & set(base))
    groups = [[i for i in shared if i % tunings == t] for t in range(tunings)]
    if tunings == 1:
        groups = [[i] for i in shared]
    rows = [np.mean([runs[i] - base[i] for i in group], axis=0) for group in groups if group]
    if len(rows) < 2 or len(rows[0]) < 2:
        return None
    table = np.stack(rows)
    (seeds, images), mean = table.shape, float(table.mean())
    by_seed, by_image = table.mean(axis=1), table.mean(axis=0)
    rest = table - by_seed[:, None] - by_image + mean
    squares = {
        "seeds": (images * float(by_seed.var(ddof=1)), seeds - 1),
        "images": (seeds * float(by_image.var(ddof=1)), images - 1),
        "rest": (float((rest**2).sum()) / ((seeds - 1) * (images - 1)), (seeds - 1) * (images - 1)),
    }
    of_seeds = squares["seeds"][0]
    total = max(of_seeds, of_seeds + squares["images"][0] - squares["rest"][0])
    if total <= 0:
        return mean, mean
    freedom = total**2 / sum(square**2 / n for square, n in squares.values())
    half = stats.t.ppf(1 - alpha / 2, max(1.0, freedom)) * np.sqrt(total / table.size)
    alone = stats.t.ppf(1 - alpha / 2, seeds - 1) * np.sqrt(of_seeds / table.size)
    half = float(max(half, alone))
    return mean - half, mean + half
