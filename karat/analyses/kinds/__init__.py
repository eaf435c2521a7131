"""The analyses: one file each, registered in `ANALYSES` by file name.

A file defines one public subclass of `Analysis`, a frozen dataclass with what was found of one model, and a
function of the file's name in lower case that finds it: `spectra(model, images)`, exported by `karat.analyses`.

An analysis is made in two steps. `measure` looks at one model, and what it returns is kept on disk, so its fields
are numbers, text, tuples of text, and numpy arrays. Everything that compares models (`figures`, `chapter`) gets
the results of all arms and seeds, and computes no more than what a second allows.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from karat.catalog import Catalog

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from karat.analyses.pictures import Picture
    from karat.analyses.subject import Subject
    from karat.report.tables import Table

__all__ = ["ANALYSES", "Analysis", "Arms", "Chapter"]


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """What an analysis says about the arms of a study.

    Args:
        paragraphs: sentences, each true of the numbers that stand beside it; no causes that were not measured.
        tables: with the numbers, the arms below or beside each other.
    """

    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


class Analysis(abc.ABC):
    """Base class: what one analysis found of one model."""

    title: ClassVar[str]  # heading in the report
    order: ClassVar[int] = 50  # in the report: lower numbers first
    version: ClassVar[int] = 1  # raised when the same model gives other numbers than before
    seeds: ClassVar[int] = 1  # runs of an arm that are looked at, if there are as many

    @classmethod
    @abc.abstractmethod
    def measure(cls, subject: Subject) -> Self:
        """Look at one model. Draws of random numbers come from generators of its own, with fixed seeds.

        Raises:
            AnalysisError: the model or what is known of its training does not allow it; the reason in one
                line, without the name of the trial.
        """

    @abc.abstractmethod
    def numbers(self) -> Mapping[str, float]:
        """The key numbers: a name as of a metric (lower case, with the unit if there is one) to the value."""

    @abc.abstractmethod
    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Everything as rows of a CSV file, all with the same keys (block, head, ...)."""

    @classmethod
    @abc.abstractmethod
    def figures(cls, arms: Arms) -> Sequence[Picture]:
        """Pictures of the arms beside each other, at equal scales."""

    @classmethod
    @abc.abstractmethod
    def chapter(cls, arms: Arms) -> Chapter:
        """What the numbers of the arms say."""

    def plot(self) -> Figure:
        """The first picture of this model alone."""
        return self.figures({"": [self]})[0].draw()


# Label of an arm to its results: the representative's first, then those of other seeds.
Arms: TypeAlias = Mapping[str, Sequence[Any]]

ANALYSES = Catalog(Analysis, "--only")  # type: ignore[type-abstract]
