"""The loss around trained weights, along random directions, and the curvature there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from karat.analyses.geometry.directions import random_direction
from karat.analyses.geometry.drawing import MOST_ARMS, contours, lines, surfaces
from karat.analyses.geometry.hessian import extreme_eigenvalues, trace
from karat.analyses.geometry.loss import Loss
from karat.analyses.geometry.surface import along, area_below, over_plane, share_below
from karat.analyses.geometry.texts import over_runs, runs_text, share_text, span_text
from karat.analyses.kinds import Analysis, Arms, Chapter
from karat.analyses.pictures import Picture
from karat.analyses.subject import Subject
from karat.errors import AnalysisError
from karat.report.tables import Table, table_of

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = NDArray[np.float64]
SIDE = 15  # points along each direction, from -1 to 1, closer in the middle, where the loss changes most
STEPS = np.sign(np.linspace(-1, 1, SIDE)) * np.abs(np.linspace(-1, 1, SIDE)) ** 1.5
LINES = 4  # random directions; the first two span the plane
EIGENVALUES = 3  # at each end of the spectrum
PROBES = 16  # of the trace
RISE = 0.5  # nats above the loss at the centre, below which the area counts


@dataclass(frozen=True, kw_only=True)
class LossLandscape(Analysis):
    """Loss along filter-normalised random directions, and curvature of the loss.

    Source: Li et al. 2018, arXiv 1712.09913; what is a filter of attention, and what stays as it is:
    `karat.analyses.geometry.directions`. A distance of 1 changes each filter by as much as it is long. Draws have fixed
    seeds, and models get the same in the parameters that they share. The loss is `geometry.loss.Loss`. The Hessian is
    that of all trained parameters, also biases and norms; its products with vectors are exact (double backward).

    Shapes: S steps, K directions.

    Args:
        images: number of images.
        parameters: number of trained parameters.
        loss: at the centre, in nats.
        steps: (S,), from -1 to 1, closer in the middle.
        lines: (K, S), the loss along each direction.
        plane: (S, S), over the first two; a row for each step of the second.
        lines_below: (K,), the share of each line on which the loss is less than 0.5 nats above that at the centre.
        area_below: the same share of the plane.
        largest: (3,), the largest eigenvalues of the Hessian, the largest first, to 1 %.
        least: (3,), the least, the least first.
        trace: of the Hessian, estimated with 16 random vectors.
        trace_error: standard error of that estimate.
    """

    title: ClassVar[str] = "Loss around the trained weights"
    order: ClassVar[int] = 70

    images: int
    parameters: int
    loss: float
    steps: Array
    lines: Array
    plane: Array
    lines_below: Array
    area_below: float
    largest: Array
    least: Array
    trace: float
    trace_error: float

    @classmethod
    def measure(cls, subject: Subject) -> Self:
        loss = Loss(subject)
        centre = loss.trained.vector
        here, size = loss(centre), len(centre)
        if not np.isfinite(here):
            raise AnalysisError(f"the loss at the trained weights is {here}")
        directions = [random_direction(loss.trained, number) for number in range(LINES)]
        plane = over_plane(loss, centre, (directions[0], directions[1]), STEPS, STEPS)
        more = [along(loss, centre, direction, STEPS) for direction in directions[2:]]
        middle = SIDE // 2
        lines_KS = np.stack([plane[middle], plane[:, middle], *more])
        with loss.curvature(centre) as hessian:
            ends = extreme_eigenvalues(hessian.times, size, EIGENVALUES)
            estimate = trace(hessian.times, size, PROBES)
        return cls(
            images=loss.count,
            parameters=size,
            loss=here,
            steps=STEPS,
            lines=lines_KS,
            plane=plane,
            lines_below=np.array([share_below(line, STEPS, here + RISE) for line in lines_KS]),
            area_below=area_below(plane, STEPS, STEPS, here + RISE),
            largest=ends.largest,
            least=ends.least,
            trace=estimate.value,
            trace_error=estimate.error,
        )

    def numbers(self) -> Mapping[str, float]:
        return {
            "loss_nats": self.loss,
            "area_below": self.area_below,
            "largest_eigenvalue": float(self.largest[0]),
            "least_eigenvalue": float(self.least[0]),
            "hessian_trace": self.trace,
            "hessian_trace_error": self.trace_error,
        }

    def rows(self) -> Iterator[Mapping[str, Any]]:
        for number, line in enumerate(self.lines):
            for step, value in zip(self.steps, line, strict=True):
                yield _row(f"direction {number + 1}", step, None, value)
        for b, row in zip(self.steps, self.plane, strict=True):
            for a, value in zip(self.steps, row, strict=True):
                yield _row("plane", a, b, value)
        for what, values in (("largest", self.largest), ("least", self.least)):
            for number, value in enumerate(values):
                yield _row(f"{what} eigenvalue {number + 1}", None, None, value)
        yield _row("trace", None, None, self.trace)
        yield _row("standard error of trace", None, None, self.trace_error)

    @classmethod
    def figures(cls, arms: Arms) -> Sequence[Picture]:
        first = {label: results[0] for label, results in arms.items()}
        shown = dict(list(first.items())[:MOST_ARMS])
        images = span_text(each.images for each in shown.values())
        left_out = list(first)[MOST_ARMS:]
        rest = f" Not shown: {', '.join(left_out)}." if left_out else ""
        of = f"on {images} validation images; the colours are on the same logarithmic scale.{rest}"
        return (
            Picture(
                name="loss_landscape",
                title="Loss over a plane of two random directions",
                caption=(
                    f"Cross-entropy in nats {of} The trained weights are in the middle; at a distance of 1 each filter "
                    f"is changed by as much as it is long. White line: {RISE} nats above the loss in the middle."
                ),
                draw=partial(contours, shown, RISE),
            ),
            Picture(
                name="loss_landscape_surface",
                title="The same plane as a surface",
                caption=f"Cross-entropy in nats {of}",
                draw=partial(surfaces, shown),
            ),
            Picture(
                name="loss_landscape_lines",
                title="Loss along random directions",
                caption=(
                    f"Mean over {LINES} directions, with the least and the greatest as a band, on {images} validation "
                    f"images.{rest}"
                ),
                draw=partial(lines, shown),
            ),
        )

    @classmethod
    def chapter(cls, arms: Arms) -> Chapter:
        every = [each for results in arms.values() for each in results]
        images = span_text(each.images for each in every)
        what = (
            f"Loss is the mean cross-entropy on {images} validation images, and the Hessian is that of all trained "
            f"parameters. The area is the share of the drawn plane on which the loss is less than {RISE} nats above that at "
            f"the trained weights; the same share was also found on {LINES} random lines. "
            "Directions are normalised by filter (Li et al. 2018, arXiv 1712.09913), with the same draws in the parameters "
            f"that arms share. The trace is an estimate ± its standard error, from {PROBES} random vectors."
        )
        limits = (
            "Curvature depends on how weights are scaled: another set of weights with the same answers can have other "
            "eigenvalues (Dinh et al. 2017, arXiv 1703.04933), and arms with other parameters have other Hessians. Loss "
            "on validation images need not have a minimum at the trained weights, so eigenvalues may be negative."
        )
        return Chapter(paragraphs=(f"{what} {runs_text(arms)}", limits), tables=(_table(arms),))


def loss_landscape(model: nn.Module, images: Tensor, labels: Tensor) -> LossLandscape:
    """Loss along random directions around the weights of a model, and its curvature there.

    These are 255 forward passes and about 45 products with the Hessian: some 20 s on a core for a model of 70,000 parameters, 5 minutes to
    half an hour for ViT-Tiny at 224 x 224, and there up to 3 GB for bases whose functions are evaluated one by one.

    Args:
        model: a supported host, with any attention.
        images: (I, C, H, W), as the model takes them. Up to 256 are used, fewer where they are large: as many as have
            2^19 pixels together, 10 of 224 x 224; they are spread evenly over those given.
        labels: (I,), their classes.

    Raises:
        AnalysisError: the model's attention cannot be computed by plain operations, none of its parameters is trained, the
            classes do not fit, or the loss or its second derivatives are not finite.
    """
    return LossLandscape.measure(Subject(model=model, images=images, labels=labels))


def _row(what: str, a: float | None, b: float | None, value: float) -> Mapping[str, Any]:
    return {"what": what, "first_direction": a, "second_direction": b, "value": value}


def _table(arms: Arms) -> Table:
    def line_shares(results: Sequence[LossLandscape]) -> str:
        every = np.concatenate([each.lines_below for each in results])
        return f"{share_text(every.min())} to {share_text(every.max())}"

    def trace_of(results: Sequence[LossLandscape]) -> str:
        if len(results) > 1:
            return over_runs(results, lambda each: each.trace, "{:.0f}".format)
        return f"{results[0].trace:.0f} ± {results[0].trace_error:.0f}"

    return table_of(
        arms.items(),
        ("arm", "text", lambda item: item[0]),
        ("runs", "number", lambda item: str(len(item[1]))),
        ("trained parameters", "number", lambda item: f"{item[1][0].parameters:,}"),
        ("loss (nats)", "range", lambda item: over_runs(item[1], lambda each: each.loss)),
        (
            "area",
            "range",
            lambda item: over_runs(item[1], lambda each: each.area_below, share_text),
        ),
        ("lines, least to greatest", "range", lambda item: line_shares(item[1])),
        (
            "largest eigenvalue",
            "range",
            lambda item: over_runs(item[1], lambda each: float(each.largest[0])),
        ),
        (
            "least eigenvalue",
            "range",
            lambda item: over_runs(item[1], lambda each: float(each.least[0])),
        ),
        ("trace", "range", lambda item: trace_of(item[1])),
    )
