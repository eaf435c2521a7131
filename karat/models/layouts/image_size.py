"""The image size of models that do not hold it themselves: NaFlex and PVT take images of any size."""

from typing import Any

from torch import nn

from karat.errors import HostError

_ATTRIBUTE = "karat_image_size"


def note_image_size(model: nn.Module, image_size: int) -> None:
    """Note on the model for which images its operators are made."""
    setattr(model, _ATTRIBUTE, image_size)


def image_size_of(model: Any) -> tuple[int, int]:
    """Height and width in pixels: as noted, else those for which timm publishes the model.

    Raises:
        HostError: neither is known.
    """
    noted = getattr(model, _ATTRIBUTE, None)
    if noted is not None:
        return noted, noted
    published = (getattr(model, "pretrained_cfg", None) or {}).get("input_size")
    if published is None:
        raise HostError(
            f"{type(model).__name__} takes images of any size, so the number of tokens is not known; "
            "karat.convert(model, settings, image_size=224)"
        )
    return published[1], published[2]
