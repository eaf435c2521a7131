"""Finds the weights that `model.init_from` names: a trial of a study, a safetensors file, or timm's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from karat.errors import CheckpointError, DataError, InputError
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.models.config import SAFETENSORS, TIMM
from karat.training.initial.source import Source, read_safetensors

_EXPORTED = "model.json"  # beside the weights that `karat export` writes


class MissingWeightsError(InputError):
    """There are no weights where the space says; a study that has a copy can go on."""


def find(text: str, storage: Path) -> Source:
    """The weights that a space names.

    Args:
        text: as `model.init_from` has it.
        storage: folder of all studies, in which one is looked up by name.

    Raises:
        MissingWeightsError: there are none; says what is there.
        InputError: they cannot be used.
    """
    try:
        if text.startswith(TIMM):
            return _of_timm(text)
        if text.endswith(SAFETENSORS):
            return _of_file(text)
        return _of_trial(text, storage)
    except CheckpointError as error:
        raise InputError(f"model.init_from = {text}: {error}") from error


def study_of(text: str, storage: Path) -> Path:
    """The folder of the study that `STUDY/...` names.

    Args:
        text: as `model.init_from` has it.
        storage: folder of all studies, in which one is looked up by name.

    Raises:
        MissingWeightsError: there is no such study.
    """
    name = text.rpartition("/")[0]
    places = (Path(name).expanduser(), storage / name)
    folder = next((each for each in places if (each / JOURNAL).is_file()), None)
    if folder is None:
        raise MissingWeightsError(
            f"model.init_from = {text}: there is no study {name}, neither as a folder nor in {storage}"
        )
    return folder


def _of_trial(text: str, storage: Path) -> Source:
    from karat.tracking.models.tested_model import kept_model

    folder = study_of(text, storage)
    number = text.rpartition("/")[2]
    state = StudyState.of(read_events(folder / JOURNAL))
    trial = state.trials.get(int(number))
    if trial is None:
        known = f"it has 0 to {len(state.trials) - 1}" if state.trials else "it has none yet"
        raise InputError(f"model.init_from = {text}: {folder} has no trial {number}; {known}")
    if trial.status != "completed":
        rule = "only completed trials keep weights to start from"
        raise InputError(f"model.init_from = {text}: trial {number} is {trial.status}; {rule}")
    try:
        kept = kept_model(folder, state, trial)
    except DataError as error:
        raise InputError(f"model.init_from = {text}: its images are needed: {error}") from error
    shape = {
        "image_size": kept.size,
        "channels": kept.channels,
        "classes": len(kept.classes),
    }
    return Source(
        text=text,
        state=dict(kept.model.state_dict()),
        settings=_settings(trial.config, shape),
    )


def _of_file(text: str) -> Source:
    path = Path(text).expanduser()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise MissingWeightsError(
            f"model.init_from = {text}: {what} (looked for {path.absolute()})"
        )
    state, _ = read_safetensors(path)
    return Source(text=text, state=state, settings=_exported(path))


def _exported(path: Path) -> dict[str, Any] | None:
    """The settings beside the weights that `karat export` wrote; None beside others."""
    beside = path.with_name(_EXPORTED)
    if path.stem != beside.stem or not beside.is_file():
        return None
    try:
        told = json.loads(beside.read_text(encoding="utf-8"))
        shape = {
            "image_size": told["image"]["size"],
            "channels": told["image"]["channels"],
            "classes": len(told["classes"]),
        }
        return _settings(told["settings"], shape)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{beside}: is not what `karat export` writes ({error})") from error


def _settings(sections: Mapping[str, Any], shape: Mapping[str, int]) -> dict[str, Any]:
    model = {key: value for key, value in sections["model"].items() if key != "init_from"}
    return {"model": model, "attention": dict(sections["attention"]), "shape": dict(shape)}


def _of_timm(text: str) -> Source:
    import timm

    name = text.removeprefix(TIMM)
    if not timm.is_model(name):
        raise InputError(f"model.init_from = {text}: timm has no model {name}")
    if not timm.is_model_pretrained(name):
        raise InputError(f"model.init_from = {text}: timm has no pretrained weights of {name}")
    try:
        model = timm.create_model(name, pretrained=True)
    # Beside errors of the network and the file system timm raises RuntimeError for an unknown tag.
    except (OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise MissingWeightsError(
            f"model.init_from = {text}: the weights are not in the cache of Hugging Face on this machine "
            "(HF_HOME), and karat downloads nothing unless it is asked to: HF_HUB_OFFLINE=0 in the "
            f"environment of the launch allows it, once ({said})"
        ) from error
    return Source(text=text, state=dict(model.state_dict()))
