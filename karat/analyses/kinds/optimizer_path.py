"""The path of the weights over the training, on the loss over the plane in which it moves most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from karat.analyses.geometry.drawing import MOST_ARMS
from karat.analyses.geometry.loss import Loss
from karat.analyses.geometry.path import plane_of, read_path, walk_shares
from karat.analyses.geometry.path_drawing import paths
from karat.analyses.geometry.surface import over_plane
from karat.analyses.geometry.texts import over_runs, runs_text, share_text, span_text
from karat.analyses.kinds import Analysis, Arms, Chapter
from karat.analyses.pictures import Picture
from karat.analyses.subject import Snapshot, Subject
from karat.errors import AnalysisError
from karat.report.tables import Table, table_of

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = NDArray[np.float64]
SIDE = 15  # points along each component
MARGIN = 0.15  # of the path's extent, on each side
NARROW = 0.25  # least extent of the plane along the second component, of that along the first


@dataclass(frozen=True, kw_only=True)
class OptimizerPath(Analysis):
    """The kept weights in the plane of their first two principal components, and the loss over it.

    Source: Li et al. 2018, arXiv 1712.09913, Section 7; `karat.analyses.geometry.path`. All trained parameters count,
    without normalisation. The loss is `geometry.loss.Loss`.

    Shapes: T moments, from the start to the end; S points along each component.

    Args:
        images: number of images.
        parameters: number of trained parameters.
        epochs: (T,), epochs done.
        places: (T, 2), coordinates in the plane, in the unit of the weights; the last is (0, 0).
        explained: (T - 1,), share of the path's variance along each component.
        walk: (T - 1,), the same of a random walk whose steps are as long.
        losses: (T,), the loss of the kept weights, in nats.
        outside: (T,), distance of the kept weights from the plane.
        lengths: (T - 1,), distance from each moment to the next.
        distance: from the start to the end.
        across, up: (S,), grid of the plane along the first and second component.
        plane: (S, S), the loss over it; a row for each place of the second component.
    """

    title: ClassVar[str] = "Path of the weights"
    order: ClassVar[int] = 80

    images: int
    parameters: int
    epochs: NDArray[np.int64]
    places: Array
    explained: Array
    walk: Array
    losses: Array
    outside: Array
    lengths: Array
    distance: float
    across: Array
    up: Array
    plane: Array

    @classmethod
    def measure(cls, subject: Subject) -> Self:
        epochs = [snapshot.epoch for snapshot in subject.path]
        if len(epochs) < 3:
            have = (
                f"weights of {len(epochs)} moments are known"
                if epochs
                else "only the last are known"
            )
            raise AnalysisError(
                f"a path needs the weights of at least three moments of the training, and {have}; a study whose "
                "training.keep_checkpoints is set keeps them"
            )
        loss = Loss(subject)
        path = read_path(loss.trained, subject.path)
        plane, end = plane_of(path), path[-1]
        across, up = _sides(plane.places)
        steps = (path[1:] - path[:-1]).double().norm(dim=1).numpy()
        return cls(
            images=loss.count,
            parameters=len(loss.trained),
            epochs=np.array(epochs),
            places=plane.places,
            explained=plane.explained,
            walk=walk_shares(steps),
            losses=np.array([loss(weights) for weights in path]),
            outside=plane.outside,
            lengths=steps,
            distance=float((path[0] - end).double().norm()),
            across=across,
            up=up,
            plane=over_plane(loss, end, plane.directions, across, up),
        )

    def numbers(self) -> Mapping[str, float]:
        return {
            "explained_1": float(self.explained[0]),
            "explained_2": float(self.explained[1]),
            "walk_explained_1": float(self.walk[0]),
            "walk_explained_2": float(self.walk[1]),
            "distance": self.distance,
            "path_length": float(self.lengths.sum()),
        }

    def rows(self) -> Iterator[Mapping[str, Any]]:
        points = zip(self.epochs, self.places, self.losses, self.outside, strict=True)
        for epoch, (a, b), loss, outside in points:
            yield _row("path", a, b, loss) | {"epoch": int(epoch), "outside": outside}
        for b, row in zip(self.up, self.plane, strict=True):
            for a, loss in zip(self.across, row, strict=True):
                yield _row("plane", a, b, loss)

    @classmethod
    def figures(cls, arms: Arms) -> Sequence[Picture]:
        first = {label: results[0] for label, results in arms.items()}
        shown = dict(list(first.items())[:MOST_ARMS])
        left_out = list(first)[MOST_ARMS:]
        rest = f" Not shown: {', '.join(left_out)}." if left_out else ""
        images = span_text(each.images for each in shown.values())
        return (
            Picture(
                name="optimizer_path",
                title="Path of the weights on the loss",
                caption=(
                    "The plane of the first two principal components of the kept weights, with their share of the path's "
                    "variance; numbers are epochs, the last weights are at (0, 0). Colours: cross-entropy in nats on "
                    f"{images} validation images over the plane. The kept weights may lie beside the plane and then "
                    f"have another loss; grey: not computed.{rest}"
                ),
                draw=partial(paths, shown),
            ),
        )

    @classmethod
    def chapter(cls, arms: Arms) -> Chapter:
        every = [each for results in arms.values() for each in results]
        moments = span_text(len(each.epochs) for each in every)
        what = (
            f"The path has {moments} moments, the start and the end among them. In brackets is the share of variance that "
            "a random walk has whose steps from moment to moment are as long, but of random directions in many dimensions "
            "(Antognini and Sohl-Dickstein 2018, arXiv 1806.08805). A high share alone therefore says nothing about the "
            "training. Two components explain every path of three moments."
        )
        straight = (
            "Distance is that of the last weights from the start, and length the sum of the distances from each kept moment to the "
            "next, both over all trained parameters; between the moments the weights may have moved further."
        )
        return Chapter(paragraphs=(f"{what} {runs_text(arms)}", straight), tables=(_table(arms),))


def optimizer_path(
    model: nn.Module, images: Tensor, labels: Tensor, path: Sequence[Snapshot]
) -> OptimizerPath:
    """The path of a model's weights over its training, on the loss.

    Args:
        model: any, with the last weights.
        images: (I, C, H, W), as the model takes them. Up to 256 are used, fewer where they are large: as many as have
            2^19 pixels together, 10 of 224 x 224; they are spread evenly over those given.
        labels: (I,), their classes.
        path: weights of at least three moments, in the order of the training, the last at the end.

    Raises:
        AnalysisError: there are fewer, they cannot be read, are of another model or lie on a line, or the classes do not
            fit.
    """
    return OptimizerPath.measure(Subject(model=model, images=images, labels=labels, path=path))


def _sides(places: Array) -> tuple[Array, Array]:
    """Grids that contain the path with a margin along both components."""
    low, high = places.min(0), places.max(0)
    extent = high - low
    extent[1] = max(extent[1], NARROW * extent[0])
    middle = (low + high) / 2
    half = extent * (0.5 + MARGIN)
    across, up = (np.linspace(middle[k] - half[k], middle[k] + half[k], SIDE) for k in range(2))
    return across, up


def _row(what: str, a: float, b: float, loss: float) -> dict[str, Any]:
    return {
        "what": what,
        "epoch": None,
        "first_component": a,
        "second_component": b,
        "loss": loss,
        "outside": None,
    }


def _table(arms: Arms) -> Table:
    def share(results: Sequence[OptimizerPath], number: int) -> str:
        explained = over_runs(results, lambda each: float(each.explained[number]), share_text)
        walks = {share_text(float(each.walk[number])) for each in results}
        return f"{explained} [{', '.join(sorted(walks))}]"

    return table_of(
        arms.items(),
        ("arm", "text", lambda item: item[0]),
        ("runs", "number", lambda item: str(len(item[1]))),
        ("first component [random walk]", "range", lambda item: share(item[1], 0)),
        ("second component [random walk]", "range", lambda item: share(item[1], 1)),
        ("distance", "range", lambda item: over_runs(item[1], lambda each: each.distance)),
        (
            "length",
            "range",
            lambda item: over_runs(item[1], lambda each: float(each.lengths.sum())),
        ),
        (
            "length by distance",
            "range",
            lambda item: over_runs(item[1], lambda each: float(each.lengths.sum()) / each.distance),
        ),
    )
