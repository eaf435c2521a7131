"""A report's sections, in the order in which they are read: tables, with notes and figures."""

import os
import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from karat.designs import DEFAULT
from karat.journal.layout import (
    ANALYSES,
    FIGURES,
    JOURNAL,
    REPORT_HTML,
    REPORT_MARKDOWN,
    REPORT_TABLES,
    SYNC_LOG,
    TRIALS,
    WEIGHTS,
)
from karat.journal.wording import skip_text, trial_text
from karat.parameters import EACH_ARM, is_number
from karat.report.certainty import certainty_section
from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.summary import Summary
from karat.report.figures.best_so_far import best_so_far
from karat.report.figures.by_arm import by_arm
from karat.report.figures.costs import costs
from karat.report.figures.differences import differences
from karat.report.figures.epochs.attention import attention_by_epoch
from karat.report.figures.epochs.by_epoch import by_epoch
from karat.report.figures.epochs.learning_curves import learning_curves
from karat.report.figures.failures import failures
from karat.report.figures.forest import forests
from karat.report.figures.front import front_figure
from karat.report.figures.importances import importances_figure
from karat.report.figures.slices import slices
from karat.report.figures.timeline import timeline
from karat.report.formatting import (
    Units,
    in_unit,
    interval_text,
    memory_text,
    moment_text,
    off_text,
    p_text,
    percent,
    seconds_text,
    short,
    spread_text,
    text_of,
    tuned_text,
)
from karat.report.narrative import result_notes, search_notes
from karat.report.parts.design import design_section
from karat.report.parts.front import front_section
from karat.report.parts.health import health_section
from karat.report.parts.matched_cost import matched_section
from karat.report.parts.places import places_section
from karat.report.parts.published import published_section
from karat.report.parts.testing import scores_section, shifted_section
from karat.report.search_text import importance_notes
from karat.report.shortlist_text import chosen_text
from karat.report.tables import Kind, Section, Table, pairs_table, table_of
from karat.report.training_section import training_section
from karat.report.wording import (
    levels_text,
    marked_verdict_text,
    seeds_setting_text,
    tested_weights_text,
    top_up_text,
)
from karat.settings import flat

ArmColumn = tuple[str, Kind, Callable[[ConfirmedArm], str]]
FOLDER_CONTENT = {
    JOURNAL: "every decision, report and end, in order; the only truth",
    REPORT_HTML: "this report, one file that needs nothing else",
    REPORT_MARKDOWN: "this report as Markdown",
    FIGURES: f"the figures, and {', '.join(REPORT_TABLES)}",
    TRIALS: "checkpoints, one folder for each trial",
    ANALYSES: "what `karat analyze` found, with tables and pictures",
    WEIGHTS: "copies of the weights that trials started from",
    SYNC_LOG: "what was said while the dashboard was brought up to date",
}


def sections(summary: Summary, why: Sequence[Section] = ()) -> tuple[Section, ...]:
    """The report after question and answer, in words, tables and figures.

    Args:
        summary: of the study.
        why: the chapter about its trained models (`karat.report.parts.why`).
    """
    parts = [
        result_section(summary),
        _design_section(summary),
        front_section(summary),
        health_section(summary),
        places_section(summary),
        matched_section(summary),
        _figure_section(summary),
        certainty_section(summary),
        shifted_section(summary),
        scores_section(summary),
        _pair_section(summary),
        published_section(summary),
        *why,
        _search_section(summary),
        _trouble_section(summary),
        _decision_section(summary),
        _training_section(summary),
        _environment_section(summary),
    ]
    return tuple(part for part in parts if part is not None)


def result_section(summary: Summary) -> Section | None:
    if not summary.arms:
        return None
    units = Units(summary.metric)
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    level_kind: Kind = "number" if all(is_number(a.level) for a in summary.others) else "text"
    of_level: ArmColumn = (short(summary.by), level_kind, lambda arm: text_of(arm.level))
    seeds: ArmColumn = ("seeds", "number", lambda arm: str(arm.completed))
    table = table_of(
        summary.arms,
        ("arm", "text", lambda arm: arm.label + " (reference)" * arm.is_reference),
        *(() if _labels_name_levels(summary) else (of_level,)),
        ("tuned", "text", lambda arm: tuned_text(*(cell.tuned for cell in arm.cells))),
        ("parameters", "number", lambda arm: f"{arm.parameters:,}" if arm.parameters else "-"),
        ("MFLOPs", "number", lambda arm: f"{arm.flops / 1e6:,.1f}" if arm.flops else "-"),
        *([seeds] if summary.rule.looks else []),
        (f"validation{in_unit(units.unit)}", "number", lambda arm: units.number(arm.validation)),
        (f"test{in_unit(units.unit)}", "number", lambda arm: spread_text(arm.test, units)),
        (
            f"difference{in_unit(units.step)}, {share}",
            "range",
            lambda arm: interval_text(arm.comparison, units),
        ),
        ("p (Holm)", "number", lambda arm: p_text(arm.comparison if summary.is_final else None)),
        ("verdict", "text", lambda arm: marked_verdict_text(arm, summary)),
        ("s per run", "number", lambda arm: "-" if arm.seconds is None else f"{arm.seconds:.1f}"),
        cards=True,
    )
    return Section(title="Result", paragraphs=tuple(result_notes(summary)), tables=(table,))


