"""The settings of a vision transformer: its size or timm's name, and its shape."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from karat.errors import CombinationError, SettingError
from karat.models.timm_modules import HOST_MODULES, HOSTS, why_not
from karat.settings import above, at_least, at_most

# The shapes of timm's tiny, small and base; vit_micro is karat's, for images of 8 x 8 pixels.
SIZES: Mapping[str, Mapping[str, int]] = {
    "vit_micro": {"patch_size": 2, "embed_dim": 48, "depth": 4, "num_heads": 3},
    "vit_tiny": {"patch_size": 16, "embed_dim": 192, "depth": 12, "num_heads": 3},
    "vit_small": {"patch_size": 16, "embed_dim": 384, "depth": 12, "num_heads": 6},
    "vit_base": {"patch_size": 16, "embed_dim": 768, "depth": 12, "num_heads": 12},
}
_TIMM_NAME = re.compile(r"(vit_(?:tiny|small|base))_patch(\d+)_(\d+)")
_SHAPE = ("patch_size", "embed_dim", "depth", "num_heads")
# Far above any model. Even to compute the shape of a larger one could take all memory.
_MOST = {"patch_size": 4096, "embed_dim": 65536, "depth": 1000, "num_heads": 1024}
_MOST_REGISTERS = 4096
SCRATCH, OWN = "scratch", "own"
TIMM = "timm:"  # before a name: timm's pretrained weights
SAFETENSORS = ".safetensors"
SAME_ARM = (
    "/same arm"  # after a study: the weights of the arm there that has the same model and attention
)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Size and shape of a vision transformer; fields that are None follow from the name.

    Args:
        name: a size (`vit_tiny`), or timm's name of a host, as listed in docs/hosts.md
            (`swin_tiny_patch4_window7_224`); the image size comes from the data.
        patch_size: pixels along an edge of a patch; divides the image size.
        embed_dim: width; a multiple of `num_heads`. In timm's definition: per head for ConViT, of
            the first stage for Swin and Hiera; MaxViT and PVT v2 have none of these four.
        depth: number of blocks, 1 to 1,000.
        num_heads: heads per block; divides the width.
        registers: number of register tokens (arXiv 2309.16588), for sizes and timm's plain ViTs.
        pos_embed_std: standard deviation with which the position embedding starts, for sizes and
            timm's plain ViTs; None is timm's 0.02. The draws are the same, only scaled.
        weight_init: timm's scheme for the initial weights, of sizes and timm's plain ViTs: `jax` or
            `moco` (Xavier: the standard deviation follows from the width, in `jax` with a classifier
            of zeros); None is timm's default, a standard deviation of 0.02 at every width. That is
            small for narrow models: a width of 48 has 0.14 by Xavier.
        init_from: the weights that training starts from: `scratch`; `STUDY/TRIAL`, the weights that this trial
            of a study keeps (a name in the same storage, or a folder, and a number); `STUDY/same arm`, for each arm
            those of the arm of a completed study that has the same model and attention, of its confirmed seeds the one
            with the best validation value; a `.safetensors` file; or
            `timm:NAME`, timm's pretrained weights from the cache of Hugging Face, which are downloaded only with
            `HF_HUB_OFFLINE=0`. Another number of tokens or classes fits, and softmax weights fit an operator. A fixed
            value may also be a mapping, with one of these for the label of each arm; `STUDY/same arm` is made into one
            at the launch.
        attention_from: whose attention the model has: its `own`, or that of `STUDY/TRIAL`, frozen, with queries, keys
            and operator of that model, while values and everything else are trained (attention transfer,
            arXiv 2411.09702). For sizes and timm's plain ViTs with softmax, and as many blocks, heads and tokens.
            Parameters and operations in plan and report are those of the model with its own attention.
    """

    name: str = "vit_micro"
    patch_size: int | None = None
    embed_dim: int | None = None
    depth: int | None = None
    num_heads: int | None = None
    registers: int = 0
    pos_embed_std: float | None = None
    weight_init: Literal["jax", "moco"] | None = None
    init_from: str = SCRATCH
    attention_from: str = OWN

    def __post_init__(self) -> None:
        if not self.is_plain and self.name not in (known := _timm_names()):
            if (reason := why_not(self.name)) is not None:
                raise SettingError("name", f"{reason}. Hosts are timm's {HOSTS}", self.name)
            raise SettingError("name", f"unknown. {_nearest_model(self.name, known)}", self.name)
        for key in _SHAPE:
            at_least(key, getattr(self, key), 1)
            at_most(key, getattr(self, key), _MOST[key])
        if (rule := _why_no_weights(self.init_from)) is not None:
            raise SettingError("init_from", rule, self.init_from)
        if self.attention_from != OWN and not _is_trial(self.attention_from):
            rule = f"must be {OWN}, or STUDY/TRIAL, where TRIAL is a number"
            raise SettingError("attention_from", rule, self.attention_from)
        at_least("registers", self.registers, 0)
        at_most("registers", self.registers, _MOST_REGISTERS)
        above("pos_embed_std", self.pos_embed_std, 0)
        for key in ("registers", "pos_embed_std", "weight_init"):
            if (value := getattr(self, key)) and not self.is_plain:
                raise SettingError(
                    key,
                    f"does not exist for model.name: {self.name}; plain ViTs with a class token "
                    f"have it: {', '.join(SIZES)}, and timm's names such as vit_tiny_patch16_224",
                    value,
                )

    @property
    def is_plain(self) -> bool:
        """Whether the model is a plain ViT, whose shape is known without importing timm."""
        return self.name in SIZES or _TIMM_NAME.fullmatch(self.name) is not None

    def given(self) -> dict[str, int]:
        """The fields of the shape that are not None."""
        return {key: value for key in _SHAPE if (value := getattr(self, key)) is not None}

    def shape(self) -> dict[str, int]:
        """patch_size, embed_dim, depth and num_heads of a plain ViT.

        Raises:
            CombinationError: the number of heads does not divide the width.
        """
        timm_name = _TIMM_NAME.fullmatch(self.name)
        shape = dict(SIZES[timm_name.group(1) if timm_name else self.name])
        if timm_name:
            shape["patch_size"] = int(timm_name.group(2))
        shape.update(self.given())
        if shape["embed_dim"] % shape["num_heads"]:
            raise CombinationError(
                ("model.num_heads", "model.embed_dim"),
                f"model.num_heads = {shape['num_heads']} does not divide "
                f"model.embed_dim = {shape['embed_dim']}",
            )
        return shape

    def grid(self, image_size: int) -> int:
        """Patches along an edge of the image, of a plain ViT.

        Raises:
            CombinationError: the patch size does not divide the image size.
        """
        patch = self.shape()["patch_size"]
        if image_size % patch:
            raise CombinationError(
                ("model.patch_size", "data.image_size", "model.name"),
                f"model.patch_size = {patch} does not divide the image size {image_size}",
            )
        return image_size // patch


def _why_no_weights(text: str) -> str | None:
    """What is wrong with `init_from` as a text, as a rule; None if nothing is."""
    known = f"{SCRATCH}, STUDY{SAME_ARM}, STUDY/TRIAL, a file NAME{SAFETENSORS}, or {TIMM}NAME"
    if text.endswith(SAME_ARM) and text != SAME_ARM:
        return None
    if text == SCRATCH or text.endswith(SAFETENSORS) or (text.startswith(TIMM) and text != TIMM):
        return None
    return None if _is_trial(text) else f"must be one of {known}, where TRIAL is a number"


def _is_trial(text: str) -> bool:
    study, _, trial = text.rpartition("/")
    return bool(study) and trial.isdecimal()


def _timm_names() -> list[str]:
    import timm

    return [name for module in HOST_MODULES for name in timm.list_models(module=module)]


def _nearest_model(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, [*SIZES, *known], n=3, cutoff=0.5)
    hint = f"did you mean one of these: {', '.join(close)}? " if close else ""
    return (
        f"{hint}Known: {', '.join(SIZES)}, and timm's names of {HOSTS} "
        f"({len(known)}, as timm.list_models() gives them)"
    )
