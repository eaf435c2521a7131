"""The files of an exported model: weights, settings, and a script that builds it from both."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karat import __version__
from karat.cli.studies.json_output import SCHEMA
from karat.models.timm_modules import ANY_IMAGE_SIZE, module_of

if TYPE_CHECKING:
    from karat.journal.state import StudyState
    from karat.models.config import ModelConfig
    from karat.tracking.models.tested_model import KeptModel

WEIGHTS, SETTINGS, SCRIPT = "model.safetensors", "model.json", "load.py"
FILES = (WEIGHTS, SETTINGS, SCRIPT)
_TEMPLATE = Path(__file__).with_name("load.py.txt")


def exported_files(kept: "KeptModel", state: "StudyState") -> dict[str, bytes]:
    """Name to content of each file.

    Args:
        kept: the model.
        state: of its study.
    """
    from safetensors.torch import save

    # Clones, since blocks that share an operator share its tensors, which the format does not allow.
    tensors = {name: each.clone() for name, each in kept.model.state_dict().items()}
    about = {
        "format": "pt",
        "study": state.created["name"],
        "trial": str(kept.trial.number),
        "arm": kept.trial.arm,
    }
    settings = _settings(kept, state)
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    return {
        WEIGHTS: save(tensors, metadata=about),
        SETTINGS: f"{text}\n".encode(),
        SCRIPT: script(kept, state).encode(),
    }


def _settings(kept: "KeptModel", state: "StudyState") -> dict[str, Any]:
    trial, metric = kept.trial, state.created["metric"]
    test = metric.replace("val_", "test_", 1)
    steps = kept.preprocessing
    sections = {name: dict(values) for name, values in trial.config.items()}
    sections["data"].pop("root", None)  # a path of this machine
    return {
        "kind": "model",
        "schema": SCHEMA,
        "study": state.created["name"],
        "trial": trial.number,
        "phase": trial.phase,
        "arm": trial.arm,
        "factors": dict(trial.factors),
        "tuned": dict(trial.tuned),
        "seed": trial.seed,
        "epoch": kept.epoch,
        "is_tested": trial.tested is not None,
        "weights_sha256": None if trial.tested is None else trial.tested["weights"],
        metric: trial.of_kept_weights(metric),
        test: trial.last(test),
        "settings": sections,
        "image": {"channels": kept.channels, "size": kept.size},
        "preprocessing": None if steps is None else vars(steps),
        "classes": list(kept.classes),
        "versions": {"karat": __version__, **{each: version(each) for each in ("torch", "timm")}},
    }


def script(kept: "KeptModel", state: "StudyState") -> str:
    """A Python script that builds the model, loads its weights and predicts images."""
    trial, steps = kept.trial, kept.preprocessing
    text = _TEMPLATE.read_text()
    registers = kept.config.model.registers
    lines = [f"    model = {_host(kept)}"]
    if not kept.config.attention.is_softmax:
        size = "" if kept.config.model.is_plain else f", image_size={kept.size}"
        lines.append(f"    karat.convert(model, {_plain(trial.config['attention'])!r}{size})")
    for mark, value in {
        "ARM": trial.arm.replace("\\", "\\\\").replace('"', "'"),
        "TRIAL": str(trial.number),
        "STUDY": state.created["name"],
        "VERSION": __version__,
        "REGISTERS": "from karat.models.registers import RegisterTransformer\n" * bool(registers),
        "BUILD": "\n".join(lines),
        "STEPS": "None" if steps is None else repr(steps),
        "CHANNELS": str(kept.channels),
    }.items():
        text = text.replace(f"<{mark}>", value)
    return text


def _host(kept: "KeptModel") -> str:
    """The call that builds the model before its attention is replaced, as `karat.models.hosts` builds it."""
    model: ModelConfig = kept.config.model
    arguments: dict[str, Any] = {
        "img_size": kept.size,
        "in_chans": kept.channels,
        "num_classes": len(kept.classes),
    }
    if not model.is_plain:
        if module_of(model.name) in ANY_IMAGE_SIZE:
            del arguments["img_size"]
        return _call("timm.create_model", [repr(model.name)], arguments | model.given())
    arguments |= model.shape()
    if model.registers:
        return _call("RegisterTransformer", [str(model.registers)], arguments)
    return _call("timm.models.VisionTransformer", [], arguments)


def _call(name: str, first: list[str], arguments: Mapping[str, Any]) -> str:
    return (
        f"{name}({', '.join([*first, *(f'{key}={value!r}' for key, value in arguments.items())])})"
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain
