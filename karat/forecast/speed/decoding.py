"""Seconds to decode the image files of a data set: once per node, or in every epoch (`data.loader`).

What one image takes is measured on a few of them, on this machine.
"""

import functools

from karat.datasets import Dataset
from karat.space.settings import ResourceConfig
from karat.training.config import TrialConfig


@functools.lru_cache(maxsize=16)
def image_s(data: Dataset) -> float:
    """Seconds of one core for an image; 0 where images are no files.

    Raises:
        DataError: the data is missing, or a file is unreadable.
    """
    return data.decode_s()


def decodes_each_epoch(data: Dataset) -> bool:
    """Whether images are decoded in every epoch, instead of once per node."""
    return getattr(data, "loader", "memory") != "memory"


def epoch_s(config: TrialConfig, resources: ResourceConfig) -> float:
    """Seconds that decoding takes in an epoch: training and validation images, as many at a time as `lanes`.

    Args:
        config: of the trial.
        resources: of a trial.
    """
    if not decodes_each_epoch(config.data):
        return 0.0
    images = config.data.info().train_size / (1 - config.data.val_share)
    return image_s(config.data) * images / lanes(config, resources)


def once_s(data: Dataset, resources: ResourceConfig) -> float:
    """Seconds to decode all images of a data set into the memory map of a node; 0 where that is not done.

    Args:
        data: the data set.
        resources: of a trial; one of its processes does it.
    """
    if decodes_each_epoch(data):
        return 0.0
    info = data.info()
    images = info.train_size / (1 - data.val_share) + (info.test_size or 0)
    return image_s(data) * images / resources.cpus


def lanes(config: TrialConfig, resources: ResourceConfig) -> int:
    """How many images a trial decodes at a time: in its data loading processes, at most one on each core."""
    own = max(1, min(config.training.workers, resources.cpus))
    return own * resources.num_processes
