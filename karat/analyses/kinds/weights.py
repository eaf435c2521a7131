"""How weights are distributed, and how far the training moved them: all of them, and the tables of attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from karat.analyses.geometry.histograms import Counts, counted, width_for
from karat.analyses.geometry.moments import Moment, moments_of
from karat.analyses.geometry.tables import ALL, Learned, Table, learned_tables
from karat.analyses.geometry.texts import number_text, over_runs, runs_text
from karat.analyses.geometry.trained import Trained
from karat.analyses.geometry.weights_drawing import energies, everything, groups_of, tables
from karat.analyses.kinds import Analysis, Arms, Chapter
from karat.analyses.pictures import Picture
from karat.analyses.subject import Snapshot, Subject
from karat.errors import AnalysisError
from karat.report.tables import Table as Shown
from karat.report.tables import table_of

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = NDArray[np.float64]
EVERY = "all trained weights"


@dataclass(frozen=True, kw_only=True)
class Weights(Analysis):
    """Distribution of the weights at the start, in the middle and at the end of the training.

    A row is all trained weights of the model, one learned table of attention over all blocks and heads, or the table of
    one block and head: the operator's coefficients (`a` and `b` for the Fourier basis, else the names of the basis), W,
    scales of its units, and the tables of other mechanisms.

    Shapes: M moments, three or only the last; R rows, of which rows with `all` come first; E terms.

    Args:
        basis: of the learned functions; several with commas, empty where there are none.
        moments: (M,), which: `start`, `middle`, `end`.
        epochs: (M,), epochs done; -1 where it is not known.
        tables, blocks, heads: (R,), the rows; blocks and heads as numbers from 1 or `all`.
        count: (R,), of numbers.
        mean, deviation: (R, M), mean and standard deviation.
        kurtosis: (R, M), excess kurtosis: 0 for a normal distribution; NaN where all numbers are equal.
        distance: (R, M), Euclidean distance from the start; NaN where the start is not known.
        relative: (R, M), that by the norm at the start.
        counts: (R, M, 512), histograms; half of the bins are below 0.
        widths: (R,), of the bins, powers of two.
        energy_blocks, energy_heads, energy_terms: (E,), block and head of an operator and the name of a term.
        energy: (E, M), the share of the squared coefficients that a term has, among those of one operator.
    """

    title: ClassVar[str] = "Distribution of the weights"
    order: ClassVar[int] = 60
    seeds: ClassVar[int] = 2

    basis: str
    moments: tuple[str, ...]
    epochs: NDArray[np.int64]
    tables: tuple[str, ...]
    blocks: tuple[str, ...]
    heads: tuple[str, ...]
    count: NDArray[np.int64]
    mean: Array
    deviation: Array
    kurtosis: Array
    distance: Array
    relative: Array
    counts: Counts
    widths: Array
    energy_blocks: tuple[str, ...]
    energy_heads: tuple[str, ...]
    energy_terms: tuple[str, ...]
    energy: Array

    @classmethod
    def measure(cls, subject: Subject) -> Self:
        trained, learned = Trained(subject.model), learned_tables(subject.model)
        moments = moments_of(subject)
        rows = list(_rows_of(trained, learned, moments))
        terms = [_energies(learned, moment) for moment in moments]
        named = list(terms[0])
        return cls(
            basis=", ".join(dict.fromkeys(each.basis_name for each in learned.functions)),
            moments=tuple(moment.name for moment in moments),
            epochs=np.array([moment.epoch for moment in moments]),
            tables=tuple(row.table for row in rows),
            blocks=tuple(row.block for row in rows),
            heads=tuple(row.head for row in rows),
            count=np.array([row.count for row in rows]),
            mean=np.array([row.mean for row in rows]),
            deviation=np.array([row.deviation for row in rows]),
            kurtosis=np.array([row.kurtosis for row in rows]),
            distance=np.array([row.distance for row in rows]),
            relative=np.array([row.relative for row in rows]),
            counts=np.array([row.counts for row in rows]),
            widths=np.array([row.width for row in rows]),
            energy_blocks=tuple(block for block, _, _ in named),
            energy_heads=tuple(head for _, head, _ in named),
            energy_terms=tuple(term for _, _, term in named),
            energy=np.array([[each[key] for each in terms] for key in named]).reshape(
                len(named), len(moments)
            ),
        )

    @property
    def pooled(self) -> Mapping[str, int]:
        """Number of the row of all trained weights, and of those of each table over all blocks and heads."""
        pairs = zip(self.tables, self.blocks, strict=True)
        return {name: row for row, (name, block) in enumerate(pairs) if block == ALL}

    def numbers(self) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for name, row in self.pooled.items():
            key = "".join(c if c.isalnum() else "_" for c in name.lower()).strip("_")
            values = {
                f"{key}_excess_kurtosis": self.kurtosis[row, -1],
                f"{key}_distance": self.distance[row, -1],
                f"{key}_relative_distance": self.relative[row, -1],
            }
            found |= {name: float(value) for name, value in values.items() if np.isfinite(value)}
        return found

    def rows(self) -> Iterator[Mapping[str, Any]]:
        for row, name in enumerate(self.tables):
            for moment, when in enumerate(self.moments):
                where = {"block": self.blocks[row], "head": self.heads[row]}
                found = {
                    "numbers": int(self.count[row]),
                    "mean": self.mean[row, moment],
                    "standard_deviation": self.deviation[row, moment],
                    "excess_kurtosis": self.kurtosis[row, moment],
                    "distance_from_start": self.distance[row, moment],
                    "relative_distance": self.relative[row, moment],
                    "energy_share": None,
                }
                yield {"what": name, **where, "moment": when, **found}
                empty = dict.fromkeys(found)
        for term, name in enumerate(self.energy_terms):
            where = {"block": self.energy_blocks[term], "head": self.energy_heads[term]}
            for moment, when in enumerate(self.moments):
                share = {"energy_share": self.energy[term, moment]}
                yield {"what": name, **where, "moment": when, **empty, **share}

    @classmethod
    def figures(cls, arms: Arms) -> Sequence[Picture]:
        first = {label: results[0] for label, results in arms.items()}
        when = "Lines: start, middle and end of the training, as far as they are known."
        made = [
            Picture(
                name="weights",
                title="All trained weights",
                caption=f"Share of the weights in each bin; the bins are the same for all arms. {when}",
                draw=partial(everything, first),
            )
        ]
        for number, group in enumerate(groups_of(first)):
            made.append(
                Picture(
                    name="weights_tables" + (f"_{number + 1}" if number else ""),
                    title=f"Learned tables of attention: {group.names_text}",
                    caption=(
                        f"{group.what} a block over its heads: the share of the numbers in each bin; bins and scales are the "
                        f"same in a row. {when}{group.left_out}"
                    ),
                    draw=partial(tables, group),
                )
            )
        with_terms = {label: found for label, found in first.items() if found.energy_terms}
        if with_terms:
            made.append(
                Picture(
                    name="weights_energy",
                    title="Energy of the coefficients",
                    caption=(
                        "Share of the squared coefficients (times the factor of their function) that each term has: of each "
                        "frequency, a² + b², for the Fourier basis, else of each coefficient of one name. Mean over the heads "
                        "of the first, the middle and the last block; dashed at the start, where it is known, solid at "
                        "the end. Arms with one term are left out."
                    ),
                    draw=partial(energies, with_terms),
                )
            )
        return tuple(made)

    @classmethod
    def chapter(cls, arms: Arms) -> Chapter:
        every = [each for results in arms.values() for each in results]
        what = (
            "A table is taken over all blocks and heads. Excess kurtosis is 0 for a normal distribution. Where layers have "
            "normal weights around 0, but of different spread, all together have a positive one; that of all weights "
            "therefore says little about a layer."
        )
        known = [each for each in every if "start" in each.moments]
        if len(known) < len(every):
            none = "no run" if not known else f"{len(known)} of {len(every)} runs"
            what += f" The start is known of {none}; without it there is no distance from it."
        return Chapter(paragraphs=(f"{what} {runs_text(arms)}",), tables=(_table(arms),))


def weights(model: nn.Module, images: Tensor, path: Sequence[Snapshot] = ()) -> Weights:
    """Distribution of a model's weights, and of the tables of its attention by block and head.

    Args:
        model: a supported host, with any attention, with the last weights.
        images: (I, C, H, W), which all analyses take; weights do not depend on them.
        path: weights over its training in order, from epoch 0 on, the last at the end; start and middle are taken from it.

    Raises:
        AnalysisError: the model is not a supported host, nothing in it is trained, weights of the path cannot be read or are of
            another model, or weights are not finite.
    """
    return Weights.measure(Subject(model=model, images=images, path=path))


@dataclass(frozen=True, kw_only=True)
class _Row:
    table: str
    block: str
    head: str
    count: int
    mean: list[float]
    deviation: list[float]
    kurtosis: list[float]
    distance: list[float]
    relative: list[float]
    counts: list[Counts]
    width: float


def _rows_of(trained: Trained, learned: Learned, moments: Sequence[Moment]) -> Iterator[_Row]:
    """All weights, then each table over all blocks and heads, then each for itself."""
    whole = [trained.joined(moment.state).double().numpy() for moment in moments]
    yield _row(EVERY, ALL, ALL, whole, moments)
    by_name: dict[str, list[Table]] = {}
    for table in learned.tables:
        by_name.setdefault(table.name, []).append(table)
    for name, parts in by_name.items():
        together = [np.concatenate([_values(each, m) for each in parts]) for m in moments]
        yield _row(name, ALL, ALL, together, moments)
    for table in learned.tables:
        own = [_values(table, moment) for moment in moments]
        yield _row(table.name, table.place.block, table.place.head, own, moments)


def _values(table: Table, moment: Moment) -> Array:
    found: Array = table.of(moment.state).double().flatten().numpy()
    return found


def _row(
    table: str, block: str, head: str, values: Sequence[Array], moments: Sequence[Moment]
) -> _Row:
    from scipy.stats import kurtosis

    greatest = max(float(np.abs(each).max()) for each in values)
    if not np.isfinite(greatest):
        raise AnalysisError(f"weights are not finite: {table} of block {block}, head {head}")
    width = width_for(greatest)
    distance = [float("nan")] * len(values)
    norm = float("nan")
    if moments[0].name == "start":
        distance = [float(np.linalg.norm(each - values[0])) for each in values]
        norm = float(np.linalg.norm(values[0])) or float("nan")
    return _Row(
        table=table,
        block=block,
        head=head,
        count=len(values[0]),
        mean=[float(each.mean()) for each in values],
        deviation=[float(each.std()) for each in values],
        kurtosis=[float(kurtosis(each)) if np.ptp(each) > 0 else float("nan") for each in values],
        distance=distance,
        relative=[each / norm for each in distance],
        counts=[counted(each, width) for each in values],
        width=width,
    )


def _energies(learned: Learned, moment: Moment) -> Mapping[tuple[str, str, str], float]:
    return {
        (functions.place.block, functions.place.head, term): share
        for functions in learned.functions
        for term, share in functions.energies(moment.state)
    }


def _table(arms: Arms) -> Shown:
    cells = [
        (label, name, [each for each in results if name in each.pooled])
        for label, results in arms.items()
        for name in results[0].pooled
    ]

    def at(name: str, field: str, moment: str) -> Any:
        def value(found: Weights) -> float:
            if moment not in found.moments:
                return float("nan")
            values = getattr(found, field)
            return float(values[found.pooled[name], found.moments.index(moment)])

        return value

    def text(cell: tuple[str, str, list[Weights]], field: str, moment: str) -> str:
        _, name, results = cell
        value = at(name, field, moment)
        known = [each for each in results if np.isfinite(value(each))]
        return over_runs(known, value, number_text) if known else "-"

    return table_of(
        cells,
        ("arm", "text", lambda cell: cell[0]),
        ("weights", "text", lambda cell: cell[1]),
        (
            "numbers",
            "number",
            lambda cell: f"{int(cell[2][0].count[cell[2][0].pooled[cell[1]]]):,}",
        ),
        ("standard deviation", "range", lambda cell: text(cell, "deviation", "end")),
        ("kurtosis at the start", "range", lambda cell: text(cell, "kurtosis", "start")),
        ("at the end", "range", lambda cell: text(cell, "kurtosis", "end")),
        ("distance from the start", "range", lambda cell: text(cell, "distance", "end")),
        ("by the norm at the start", "range", lambda cell: text(cell, "relative", "end")),
    )
