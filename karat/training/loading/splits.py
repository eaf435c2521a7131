"""The splits of a data set: from the node's memory map where its images are bytes, else as it gives them."""

import functools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from karat.datasets import Dataset, Splits, load_splits
from karat.training.loading.memory_map import (
    FORMAT,
    PARTS,
    MemoryMap,
    NotStorableError,
    locked,
    open_map,
    write_map,
)
from karat.training.loading.pixels import Pixels
from karat.training.loading.place import images_folder
from karat.training.loading.stored import StoredImages

# Settings that change no pixel: where images are, whether they are fetched, how they are read.
_NO_PIXELS = ("root", "download", "loader", "corruptions")
_AT_ONCE = 256  # images that are decoded before they are written
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The splits of a data set, and the memory map that they are in with its size in bytes; 0 for none."""

    splits: Splits
    map_bytes: int = 0
    path: Path | None = None


@functools.lru_cache(maxsize=2)
def splits_of(dataset: Dataset, fingerprint: str) -> Loaded:
    """The splits of a data set, cached for the next trial in the same process.

    Images that are bytes are decoded once per node, into a file that all trials map into their memory
    (`memory_map`); what a model gets is the same to the last bit. Others, such as those of a data set whose
    `loader` is `files`, are decoded in each epoch.

    Args:
        dataset: the data set.
        fingerprint: what its `check` has returned; empty if that is not known, so that images cannot be kept.
    """
    steps = dataset.preprocessing()
    if not fingerprint or steps is None or getattr(dataset, "loader", "memory") != "memory":
        return Loaded(splits=load_splits(dataset))
    key, pixels = _key(dataset, fingerprint), Pixels(steps)
    splits = None
    try:
        found = open_map(images_folder(), key)
        if found is None:
            splits = load_splits(dataset)
            found = _decoded_once(splits, key, pixels)
    except NotStorableError as error:
        # That images are no bytes is no trouble; that the disk is full, or refuses, makes every epoch slower.
        level = logging.WARNING if isinstance(error.__cause__, OSError) else logging.INFO
        log.log(level, "images are not kept decoded, but decoded in each epoch: %s", error)
        return Loaded(splits=splits or load_splits(dataset))
    parts = {name: StoredImages(*found.splits[name], pixels) for name in PARTS}
    return Loaded(splits=Splits(**parts), map_bytes=found.size, path=found.path)


def _key(dataset: Dataset, fingerprint: str) -> str:
    settings = {k: v for k, v in asdict(dataset).items() if k not in _NO_PIXELS}
    return json.dumps([FORMAT, fingerprint, type(dataset).__name__, settings], sort_keys=True)


def _decoded_once(splits: Splits, key: str, pixels: Pixels) -> MemoryMap:
    """The file of all splits, made here or by another process meanwhile.

    Raises:
        NotStorableError: the images are no bytes, as after a scaling with floats, or cannot be written.
    """
    parts: dict[str, Any] = {name: getattr(splits, name) for name in PARTS}
    first = parts["train"][0][0]
    if first.ndim != 3 or pixels.as_bytes(first) is None:
        raise NotStorableError("they are no whole numbers from 0 to 255")
    with locked(images_folder(), key):
        return open_map(images_folder(), key) or _decode(parts, first, key, pixels)


def _decode(parts: Mapping[str, Any], first: Tensor, key: str, pixels: Pixels) -> MemoryMap:
    channels, height, width = first.shape
    shape, count = (channels, height, width), sum(map(len, parts.values()))
    size = count * first.numel() / 1e9
    log.info("decoding images once for all trials: %.2f GB in %s", size, images_folder())
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        batches = (
            (name, *_bytes_of(pixels, list(pool.map(part.__getitem__, indices))))
            for name, part in parts.items()
            for indices in _in_parts(len(part))
        )
        return write_map(images_folder(), key, shape, count, batches)


def _bytes_of(pixels: Pixels, items: Sequence[tuple[Tensor, Any]]) -> tuple[Tensor, list[int]]:
    """Pixels and labels of some pairs.

    Raises:
        NotStorableError: an image is not of whole numbers, or not of the size of the others.
    """
    sizes = {tuple(image.shape) for image, _ in items}
    found = pixels.as_bytes(torch.stack([image for image, _ in items])) if len(sizes) == 1 else None
    if found is None:
        raise NotStorableError("they are no whole numbers from 0 to 255, or of several sizes")
    return found, [int(label) for _, label in items]


def _in_parts(count: int) -> Iterator[range]:
    """The numbers from 0 to below `count`, some at a time."""
    for begin in range(0, count, _AT_ONCE):
        yield range(begin, min(count, begin + _AT_ONCE))
