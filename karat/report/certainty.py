"""How sure a report's answer is: other tests, failed runs, lengths of training, signs of unfinished training."""

from collections.abc import Callable

from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.interactions import Interaction
from karat.report.facts.lengths import Length
from karat.report.facts.progress import Progress
from karat.report.facts.summary import Summary
from karat.report.formatting import (
    Units,
    effect_text,
    ends_text,
    in_unit,
    interval_text,
    loss_text,
    p_text,
    raw_p_text,
    short,
    spread_text,
)
from karat.report.narrative import certainty_notes
from karat.report.tables import Kind, Section, Table, table_of
from karat.report.wording import interaction_text, reference_text, unfinished_text
from karat.statistics.comparison import Comparison

ArmColumn = tuple[str, Kind, Callable[[ConfirmedArm], str]]
MOST_INTERACTIONS = 20  # shown, those with the lowest p
ProgressColumn = tuple[str, Kind, Callable[[tuple[ConfirmedArm, Progress]], str]]


def certainty_section(summary: Summary) -> Section | None:
    """What a reader needs to doubt a verdict: other tests, failed runs, and how far training went."""
    tables = []
    if summary.is_final and summary.others:
        tables.append(_tests_table(summary))
    if summary.interactions and summary.is_final:
        tables.append(_interactions_table(summary))
    if len(summary.lengths) > 1 and summary.is_final:
        tables.append(_lengths_table(summary))
    if summary.progress:
        tables.append(_progress_table(summary))
    if not tables:
        return None
    return Section(
        title="How sure it is", paragraphs=(*certainty_notes(summary),), tables=(*tables,)
    )


def _tests_table(summary: Summary) -> Table:
    units, rule = Units(summary.metric), summary.rule
    of_looks: list[ArmColumn] = []
    if rule.looks:
        of_looks = [("p, all looks", "number", lambda arm: raw_p_text(_found(arm).p_looks))]
    columns: list[ArmColumn] = [
        ("arm", "text", lambda arm: arm.label),
        ("seeds" if rule.tunings == 1 else "tunings", "number", lambda arm: str(_found(arm).n)),
        ("p, t test", "number", lambda arm: raw_p_text(_found(arm).p)),
        *of_looks,
        ("p, signs flipped", "number", lambda arm: raw_p_text(_found(arm).p_flips)),
        ("effect (d_z)", "number", lambda arm: effect_text(_found(arm).effect)),
    ]
    if len(summary.others) > 1:
        name = f"difference{in_unit(units.step)}, interval at Holm's level"
        columns.append((name, "range", lambda arm: ends_text(_holm_interval(_found(arm)), units)))
    if any(arm.population for arm in summary.others):
        name = f"difference{in_unit(units.step)}, images like these"
        columns.append((name, "range", lambda arm: ends_text(arm.population, units)))
    if any(arm.failed for arm in summary.arms):
        columns += [
            ("runs failed", "number", lambda arm: f"{len(arm.failed)} of {arm.ended}"),
            (
                f"difference{in_unit(units.step)} with failures",
                "range",
                lambda arm: interval_text(_found(arm).with_failures, units),
            ),
        ]
    return table_of(summary.others, *columns, title=f"Against {reference_text(summary)}")


def _interactions_table(summary: Summary) -> Table:
    units = Units(summary.metric)
    columns: list[tuple[str, Kind, Callable[[Interaction], str]]] = [
        ("gain", "text", lambda row: f"{row.levels[0]} to {row.levels[1]}"),
        ("at", "text", lambda row: row.at[1]),
        ("against its gain at", "text", lambda row: row.at[0]),
    ]
    if any(row.within for row in summary.interactions):
        columns.append(("all with", "text", lambda row: row.within))
    shown = sorted(summary.interactions, key=lambda row: row.comparison.p_holm or 1.0)
    return table_of(
        shown[:MOST_INTERACTIONS],
        *columns,
        (
            "seeds" if summary.rule.tunings == 1 else "tunings",
            "number",
            lambda row: str(row.comparison.n),
        ),
        (
            f"difference of the gains{in_unit(units.step)}",
            "range",
            lambda row: interval_text(row.comparison, units),
        ),
        ("p (Holm)", "number", lambda row: p_text(row.comparison)),
        ("does the gain depend on it?", "text", interaction_text),
        title=_factors_text(summary.interactions),
        cards=True,
    )


def _factors_text(interactions: tuple[Interaction, ...]) -> str:
    pairs = dict.fromkeys(f"{short(each.factor)} and {short(each.other)}" for each in interactions)
    return f"Interactions of {', '.join(pairs)}"


def _holm_interval(found: Comparison) -> tuple[float, float] | None:
    if found.low_holm is None or found.high_holm is None:
        return None
    return found.low_holm, found.high_holm


def _found(arm: ConfirmedArm) -> Comparison:
    assert arm.comparison is not None
    return arm.comparison


def _lengths_table(summary: Summary) -> Table:
    """Test and difference of each arm after each length of training."""
    units = Units(summary.metric)
    rows = [(arm, length) for arm in summary.arms for length in summary.lengths]

    def test(row: tuple[ConfirmedArm, Length]) -> str:
        sample = row[1].test.get(row[0].label)
        return "-" if sample is None else spread_text(sample, units)

    return table_of(
        rows,
        ("arm", "text", lambda row: row[0].label),
        ("epochs", "number", lambda row: str(row[1].epochs)),
        (f"test{in_unit(units.unit)}", "number", test),
        (
            f"difference{in_unit(units.step)}",
            "range",
            lambda row: interval_text(row[1].comparisons.get(row[0].label), units),
        ),
        title="By length of training",
    )


def _progress_table(summary: Summary) -> Table:
    units = Units(summary.metric)
    known = [(arm, mine) for arm in summary.arms if (mine := summary.progress.get(arm.label))]
    longest: list[ProgressColumn] = []
    if len(summary.lengths) > 1:
        name = f"gain of the longest{in_unit(units.step)}"
        longest = [(name, "range", lambda row: interval_text(row[1].longer, units))]
    return table_of(
        known,
        ("arm", "text", lambda row: row[0].label),
        ("epochs", "number", lambda row: str(row[1].epochs)),
        ("training loss", "number", lambda row: loss_text(row[1].train_loss)),
        (
            f"gain in the middle{in_unit(units.step)}",
            "number",
            lambda row: units.number(row[1].gain, "+"),
        ),
        *longest,
        (
            "signs of unfinished training",
            "text",
            lambda row: unfinished_text(row[1], units) or ("none" if row[1].is_known else "-"),
        ),
        title="Training",
        cards=True,
    )