def _design_section(summary: Summary) -> Section | None:
    part = design_section(summary)
    return None if part is None else replace(part, figures=tuple(forests(summary)))


def _labels_name_levels(summary: Summary) -> bool:
    return all(isinstance(arm.level, str) and arm.level in arm.label for arm in summary.others)


def _figure_section(summary: Summary) -> Section | None:
    figures = [
        *differences(summary),
        *by_arm(summary),
        *front_figure(summary),
        *costs(summary),
        *by_epoch(summary),
    ]
    return Section(title="Figures", figures=tuple(figures)) if figures else None


def _pair_section(summary: Summary) -> Section | None:
    if not summary.pairs or not summary.is_final:
        return None
    units = Units(summary.metric)
    levels = {arm.label: text_of(arm.level) for arm in summary.others}
    table = table_of(
        summary.pairs,
        (short(summary.by), "text", lambda pair: levels[pair.arm]),
        ("against", "text", lambda pair: levels[pair.against]),
        (
            f"difference{in_unit(units.step)} and interval",
            "range",
            lambda pair: interval_text(pair, units),
        ),
        ("p (Holm)", "number", p_text),
        ("verdict", "text", lambda pair: pair.verdict),
    )
    pairs = f"{len(table.rows)} pair{'s' * (len(table.rows) != 1)}"
    note = (
        f"A second look: the confirmed arms against each other, {pairs}, corrected by Holm. "
        "The verdict is on the first against the second."
    )
    title = f"Between {levels_text(summary)}"
    return Section(title=title, paragraphs=(note,), tables=(table,))


def _search_section(summary: Summary) -> Section:
    units = Units(summary.metric)
    table = table_of(
        summary.search.arms,
        ("arm", "text", lambda arm: arm.label),
        ("trials", "number", lambda arm: str(arm.asked)),
        ("completed", "number", lambda arm: str(arm.completed)),
        ("stopped", "number", lambda arm: str(arm.stopped)),
        ("failed", "number", lambda arm: str(arm.failed)),
        ("epochs", "number", lambda arm: str(arm.epochs)),
        (f"best validation{in_unit(units.unit)}", "number", lambda arm: units.number(arm.best)),
        ("tuned to", "text", lambda arm: tuned_text(arm.best_tuned)),
        ("at an end of its range", "text", lambda arm: "yes" if arm.edges else ""),
    )
    tables = [each for each in (table, _shortlist_table(summary)) if each is not None]
    tables += [_importance_table(summary)] if summary.search.importances else []
    tables += [_needed_table(summary)] if summary.search.needed else []
    notes = (*search_notes(summary), *importance_notes(summary.search))
    figures = [
        *best_so_far(summary),
        *learning_curves(summary),
        *slices(summary),
        *importances_figure(summary),
    ]
    return Section(title="Search", paragraphs=notes, tables=tuple(tables), figures=tuple(figures))


def _shortlist_table(summary: Summary) -> Table | None:
    """Each cell of the shortlists; None without any."""
    facts, units = summary.shortlist, Units(summary.metric)
    if facts is None or not facts.cells:
        return None
    return table_of(
        facts.cells,
        ("for", "text", lambda cell: cell.contest),
        ("arm", "text", lambda cell: cell.arm),
        ("tuned", "text", lambda cell: tuned_text(cell.tuned)),
        ("place in the search", "number", lambda cell: str(cell.place)),
        (f"search{in_unit(units.unit)}", "number", lambda cell: units.number(cell.searched)),
        (f"fresh mean{in_unit(units.unit)}", "number", lambda cell: units.number(cell.value)),
        ("runs", "number", lambda cell: str(cell.runs)),
        ("failed", "number", lambda cell: str(cell.failed)),
        ("confirmed", "text", lambda cell: "yes" if cell.is_confirmed else ""),
        title="Cells of the shortlists, by validation",
    )


def _importance_table(summary: Summary) -> Table:
    found = summary.search.importances
    assert found is not None
    return table_of(
        found.found,
        ("parameter", "text", lambda each: each.name),
        ("share of all", "number", lambda each: percent(each.share)),
        ("95 % interval", "range", lambda each: f"{percent(each.low)} to {percent(each.high)}"),
        title=f"Importances after epoch {found.epoch}",
    )


def _needed_table(summary: Summary) -> Table:
    return table_of(
        summary.search.needed,
        ("arm", "text", lambda each: each.arm),
        ("trials", "number", lambda each: str(each.trials)),
        ("memory, predicted", "number", lambda each: memory_text(each.memory_predicted)),
        ("memory, highest", "number", lambda each: memory_text(each.memory)),
        ("memory off by", "number", lambda each: off_text(each.memory_predicted, each.memory)),
        ("s per epoch, predicted", "number", lambda each: seconds_text(each.epoch_predicted)),
        ("s per epoch, actual", "number", lambda each: seconds_text(each.epoch)),
        ("time off by", "number", lambda each: off_text(each.epoch_predicted, each.epoch)),
        title="Memory of a process and time of an epoch, medians over all trials",
    )


