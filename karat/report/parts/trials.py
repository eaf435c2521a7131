"""The section of a report with all trials: what each was, how far it came, and how it ended."""

from collections.abc import Mapping, Sequence
from typing import Any

from karat.journal.layout import FIGURES, TRIALS_CSV
from karat.report.facts.summary import Summary
from karat.report.formatting import Units, in_unit, short, text_of, tuned_text
from karat.report.tables import Column, Section, table_of

MOST_COLUMNS = 4  # tuned parameters that get a column each
Told = Mapping[str, Any]  # a trial, as `karat.report.document` has it


def trials_section(summary: Summary, trials: Sequence[Told]) -> Section | None:
    """A row for each trial, in the order in which they were asked for; None without trials.

    Args:
        summary: of the study.
        trials: of its document.
    """
    if not trials:
        return None
    units = Units(summary.metric)
    names = list(dict.fromkeys(name for each in trials for name in _tuned(each, summary)))
    tested: list[Column[Told]] = []
    if any(each["test"] is not None for each in trials):
        tested = [(f"test{in_unit(units.unit)}", "number", lambda each: units.number(each["test"]))]
    table = table_of(
        trials,
        ("trial", "number", lambda each: str(each["trial"])),
        ("phase", "text", lambda each: each["phase"]),
        ("arm", "text", lambda each: each["arm"]),
        ("seed", "number", lambda each: str(each["seed_index"])),
        *_settings(names, summary),
        ("epochs", "number", _epochs),
        (
            f"best validation{in_unit(units.unit)}",
            "number",
            lambda each: units.number(each["best_validation"]),
        ),
        *tested,
        ("seconds", "number", lambda each: f"{each['seconds']:.1f}"),
        ("how it ended", "text", end_text),
        trials=[each["trial"] for each in trials],
        elsewhere=f"{FIGURES}/{TRIALS_CSV}",
    )
    note = (
        "Each trial with its tuned settings. Best validation is over all of its epochs; the test split is evaluated "
        f"by runs of the confirmation alone. With every setting and metric: {FIGURES}/{TRIALS_CSV}."
    )
    return Section(title="All trials", paragraphs=(note,), tables=(table,))


def _tuned(told: Told, summary: Summary) -> dict[str, Any]:
    names = summary.setup.ranges or told["settings"]
    return {name: told["settings"][name] for name in names if name in told["settings"]}


def _settings(names: Sequence[str], summary: Summary) -> list[Column[Told]]:
    """A column for each tuned parameter, or one for all of them."""
    if len(names) > MOST_COLUMNS:
        return [("tuned", "text", lambda each: tuned_text(_tuned(each, summary)))]

    def column(name: str) -> Column[Told]:
        return (short(name), "number", lambda each: text_of(each["settings"].get(name)))

    return [column(name) for name in names]


def _epochs(told: Told) -> str:
    done, planned = told["epochs"], told["epochs_planned"]
    return str(done) if done == planned else f"{done} of {planned}"


def end_text(told: Told) -> str:
    """How a trial ended, in words; how it stands where it has no end."""
    text: str = told["status"]
    if told["reason"]:
        text = told["reason"] if text == "stopped" else f"{text}: {told['reason']}"
    if told["cause"] == "finished_anyway":
        text += "; early stopping would have stopped it"
    return f"{text}; set aside by an extension" if told["set_aside"] else text
