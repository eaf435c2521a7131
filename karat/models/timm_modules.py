"""Which modules of timm have host models, and why the models of the others are none."""

from collections.abc import Mapping

HOST_MODULES = (
    *("vision_transformer", "deit", "vision_transformer_hybrid", "vitamin"),
    *("convit", "eva", "beit", "vision_transformer_relpos", "vision_transformer_sam", "naflexvit"),
    *("swin_transformer", "swin_transformer_v2", "maxxvit", "pvt_v2", "hiera"),
)
ANY_IMAGE_SIZE = ("pvt_v2",)  # whose models have no argument for it
HOSTS = (
    "ViT, DeiT, ConViT, EVA and DINOv3, BEiT, ViTs with relative positions, SAM's encoder, NaFlex, Swin, Swin v2, "
    "MaxViT and CoAtNet, PVT v2, Hiera"
)
_NO_ATTENTION = "has no attention between tokens"
_REASONS: Mapping[str, str] = {}


def module_of(name: str) -> str:
    """The module of timm that defines a model, without the path."""
    import timm  # takes seconds

    path: str = timm.models.model_entrypoint(name).__module__
    return path.rpartition(".")[2]


def why_no_host(model: type) -> str:
    """Why a model of this class is no host, as a phrase that follows its name."""
    package, _, module = model.__module__.rpartition(".")
    if package != "timm.models":
        return f"is not a supported host. Supported are timm's {HOSTS}"
    return f"{_why(module)}. Supported are timm's {HOSTS}"


def why_not(name: str) -> str | None:
    """Why timm's model of this name is no host; None if it may be, or timm does not know it."""
    import timm

    if not timm.is_model(name) or (module := module_of(name)) in HOST_MODULES:
        return None
    return _why(module)


def _why(module: str) -> str:
    return f"is no host: it {_REASONS.get(module, _NO_ATTENTION)}"