def _trouble_section(summary: Summary) -> Section | None:
    failed = table_of(
        summary.failed,
        ("trial", "number", lambda trial: str(trial.number)),
        ("phase", "text", lambda trial: trial.phase),
        ("arm", "text", lambda trial: trial.arm),
        ("reason", "text", trial_text),
        title="Failed trials",
    )
    skipped = table_of(
        summary.skipped,
        ("level", "text", lambda each: each["label"]),
        ("reason", "text", lambda each: skip_text(each["cause"], each.get("details", {}))),
        title="Not confirmed",
    )
    excluded = table_of(
        summary.excluded,
        ("combination", "text", lambda each: each["label"]),
        ("rule", "text", lambda each: each["rule"]),
        title="Excluded combinations",
    )
    tables = tuple(table for table in (failed, skipped, excluded) if table.rows)
    figures = tuple(failures(summary))
    return Section(title="What is missing", tables=tables, figures=figures) if tables else None


def _decision_section(summary: Summary) -> Section:
    share = f"{100 * (1 - summary.rule.alpha):g} %"
    note = (
        "Fixed before the launch, and kept in the journal. Equivalent: the whole "
        f"{share} interval of the paired difference lies within the smallest difference of "
        f"interest. Better, worse: not that, and the p value of the paired t test, adjusted by "
        f"Holm over the arms, is below {summary.rule.alpha:g}. Inconclusive: neither. Each "
        f"{share} interval holds for itself, not for all together."
    )
    added = (top_up_text(summary.rule),) if summary.rule.looks else ()
    table = pairs_table(_settings(summary), "", "setting")
    return Section(title="How it was decided", paragraphs=(note, *added), tables=(table,))


def _settings(summary: Summary) -> dict[str, str]:
    """What was fixed before the launch, name to text."""
    metric, units, design, rule = (
        summary.metric,
        Units(summary.metric),
        summary.design,
        summary.rule,
    )
    stopping = dict(design.early_stopping)
    scheduler = stopping.pop("scheduler", "none")
    details = ", ".join(f"{key} {text_of(value)}" for key, value in stopping.items())
    references = "the reference of each" if summary.is_matched else "the reference"
    return {
        "primary metric": f"{metric.test}, measured once for each run, after its last epoch",
        "tested weights": tested_weights_text(summary),
        "smallest difference of interest": f"{units.number(rule.smallest_difference)}{units.step}",
        "alpha": f"{rule.alpha:g}",
        "correction": "Holm, over the confirmed arms",
        "seeds": seeds_setting_text(summary),
        "confirmed": "every arm"
        if summary.by == EACH_ARM
        else f"the best arm of each level of {summary.by}, and {references}",
        "chosen by": chosen_text(summary),
        **({} if design.name == DEFAULT else {"design": design.name}),
        "search": (
            f"{design.sampler}, {summary.search.planned} trials, {design.allocation} allocation"
        ),
        "early stopping": f"{scheduler}{f' ({details})' if details else ''}",
        "study seed": str(design.seed),
        "hash of the question": design.space_hash,
        "fingerprint of the data": design.data_fingerprint,
    }


def _training_section(summary: Summary) -> Section:
    return replace(training_section(summary), figures=tuple(attention_by_epoch(summary)))


def _environment_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return text_of(value)


def _environment_section(summary: Summary) -> Section:
    began = moment_text(summary.began_at)
    ended = "no end yet" if summary.ended_at is None else f"ended {moment_text(summary.ended_at)}"
    launches = f"{summary.launches} launch{'es' * (summary.launches != 1)}"
    note = f"Began {began}, {ended}; {launches}, {summary.slots} trials at a time in the last."
    told = {name: _environment_text(value) for name, value in flat(summary.environment).items()}
    table = pairs_table(told, "", "in the last launch")
    return Section(
        title="Where it ran",
        paragraphs=(note,),
        tables=(table,) if table.rows else (),
        figures=tuple(timeline(summary)),
    )


def folder_section(folder: Path, written: Collection[str] = ()) -> Section:
    """What is in a study's folder, with the names that are about to be written, and what to do with it."""
    names = {*os.listdir(folder), *written}
    known = {name: text for name, text in FOLDER_CONTENT.items() if name in names}
    study = shlex.quote(str(_as_typed(folder)))
    commands = (
        ("Open MLflow at the runs of this study", f"python -m karat ui {study}"),
        ("Write this report again", f"python -m karat report {study}"),
    )
    table = pairs_table(known, "in the study's folder", "")
    return Section(title="To look further", tables=(table,), commands=commands)


def _as_typed(path: Path) -> Path:
    """Relative to the working directory if it lies below it."""
    here = Path.cwd()
    absolute = path.resolve()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute
