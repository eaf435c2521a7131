"""What MLflow shows of a trial: the name of its run, its parameters and its costs."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

from karat.journal.trial import Trial
from karat.settings import flat
from karat.training.recipes import DEFAULT, with_recipe

_PARAM_LENGTH = 6000
_PHASES = {"search": "Search", "shortlist": "Shortlist", "confirm": "Confirmation"}


def status_of(trial: Trial, over: bool) -> str:
    """Value of a trial's tag `karat.status`; `over` if no trial of the study can be running."""
    if trial.ended:
        return "stopped early" if trial.status == "stopped" else trial.status
    return "interrupted" if over else "running"


def run_name(trial: Trial) -> str:
    """Name of a run: `0007 fourier grid_size=3`, `confirm 0040 fourier grid_size=3 seed 2`; or `shortlist`."""
    name = f"{trial.number:04d} {trial.arm}"
    if trial.phase == "search":
        return name
    length = f", {trial.budget} times the epochs" if trial.budget > 1 else ""
    return f"{trial.phase} {name} seed {trial.seed_index}{length}"


def trial_note(trial: Trial) -> str:
    """A trial in one line."""
    seed = f", seed {trial.seed_index}" if trial.phase != "search" else ""
    length = f", {trial.budget} times the epochs" if trial.budget > 1 else ""
    tuned = ", ".join(f"{name} {_short(value)}" for name, value in trial.tuned.items())
    return f"{_PHASES[trial.phase]} of `{trial.arm}`{seed}{length}. {tuned}".rstrip()


def trial_metrics(trial: Trial, arms: list[Mapping[str, Any]]) -> dict[str, float]:
    """What a trial cost: parameters, million multiply-adds of one image, seconds of training."""
    of_arm: Mapping[str, Any] = next((arm for arm in arms if arm["label"] == trial.arm), {})
    found = {"parameters": of_arm.get("parameters"), "mmacs": of_arm.get("flops")}
    costs = {name: float(value) for name, value in found.items() if value is not None}
    if "mmacs" in costs:
        costs["mmacs"] /= 1e6
    return costs | {"train_seconds": trial.seconds}


def trial_params(trial: Trial, recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The configuration with dotted names (`training.learning_rate`), and seed, arm, phase, epochs.

    Args:
        trial: whose parameters.
        recipes: name to settings, as the journal has them; what the trial leaves to its recipe is
            written out.
    """
    own = {"seed": trial.seed, "arm": trial.arm, "phase": trial.phase, "epochs": trial.epochs}
    training = trial.config.get("training", {})
    left = recipes.get(training.get("recipe", DEFAULT), {})
    return params_of(
        {**own, **trial.config, "training": {**training, **with_recipe(training, left)}}
    )


def params_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Nested mappings as MLflow parameters: dotted names to text, truncated to MLflow's limit."""
    return {name: str(value)[:_PARAM_LENGTH] for name, value in flat(values).items()}


def config_text(trial: Trial) -> str:
    """The configuration as YAML, section by section."""
    return "".join(_yaml_of(json.dumps({name: part})) for name, part in trial.config.items())


@lru_cache(maxsize=1024)  # the trials of an arm differ in the tuned section alone
def _yaml_of(section: str) -> str:
    """A section in JSON as YAML; libyaml, where PyYAML has it, writes it in a quarter of the time."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(json.loads(section), Dumper=dumper, sort_keys=False)
    return text


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
