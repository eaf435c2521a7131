"""Registers converted models with timm: `timm.create_model("karat_vit_tiny_patch16_224")`."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import nn

from karat.attention.names import KARAT, has_basis, settings_of_all
from karat.models.convert import convert
from karat.models.loading.hooks import take_host_weights
from karat.models.timm_modules import HOST_MODULES
from karat.models.wrappers.base import HostAttention

# Hosts that `convert` refuses: attention and MLP, or two attentions, in parallel in a block, or differential attention.
WITHOUT_PLAIN_ATTENTION = {
    "maxvit_tiny_pm_256",
    "vit_base_patch16_18x2_224",
    "vit_base_patch16_xp_224",
    "vit_dlittle_patch16_reg1_gap_256",
    "vit_dpwee_patch16_reg1_gap_256",
    "vit_dwee_patch16_reg1_gap_256",
    "vit_huge_patch14_xp_224",
    "vit_large_patch14_xp_224",
    "vit_pwee_patch16_reg1_gap_256",
    "vit_small_patch16_18x2_224",
}


def register(timm: ModuleType) -> None:
    """Add `karat_NAME` to timm's registry for every host model NAME; called after timm's import.

    timm's feature extraction by torch.fx takes converted attention as a whole from then on.
    """
    timm.layers.register_notrace_module(HostAttention)
    # timm looks up an entry point by its name in the module that defines it.
    here = sys.modules[__name__]
    for module in HOST_MODULES:
        for name in timm.list_models(module=module):
            if name not in WITHOUT_PLAIN_ATTENTION:
                entry = _entry_point(name, timm.models.model_entrypoint(name))
                setattr(here, entry.__name__, entry)
                timm.models.register_model(entry)


def _entry_point(name: str, host: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **arguments: Any) -> nn.Module:
        known = settings_of_all()
        settings = {key: arguments.pop(key) for key in list(arguments) if key in known}
        if has_basis(settings.get("mechanism", KARAT)):
            settings = {"basis": "fourier", **settings}

        def converted(model: nn.Module) -> nn.Module:
            convert(model, settings)
            model.register_load_state_dict_pre_hook(take_host_weights)  # type: ignore[no-untyped-call]
            return model

        if arguments.get("features_only"):
            return _features(host, pretrained, arguments, converted)
        return converted(host(pretrained=pretrained, **arguments))

    create.__name__ = create.__qualname__ = f"karat_{name}"
    create.__module__ = __name__
    create.__doc__ = (
        f"timm's `{name}` with KArAt attention. Takes the settings of `karat.AttentionConfig` and "
        "timm's arguments; the default mechanism is karat, and the default basis fourier. "
        "`pretrained` loads the host's weights, and so does a `checkpoint_path` with weights of the host: "
        "the operators stay as they were drawn, with a warning. With `features_only` the host is "
        "converted first."
    )
    return create


def _features(
    host: Callable[..., nn.Module],
    pretrained: bool,
    arguments: dict[str, Any],
    converted: Callable[[nn.Module], nn.Module],
) -> nn.Module:
    """timm's feature extractor of the converted host.

    timm wraps a host as soon as it is built, some of them in parts, in the class that the argument `feature_cls`
    names; a class of our own converts the host in between. Which class timm would take is seen on a model
    without memory.
    """
    own_device = {"device": "meta"} if "device" in arguments else {}
    with torch.device("meta"):
        usual: type[nn.Module] = type(host(pretrained=False, **{**arguments, **own_device}))

    class Features(usual):  # type: ignore[misc,valid-type]
        def __init__(self, model: nn.Module, **more: Any) -> None:
            super().__init__(converted(model), **more)

    made = host(pretrained=pretrained, **{**arguments, "feature_cls": Features})
    made.__class__ = usual  # which can be pickled
    return made
