"""Sections of a report about the test beside its verdicts: other scores, and shifted images."""

from collections.abc import Callable, Sequence

from karat.report.facts.summary import Summary
from karat.report.facts.testing.scores import ArmScores
from karat.report.facts.testing.shifted import ALL, ShiftedArm, ShiftedFacts
from karat.report.formatting import (
    Units,
    in_unit,
    interval_text,
    listed,
    memory_text,
    p_text,
    spread_text,
)
from karat.report.tables import Column, Section, Table, table_of

SCORES, SHIFTED = "Test scores", "Shifted images"
MOST_CLASSES, MOST_ARMS = 20, 6  # of the table of classes; the journal and the JSON have all
_NOTE = (
    "Means over the completed runs on the clean test images, without a test of differences. Calibration error: "
    "expected calibration error over 15 bins of equal width of the confidence (Guo et al. 2017). Images per "
    "second (loading included) and peak memory are of the evaluation, medians; memory is what is allocated on the "
    "GPU, or resident in the process without one."
)


def scores_section(summary: Summary) -> Section | None:
    """Accuracy, calibration, worst class, speed and memory of each arm; None where no journal has them."""
    if not summary.scores:
        return None
    columns: list[Column[ArmScores]] = [
        ("arm", "text", lambda arm: arm.label),
        ("top-1 (%)", "number", lambda arm: _percent(arm.top1)),
        ("loss", "number", lambda arm: f"{arm.loss:.4f}"),
        ("calibration error (%)", "number", lambda arm: _percent(arm.calibration_error)),
        ("worst class (%)", "text", _worst),
        ("images per s", "number", _speed),
        ("peak memory", "number", lambda arm: memory_text(arm.peak_bytes)),
    ]
    if any(arm.top5 is not None for arm in summary.scores):
        columns.insert(2, ("top-5 (%)", "number", lambda arm: _percent(arm.top5)))
    table = table_of(summary.scores, *columns)
    return Section(title=SCORES, paragraphs=(_NOTE,), tables=(table, *_class_tables(summary)))


def _class_tables(summary: Summary) -> tuple[Table, ...]:
    """Every class of every arm, unless there are too many to be read here."""
    arms = summary.scores
    names = list(arms[0].per_class)
    if len(names) > MOST_CLASSES or len(arms) > MOST_ARMS or not _are_alike(arms):
        return ()
    columns: list[Column[str]] = [("class", "text", str)]
    columns += [(arm.label, "number", _share_in(arm)) for arm in arms]
    return (table_of(names, *columns, title="Accuracy of each class (%)"),)


def _are_alike(arms: Sequence[ArmScores]) -> bool:
    """Whether all arms were tested on the same classes."""
    return len({tuple(arm.per_class) for arm in arms}) == 1


def _share_in(arm: ArmScores) -> Callable[[str], str]:
    return lambda name: _percent(arm.per_class[name])


def shifted_section(summary: Summary) -> Section | None:
    """Verdicts under each corruption; None where no run was tested under one."""
    facts = summary.shifted
    if facts is None:
        return None
    units = Units(summary.metric)
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    rows = [(arm, key) for key in reversed(facts.keys) for arm in facts.arms]
    table = table_of(
        rows,
        ("images", "text", lambda row: _name(row[1])),
        ("arm", "text", lambda row: row[0].label + " (reference)" * (row[0].against is None)),
        (
            f"test{in_unit(units.unit)}",
            "number",
            lambda row: spread_text(row[0].samples[row[1]], units),
        ),
        (
            f"difference{in_unit(units.step)}, {share}",
            "range",
            lambda row: interval_text(row[0].comparisons.get(row[1]), units),
        ),
        (
            "p (Holm)",
            "number",
            lambda row: p_text(row[0].comparisons.get(row[1]) if summary.is_final else None),
        ),
        ("verdict", "text", lambda row: _verdict(row[0], row[1], summary.is_final)),
        cards=True,
    )
    return Section(
        title=SHIFTED,
        paragraphs=tuple(_notes(facts, summary)),
        tables=(table, _strengths(facts, units)),
    )


def _notes(facts: ShiftedFacts, summary: Summary) -> list[str]:
    others = sum(arm.against is not None for arm in facts.arms)
    what = f"{len(facts.corruptions)} corruption{'s' * (len(facts.corruptions) != 1)}"
    mean = " and their mean" if ALL in facts.keys else ""
    found = [
        f"The same trained weights on the test images after {listed(facts.corruptions)}, each in five strengths; a "
        "run's value is the mean over the strengths. Implementations of karat after Hendrycks and Dietterich 2019, "
        "with the strengths of CIFAR-10-C, which were made for images of 32 pixels.",
        f"These are {facts.comparisons} further comparisons, {others} arm{'s' * (others != 1)} under {what}{mean}, by "
        "the rule of the verdicts above: paired by seed, and the p values of all of them one family of Holm's correction, "
        "apart from that of the clean images. Each interval holds for itself.",
    ]
    if summary.rule.looks:
        found.append("Seeds were added by the results on the clean images.")
    if not summary.is_final:
        found.append("Verdicts follow when all runs have ended.")
    return found


def _strengths(facts: ShiftedFacts, units: Units) -> Table:
    columns: list[Column[ShiftedArm]] = [("arm", "text", lambda arm: arm.label)]
    strengths = max(len(arm.by_strength) for arm in facts.arms)
    columns += [
        (f"strength {place + 1}", "number", _value_at(place, units)) for place in range(strengths)
    ]
    return table_of(
        facts.arms, *columns, title=f"Mean over the corruptions, by strength{in_unit(units.unit)}"
    )


def _value_at(place: int, units: Units) -> Callable[[ShiftedArm], str]:
    return lambda arm: units.number(arm.by_strength[place])


def _name(key: str) -> str:
    return "mean of all" if key == ALL else key


def _verdict(arm: ShiftedArm, key: str, is_final: bool) -> str:
    if arm.against is None:
        return "reference"
    return arm.comparisons[key].verdict if is_final else ""


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


def _worst(arm: ArmScores) -> str:
    return "-" if arm.worst is None else f"{arm.worst[0]}: {_percent(arm.worst[1])}"


def _speed(arm: ArmScores) -> str:
    return "-" if arm.images_per_s is None else f"{arm.images_per_s:,.0f}"
