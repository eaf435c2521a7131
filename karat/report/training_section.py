"""The section of a report that says how trials were trained."""

from collections.abc import Mapping
from typing import Any

from karat.datasets import lines_of
from karat.journal.wording import computed_text
from karat.report.facts.setup import Loading, Setup
from karat.report.facts.summary import Summary
from karat.report.formatting import listed, memory_text, text_of
from karat.report.tables import Section, pairs_table
from karat.training.initial.chosen import Chosen
from karat.training.steps.notes import average_text, shortened_text

_OPTIMISERS = {"adamw": "AdamW", "muon": "Muon, with AdamW for all but the matrices of blocks"}
_SCHEDULES = {
    "cosine": "a cosine to the least learning rate",
    "linear": "a straight line to the least learning rate",
    "tanh": "a hyperbolic tangent to the least learning rate",
    "wsd": "a constant one, which falls to the least within the last fifth",
    "constant": "a constant learning rate",
}


def training_section(summary: Summary) -> Section:
    """Data, model, optimiser, schedule, ranges and lengths, as far as the journal has them."""
    setup, told = summary.setup, {}
    if setup.images:
        told["images"] = ", ".join(f"{count:,} {part}" for part, count in setup.images.items())
    for what, text in lines_of(setup.contents):
        told[f"data, {what}"] = "; ".join(filter(None, (told.get(f"data, {what}"), text)))
    # A mapping has the weights of each arm, which are told below.
    single = {k: value for k, value in setup.settings.items() if not isinstance(value, Mapping)}
    told |= {name: text_of(value) for name, value in single.items()}
    told |= {f"{name} (factor)": _levels(values) for name, values in setup.factors.items()}
    told |= {f"{name} (tuned)": _range(of) for name, of in setup.ranges.items()}
    if setup.steps is not None:
        lengths = [length.epochs for length in summary.lengths if length.epochs]
        told["steps"] = f"{setup.steps} an epoch"
        if lengths:
            steps = listed([f"{setup.steps * n:,} in {n} epochs" for n in lengths])
            told["steps"] += f": {steps} of the confirmation"
    if setup.loading is not None:
        told |= _loading(setup.loading)
    told["optimiser"] = _optimiser(setup)
    ways = dict.fromkeys(computed_text(way) for way in setup.computed)
    if ways:
        told["computed in"] = "; or ".join(ways)
    backends = dict.fromkeys(way["softmax"] for way in setup.computed if "softmax" in way)
    if backends:
        told["softmax attention"] = f"torch's backend {listed(list(backends))}"
    told |= {f"weights from {each['init_from']}": _weights(each) for each in setup.weights}
    if setup.recipes:
        told["recipe"] = listed(setup.recipes)
    return Section(
        title="How it was trained",
        paragraphs=(
            "Settings that all trials share, then what differs between them.",
            *_notes(setup),
        ),
        tables=(pairs_table(told, "setting", "value"),),
    )


def _weights(of: Mapping[str, Any]) -> str:
    """Fingerprint, and what each arm took; arms that took the same in one part."""
    arms: dict[str, list[str]] = {}
    for label, each in of["arms"].items():
        names = [
            f"{what}: {', '.join(each[key])}"
            for key, what in (
                ("resized", "resized"),
                ("fresh", "started anew"),
                ("left_out", "left out"),
            )
            if each[key]
        ]
        arms.setdefault("; ".join([f"{each['taken']} tensors taken", *names]), []).append(label)
    parts = [f"{', '.join(labels)}: {text}" for text, labels in arms.items()]
    chosen = Chosen.of(of)
    why = [str(chosen)] if chosen else []
    return "; ".join([*why, f"sha256 {of['sha256']}", *parts])


def _notes(setup: Setup) -> list[str]:
    """What does not show in the settings."""
    found = []
    if setup.warmup is not None:
        found.append(shortened_text(setup.warmup, setup.settings["training.warmup_epochs"]))
    decay, epochs = (setup.settings.get(f"training.{key}") for key in ("ema_decay", "epochs"))
    if decay and epochs and setup.steps and (text := average_text(decay, setup.steps * epochs)):
        found.append(text)
    return [f"{each[0].upper()}{each[1:]}." for each in found]


def _optimiser(setup: Setup) -> str:
    """Optimiser and schedule; the names of those that are no defaults are in the settings too."""

    def named(key: str, names: Mapping[str, str], default: str) -> str:
        if f"training.{key}" in {*setup.factors, *setup.ranges}:
            return f"{key} as above"
        value = str(setup.settings.get(f"training.{key}", default))
        return names.get(value, value)

    optimiser = named("optimizer", _OPTIMISERS, "adamw")
    if optimiser == "AdamW" and "training.betas" not in {
        *setup.settings,
        *setup.factors,
        *setup.ranges,
    }:
        optimiser += " with betas of 0.9 and 0.999"
    schedule = named("schedule", _SCHEDULES, "cosine")
    averaged = ""
    varied = "training.ema_decay" in {*setup.factors, *setup.ranges}
    if varied or setup.settings.get("training.ema_decay"):
        averaged = "; the moving average of the weights is evaluated"
    return (
        f"{optimiser}; linear warm-up, then {schedule}, both updated every step; the last, "
        f"smaller batch of an epoch is dropped{averaged}"
    )


def _loading(loading: Loading) -> dict[str, str]:
    share = 100 * loading.data_s / loading.step_s
    many = f"medians over {loading.trials} trials, in the first epoch of each"
    of = many if loading.trials > 1 else "one trial, in its first epoch"
    times = f"{1e3 * loading.data_s:.3g} of {1e3 * loading.step_s:.3g} ms"
    told = {"waiting for images": f"{share:.1f} % of a step: {times} ({of})"}
    if loading.map_bytes:
        size = memory_text(loading.map_bytes)
        told["decoded images"] = f"{size} on each node, which its trials share"
    return told


def _levels(values: Any) -> str:
    return ", ".join(map(text_of, values)) if isinstance(values, list | tuple) else text_of(values)


def _range(of: Mapping[str, Any]) -> str:
    if "values" in of:
        return _levels(of["values"])
    scale = ", logarithmic" if of.get("log") else ""
    return f"{text_of(of.get('low'))} to {text_of(of.get('high'))}{scale}"
