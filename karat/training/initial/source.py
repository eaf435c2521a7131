"""Weights that a model can start from, and the copy of them in a study's folder.

A study keeps its own copy of every weights it starts from, so that it resumes, and its trials can be trained again,
after the originals were moved or deleted. Copies are safetensors files, which hold numbers and text only; the text
says where the weights are from, their fingerprint, and the settings of their model where those are known.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from karat.attention.config import AttentionConfig
from karat.errors import CheckpointError, CombinationError, InputError
from karat.models.config import ModelConfig
from karat.settings import build
from karat.system.files import replace_file

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Source:
    """Weights with what is known of their model.

    Args:
        text: as `model.init_from` names them.
        state: name to value, on the CPU.
        settings: sections `model` and `attention`, and `shape` (image_size, channels, classes) of their model; None
            where they are not known, as for weights of another program.
    """

    text: str
    state: "Mapping[str, Tensor]"
    settings: Mapping[str, Any] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of names, types, shapes and values: the same wherever the weights lie."""
        from karat.training.evaluation import sha256_of_weights

        return sha256_of_weights(self.state)

    def model(self) -> "nn.Module | None":
        """The model with these weights; None where its settings are not known.

        Raises:
            InputError: the settings are not those of the weights, or this version does not know them.
        """
        if self.settings is None:
            return None
        from karat.models.build import build_model

        model = build_model(
            build(ModelConfig, self.settings["model"], "model"),
            AttentionConfig.from_settings(self.settings["attention"]),
            seed=0,  # without effect: all weights are replaced
            **self.settings["shape"],
        )
        try:
            model.load_state_dict(dict(self.state))
        except (CombinationError, KeyError, RuntimeError) as error:
            said = " ".join(str(error).split())
            raise InputError(
                f"{self.text}: the weights do not fit their settings ({said})"
            ) from error
        return model

    def keep(self, folder: Path) -> None:
        """Write the copy of a study into its folder of weights; does nothing where it is there already."""
        from safetensors.torch import save

        path = place_of(folder, self.text)
        if path.is_file() and fingerprint_of(path) == self.fingerprint:
            return
        about = {
            "init_from": self.text,
            "sha256": self.fingerprint,
            "settings": json.dumps(self.settings),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        # Clones, since the format does not allow tensors that share memory.
        replace_file(path, save({k: v.clone() for k, v in self.state.items()}, metadata=about))

    @classmethod
    def kept(cls, folder: Path, text: str) -> Self:
        """The copy in a study's folder of weights.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        path = place_of(folder, text)
        state, about = read_safetensors(path)
        settings = json.loads(about.get("settings", "null"))
        found = cls(text=text, state=state, settings=settings)
        if about.get("sha256") != found.fingerprint:
            raise CheckpointError(f"{path}: damaged (its sha256 differs from the one noted in it)")
        return found


def place_of(folder: Path, text: str) -> Path:
    """The copy of the weights that `model.init_from` names so, in a study's folder of weights."""
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"


def fingerprint_of(path: Path) -> str:
    """The fingerprint noted in a copy; empty if it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get("sha256", ""))
    except (SafetensorError, OSError):
        return ""


def read_safetensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Tensors and the text beside them.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            return state, dict(file.metadata() or {})
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: is missing") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is no readable safetensors file ({error})") from error
