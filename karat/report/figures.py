"""The figures of a report, with their captions."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial

from karat.parameters import is_number
from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.summary import Curve, Summary
from karat.report.formatting import Units, file_name, in_unit, short, text_of
from karat.report.plots import Level
from karat.report.wording import contender_text, reference_text
from karat.statistics.samples import describe, values_of


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot: its file's name, and what it shows.

    Args:
        file: name of its file.
        draw: returns the PNG file; called when a view shows the figure, since a terminal does not.
    """

    file: str
    caption: str
    draw: Callable[[], bytes]

    @cached_property
    def png(self) -> bytes:
        """The PNG file."""
        return self.draw()


def epoch_figure(summary: Summary) -> Iterable[Figure]:
    from karat.report import plots

    if summary.curves:
        dashes = (
            "; each reference is dashed, in the colour of the arm compared with it"
            if summary.is_matched
            else ""
        )
        noun = summary.metric.noun
        axis = f"validation {noun}{in_unit(Units(summary.metric).unit)}"
        yield Figure(
            file=f"{noun}_by_epoch.png",
            caption=(
                f"Validation {noun} of the confirmed arms by epoch: mean over seeds, and a band "
                f"of one standard deviation{dashes}."
            ),
            draw=partial(
                plots.by_epoch, [_scaled(curve, summary) for curve in summary.curves], axis
            ),
        )


def level_figure(summary: Summary) -> Iterable[Figure]:
    from karat.report import plots

    levels = _levels(summary)
    if not any(level.values for level in levels):
        return
    metric, share = summary.metric, 100 * (1 - summary.rule.alpha)
    axis, key = f"test {metric.noun}{in_unit(Units(metric).unit)}", short(summary.by)
    line, label = None, plots.MEAN
    told = "the dashed line is the reference with the same interval"
    if summary.is_matched:
        label = f"{contender_text(summary)}: {plots.MEAN}"
        told = f"black is {reference_text(summary)}, in the same way"
    elif summary.references and summary.references[0].runs:
        line = _level(summary.references[0], summary)
    yield Figure(
        file=f"{metric.noun}_by_{file_name(key)}.png",
        caption=(
            f"Test {metric.noun} by {key}: a dot for each seed, the mean with its "
            f"{share:g} % interval; {told}. "
            "These intervals are of single means; differences are paired, and the table's "
            "intervals hold for them."
        ),
        draw=partial(plots.by_level, levels, line, axis, key, label),
    )


def _scaled(curve: Curve, summary: Summary) -> Curve:
    """In the unit shown."""
    scaled = Units(summary.metric).scaled
    return replace(curve, mean=tuple(map(scaled, curve.mean)), sd=tuple(map(scaled, curve.sd)))


def _levels(summary: Summary) -> list[Level]:
    """The arms other than references, by level; where levels are matched, each with its reference."""
    if not summary.is_matched:
        return [_level(arm, summary) for arm in summary.others if arm.runs]
    beside = {arm.label: _level(arm, summary) for arm in summary.references if arm.runs}
    return [
        replace(_level(arm, summary), beside=beside.get(arm.against or ""))
        for arm in summary.others
        if arm.runs or arm.against in beside
    ]


def _level(arm: ConfirmedArm, summary: Summary) -> Level:
    values = [Units(summary.metric).scaled(value) for _, value in sorted(arm.runs.items())]
    return Level(
        name=summary.reference if arm.is_reference else text_of(arm.level),
        at=float(arm.level) if is_number(arm.level) else None,
        values=tuple(values),
        sample=describe(
            values_of(dict(zip(sorted(arm.runs), values, strict=True)), summary.rule.tunings),
            summary.rule.alpha,
        ),
    )
