"""The section of a report that says how trials were trained."""

from collections.abc import Mapping
from typing import Any

from karat.datasets import lines_of
from karat.report.facts.summary import Summary
from karat.report.formatting import listed, text_of
from karat.report.tables import Section, pairs_table

OPTIMISER = (
    "AdamW; linear warm-up, then a cosine to the least learning rate, both updated every step; the last, "
    "smaller batch of an epoch is dropped"
)


def training_section(summary: Summary) -> Section:
    """Data, model, optimiser, schedule, ranges and lengths, as far as the journal has them."""
    setup, told = summary.setup, {}
    if setup.images:
        told["images"] = ", ".join(f"{count:,} {part}" for part, count in setup.images.items())
    for what, text in lines_of(setup.contents):
        told[f"data, {what}"] = "; ".join(filter(None, (told.get(f"data, {what}"), text)))
    told |= {name: text_of(value) for name, value in setup.settings.items()}
    told |= {f"{name} (factor)": _levels(values) for name, values in setup.factors.items()}
    told |= {f"{name} (tuned)": _range(of) for name, of in setup.ranges.items()}
    if setup.steps is not None:
        lengths = [length.epochs for length in summary.lengths if length.epochs]
        told["steps"] = f"{setup.steps} an epoch"
        if lengths:
            steps = listed([f"{setup.steps * n:,} in {n} epochs" for n in lengths])
            told["steps"] += f": {steps} of the confirmation"
    told["optimiser"] = OPTIMISER
    if setup.recipes:
        told["recipe"] = listed(setup.recipes)
    return Section(
        title="How it was trained",
        paragraphs=("Settings that all trials share, then what differs between them.",),
        tables=(pairs_table(told, "setting", "value"),),
    )


def _levels(values: Any) -> str:
    return ", ".join(map(text_of, values)) if isinstance(values, list | tuple) else text_of(values)


def _range(of: Mapping[str, Any]) -> str:
    if "values" in of:
        return _levels(of["values"])
    scale = ", logarithmic" if of.get("log") else ""
    return f"{text_of(of.get('low'))} to {text_of(of.get('high'))}{scale}"
