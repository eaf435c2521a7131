"""Settings that travel with weights, since a function is more than the shapes of its parameters.

A state dict that says only shapes loads into any module with the same shapes: the coefficients of a Morlet
wavelet into a Mexican hat, in silence. So a module writes down what its weights mean, in torch's extra state: JSON
as a tensor of bytes, which `torch.load(weights_only=True)`, safetensors, FSDP and timm's helpers take for a weight.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from karat.errors import CombinationError

ENTRY = "_extra_state"  # torch's name for it, after the name of the module
V = TypeVar("V")


class CarriesSettings(nn.Module):
    """A module whose state dict has the settings that its function depends on.

    Weights of other settings are refused before any of them is taken, with both settings. Weights without
    settings, as versions before had them, are taken as they were.
    """

    def carried(self) -> Mapping[str, Any]:
        """The settings, each a value of JSON; one whose absence means its default may be added later."""
        raise NotImplementedError(type(self).__name__)

    def defaults(self) -> Mapping[str, Any]:
        """What a setting was before it existed, by name."""
        return {}

    def get_extra_state(self) -> Tensor:
        """The settings as bytes, of shape (length,) on the CPU; a new tensor each time."""
        text = json.dumps(self.carried(), sort_keys=True).encode()
        return torch.tensor(list(text), dtype=torch.uint8, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Does nothing: the settings are those the module was made with, and others were refused."""

    def refuse_others(self, state: Mapping[str, Any], prefix: str) -> None:
        """Refuse weights of other settings.

        Args:
            state: name to value.
            prefix: of this module's names in it, empty or ending in a dot.

        Raises:
            CombinationError: with the name of the module and both settings.
        """
        noted = state.get(prefix + ENTRY)
        if noted is None or noted.is_meta:  # nothing to read
            return
        where = prefix.removesuffix(".") or type(self).__name__
        found = differences(_read(noted, where), self.carried(), self.defaults())
        if found:
            what = "; ".join(
                f"{key} is {a} in the weights, {b} in the model" for key, a, b in found
            )
            raise CombinationError(
                tuple(key for key, *_ in found),
                f"{where}: these are the weights of another function: {what}; convert the model with the "
                "settings of the weights",
            )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *more: Any, **named: Any
    ) -> None:
        self.refuse_others(state_dict, prefix)
        # Older weights have no settings, which strict loading would call a missing key.
        state_dict.setdefault(prefix + ENTRY, self.get_extra_state())
        super()._load_from_state_dict(state_dict, prefix, *more, **named)


def is_setting(name: str) -> bool:
    """Whether an entry of a state dict is settings and no weight."""
    return name == ENTRY or name.endswith(f".{ENTRY}")


def weights_of(state: Mapping[str, V]) -> dict[str, V]:
    """The entries of a state dict that are weights."""
    return {name: value for name, value in state.items() if not is_setting(name)}


def differences(
    noted: Mapping[str, Any], own: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Settings that differ: name, value with the weights, value of the model.

    Where mechanism, heads or basis differ, the settings below them are left out.

    Args:
        noted: settings noted with weights.
        own: settings of a module.
        defaults: values of settings that the note does not have, since they did not exist.
    """
    for key in ("heads", "mechanism", "basis"):
        before, after = noted.get(key, _ABSENT[key]), own.get(key, _ABSENT[key])
        if before != after:
            return [(f"attention.{key}", before, after)]
    found = []
    for key in sorted(noted.keys() | own.keys()):
        before = noted.get(key, defaults.get(key, "unknown"))
        after = own.get(key, "unknown to this version")
        # A shared operator is in the state dict once for each block: it serves blocks with their own, too.
        is_spread = key == "block_sharing" and after == "blockwise"
        if before != after and not is_spread:
            found.append((f"attention.{key}", before, after))
    return found


_ABSENT = {"heads": "all", "mechanism": "several", "basis": None}


def _read(noted: Tensor, where: str) -> dict[str, Any]:
    try:
        # Whole numbers of any type: tools that average or convert weights do so with all of them.
        values = noted.detach().double().round().to(torch.uint8).tolist()
        found: dict[str, Any] = json.loads(bytes(values))
        if isinstance(found, dict):
            return found
        problem = "it is no mapping"
    except (ValueError, TypeError) as error:
        problem = " ".join(str(error).split())
    raise CombinationError(
        ("attention",),
        f"{where}.{ENTRY}: the settings of the weights cannot be read ({problem}); without this entry "
        "weights are taken whatever their settings were",
    )
