"""Every name of timm: it is a host, or its refusal says why it is none."""

import importlib
from pathlib import Path
from typing import Any, NoReturn

import pytest
import timm
import torch

from karat.errors import HostError, SettingError
from karat.models import timm_modules
from karat.models.config import ModelConfig
from karat.models.hosts import attention_layers
from karat.models.timm_modules import HOST_MODULES, module_of, why_not
from karat.models.timm_registry import WITHOUT_PLAIN_ATTENTION

# Arguments of size alone: two models that differ in nothing else have the same layout.
SIZES = {
    *("img_size", "patch_size", "embed_dim", "depth", "depths", "num_heads", "mlp_ratio", "mlp_ratios"),
    *("init_values", "embed_dims", "stages", "head_init_scale", "attn_head_dim", "ref_feat_shape"),
    *("class_token", "window_size", "stem_width", "stem_chs", "num_classes", "cfg_variant", "model_cfg"),
    *("pretrained_window_sizes", "feature_cfg", "pretrained_filter_fn", "rope_temperature", "global_pool"),
    *("global_attn_indexes", "fc_norm", "norm_layer", "act_layer", "pre_norm", "final_norm", "mlp_layer"),
    *("drop_rate", "swiglu_mlp", "scale_mlp", "qkv_bias", "no_embed_class", "pretrained_strict"),
}  # fmt: skip


PAGE = Path(__file__).parents[2] / "docs" / "hosts.md"


class _Captured(Exception):
    """Ends the creation of a model before it is built."""


@pytest.fixture(scope="module")
def one_of_each() -> dict[str, set[str]]:
    """For each module of timm with hosts: names that differ in more than sizes, one of each."""
    return {module: set(_kinds(module).values()) for module in HOST_MODULES}


def _kinds(module: str) -> dict[str, str]:
    source = importlib.import_module(f"timm.models.{module}")
    seen: dict[str, str] = {}

    def capture(cls: Any, variant: str, pretrained: bool, **kwargs: Any) -> NoReturn:
        kinds = {key: repr(value) for key, value in kwargs.items() if key not in SIZES}
        if "model_cfg" in kwargs:  # MaxViT and CoAtNet
            cfg = kwargs["model_cfg"]
            kinds["blocks"] = (
                f"{set(cfg.block_type)} {cfg.transformer_cfg.rel_pos_type} {cfg.conv_cfg.block_type}"
            )
        seen.setdefault(f"{cls.__name__} {sorted(kinds.items())}", name)
        raise _Captured

    build = source.build_model_with_cfg
    source.build_model_with_cfg = capture
    try:
        for name in timm.list_models(module=module):
            with torch.device("meta"), pytest.raises(_Captured):
                timm.create_model(name)
    finally:
        source.build_model_with_cfg = build
    return seen


@pytest.fixture(autouse=True)
def _without_initial_values(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("uniform_", "normal_", "erfinv_", "clamp_", "mul_", "add_", "trunc_normal_"):
        # They take nine tenths of the time even on the meta device.
        if hasattr(torch.Tensor, name):
            monkeypatch.setattr(torch.Tensor, name, lambda tensor, *_, **__: tensor)


@pytest.mark.parametrize("module", HOST_MODULES)
def test_every_kind_of_name_is_a_host_or_refused_with_the_reason(
    module: str, one_of_each: dict[str, set[str]]
) -> None:
    for name in one_of_each[module] | {
        each for each in WITHOUT_PLAIN_ATTENTION if module_of(each) == module
    }:
        with torch.device("meta"):
            model = timm.create_model(name)
        if name in WITHOUT_PLAIN_ATTENTION:
            with pytest.raises(HostError, match=r"blocks\.0: \w+ (subtracts|computes|has|attends)"):
                attention_layers(model)
        else:
            layers = attention_layers(model)
            assert layers, name
            assert f"karat_{name}" in timm.list_models("karat_*")


def test_every_module_of_timm_without_hosts_says_why() -> None:
    """A model with attention is not refused as one without."""
    silent = []
    for module in sorted(timm.models._registry._module_to_models):
        if module not in (*HOST_MODULES, "timm_registry"):
            name = min(timm.list_models(module=module), default=None)
            if name is None:
                continue
            with torch.device("meta"):
                model = timm.create_model(name)
            kinds = {type(each).__name__ for each in model.modules()}
            attends = any("Attention" in kind or "Attn" in kind for kind in kinds)
            reason = why_not(name)
            assert reason is not None
            if attends and timm_modules._NO_ATTENTION in reason:
                silent.append((module, sorted(kind for kind in kinds if "Att" in kind)))
    assert not silent


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cait_s24_224", "is no host: it mixes the scores of all heads"),
        ("xcit_tiny_12_p8_224", "is no host: it attends between channels"),
        ("pit_ti_224", "an operator could take its scores, but there is no wrapper"),
        ("resnet18", "is no host: it has no attention between tokens"),
        ("deit_tiny_patch16_225", "did you mean one of these: .*deit_tiny_patch16_224"),
    ],
)
def test_refused_name_says_why(name: str, reason: str) -> None:
    with pytest.raises(SettingError, match=f"name = '{name}': .*{reason}") as caught:
        ModelConfig(name=name)
    assert "\n" not in str(caught.value)


def test_page_of_hosts_counts_all_names() -> None:
    text = PAGE.read_text()
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 7 and cells[3].isdigit():
            found[cells[2]] = int(cells[3])
    modules = [module.strip("`") for each in found for module in each.split(", ")]
    assert sorted(modules) == sorted(HOST_MODULES)
    for each, count in found.items():
        names = {n for m in each.split(", ") for n in timm.list_models(module=m.strip("`"))}
        assert len(names - WITHOUT_PLAIN_ATTENTION) == count, each
    assert f": {sum(found.values())} names of timm {timm.__version__}." in text
