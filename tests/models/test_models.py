"""Conversion of every supported host model."""

import copy
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import timm
import torch
from torch import Tensor, nn

import karat
from karat.attention.config import AttentionConfig
from karat.attention.heads import HeadParts
from karat.attention.operator import Operator
from karat.errors import InputError, KernelError, SettingError
from karat.models.build import build_model
from karat.models.config import ModelConfig
from karat.models.convert import convert, kernels_of
from karat.models.hosts import attention_layers, build_host, is_converted
from karat.models.shape import check_model, layer_shapes
from tests.marks import further

FOURIER: dict[str, Any] = {"basis": "fourier", "rank": 4, "grid_size": 2}
TINY: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 3}


def vit(**more: Any) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(**{**TINY, "depth": 3, "num_classes": 5, **more})


def deit(**more: Any) -> nn.Module:
    from timm.models.deit import VisionTransformerDistilled

    return VisionTransformerDistilled(**{**TINY, "depth": 2, "num_classes": 5, **more})


def convit(**more: Any) -> nn.Module:
    small = {**TINY, "embed_dim": 8, "depth": 4, "local_up_to_layer": 2, "num_classes": 5}
    return timm.create_model("convit_tiny", **{**small, **more})


def swin(**more: Any) -> nn.Module:
    small = {"img_size": 32, "window_size": 4, "embed_dim": 12, "num_classes": 5}
    stages = {"depths": (2, 2), "num_heads": (2, 4)}
    return timm.create_model("swin_tiny_patch4_window7_224", **{**small, **stages, **more})


HOSTS: dict[str, Callable[[], nn.Module]] = {
    "vit": vit,
    "vit without a class token": lambda: vit(class_token=False, global_pool="avg"),
    "vit with registers": lambda: vit(reg_tokens=4),
    "vit with qk_norm": lambda: vit(qk_norm=True, scale_attn_norm=True),
    "vit with layer scale": lambda: vit(init_values=1e-2, no_embed_class=True),
    "deit": deit,
    "convit": convit,
    "swin": swin,
}


def shared_names(model: nn.Module) -> dict[str, Tensor]:
    return {k: v for k, v in model.state_dict().items() if ".attn.operator." not in k}


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("host", HOSTS)
def test_weights_of_other_modules_stay_bit_for_bit(host: str) -> None:
    model = HOSTS[host]()
    before = copy.deepcopy(model.state_dict())
    assert convert(model, FOURIER) is model
    after = shared_names(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert model(images()).shape == (2, 5)


@pytest.mark.parametrize("host", HOSTS)
def test_gradients_reach_every_trainable_parameter(host: str) -> None:
    model = convert(HOSTS[host](), {**FOURIER, "gated_blocks": True, "base_activation": "silu"})
    model(images()).square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize(
    ("host", "settings", "converted"),
    [
        ("vit", {"blocks": "late"}, [2]),
        ("vit", {"blocks": [0, 2]}, [0, 2]),
        ("convit", {}, [2, 3]),
        ("convit", {"gated_blocks": True}, [0, 1, 2, 3]),
        ("convit", {"blocks": [0, 3], "gated_blocks": True}, [0, 3]),
        ("swin", {"blocks": "early"}, [0, 1]),
    ],
)
def test_only_the_chosen_blocks_are_converted(
    host: str, settings: dict[str, Any], converted: list[int]
) -> None:
    model = convert(HOSTS[host](), {**FOURIER, **settings})
    assert [
        i for i, layer in enumerate(attention_layers(model)) if is_converted(layer)
    ] == converted


def test_hybrid_heads_keep_softmax_exactly() -> None:
    host = vit(depth=1).eval()
    attention = copy.deepcopy(host.blocks[0].attn)  # type: ignore[index,union-attr]
    model = convert(host, {**FOURIER, "heads": [1]})
    x, seen = torch.randn(2, 17, 24), {}
    for name, module in (("softmax", attention), ("mixed", model.blocks[0].attn)):  # type: ignore[index,union-attr]
        module.proj = nn.Identity()
        seen[name] = module(x).unflatten(-1, (3, 8))
    torch.testing.assert_close(seen["mixed"][:, :, [0, 2]], seen["softmax"][:, :, [0, 2]])
    assert not torch.allclose(seen["mixed"][:, :, 1], seen["softmax"][:, :, 1])


@pytest.mark.parametrize("host", ["vit", "convit"])
def test_universal_sharing_is_one_operator_for_all_blocks(host: str) -> None:
    model = convert(HOSTS[host](), {**FOURIER, "block_sharing": "universal"})
    assert len({id(m) for m in model.modules() if isinstance(m, Operator)}) == 1


def test_universal_operator_with_shared_heads_serves_blocks_with_different_head_counts() -> None:
    model = convert(swin(), {**FOURIER, "block_sharing": "universal", "head_sharing": "shared"})
    assert len({id(m) for m in model.modules() if isinstance(m, Operator)}) == 1
    assert model(images()).shape == (2, 5)


def test_rank_and_grid_size_may_differ_by_block_and_by_head() -> None:
    settings = {
        "basis": "fourier",
        "rank_per_block": [2, 4, 17],
        "grid_size_per_head": [1, 3, 1],
    }
    model = convert(vit(), settings)
    parts = [layer.block.attn.operator for layer in attention_layers(model)]
    assert all(isinstance(each, HeadParts) for each in parts)
    assert [p.operators[0].phi.coefficients["cos"].shape for p in parts] == [
        (2, rank, 17, 1) for rank in (2, 4, 17)
    ]
    assert parts[0].operators[1].phi.coefficients["cos"].shape == (1, 2, 17, 3)


def test_swin_with_softmax_instead_of_the_operator_is_unchanged() -> None:
    """Bias, scale and layout stay Swin's: with softmax instead of the operator nothing changes."""
    model, x = swin().eval(), images()
    wanted = model(x)
    convert(model, {**FOURIER, "heads": [0]})
    for layer in attention_layers(model):
        operator = layer.block.attn.operator
        operator.heads, operator.order = (
            [list(range(layer.num_heads))],
            list(range(layer.num_heads)),
        )
        operator.operators = operator.operators[1:]  # softmax's
    torch.testing.assert_close(model(x), wanted)


def test_shifted_windows_do_not_attend_across_the_border() -> None:
    model = convert(swin(), FOURIER).eval()
    attention = model.layers[0].blocks[1].attn  # type: ignore[index,union-attr]
    mask = model.layers[0].blocks[1].attn_mask  # type: ignore[index,union-attr]
    windows = mask.shape[0]
    x = torch.randn(windows, 16, 12)
    hidden = (mask[-1][0] != 0).nonzero().flatten()
    assert len(hidden) > 0
    changed = x.clone()
    changed[-1, hidden] = torch.randn(len(hidden), 12)
    before, after = attention(x, mask), attention(changed, mask)
    torch.testing.assert_close(before[-1, 0], after[-1, 0])
    assert not torch.allclose(before[-1, hidden], after[-1, hidden])


def test_dropout_of_the_host_still_applies() -> None:
    model = convert(vit(attn_drop_rate=0.5), FOURIER)
    x = images()
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_named_kernel_is_refused_where_weights_are_needed() -> None:
    with pytest.raises(KernelError, match=r"kernel recompute: does not form attention weights"):
        convert(swin(), {**FOURIER, "kernel": "recompute"})
    model = convert(vit(), {**FOURIER, "kernel": "recompute"})
    attention = model.blocks[0].attn
    tokens = torch.randn(1, attention.operator.num_tokens, TINY["embed_dim"])
    with pytest.raises(KernelError, match=r"which a mask or a bias needs; use reference"):
        attention(tokens, is_causal=True)


@pytest.mark.parametrize("host", HOSTS)
def test_copy_and_state_dict_give_the_same_output(host: str) -> None:
    model = convert(HOSTS[host](), {**FOURIER, "gated_blocks": True}).eval()
    again = convert(HOSTS[host](), {**FOURIER, "gated_blocks": True}).eval()
    wanted = model(images())
    assert not torch.equal(again(images()), wanted)
    assert again.load_state_dict(model.state_dict()) is not None
    assert torch.equal(again(images()), wanted)
    assert torch.equal(copy.deepcopy(model)(images()), wanted)


@pytest.mark.parametrize("host", further(["vit", "convit", "swin"]))
def test_export_gives_the_same_output_for_any_batch(host: str) -> None:
    model = convert(HOSTS[host](), {**FOURIER, "gated_blocks": True}).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (images(2),), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(program.module()(images(5)), model(images(5)))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("host", "more", "wanted"),
    [
        (vit, {}, ("recompute",)),
        (vit, {"heads": [0, 2]}, ("recompute",)),
        (vit, {"kernel": "reference"}, ("reference",)),
        (lambda: vit(attn_drop_rate=0.1), {}, ("recompute",)),
        (vit, {"operator_order": "phi_w"}, ("recompute",)),
        (convit, {"gated_blocks": True}, ("recompute",)),
        (swin, {}, ("reference",)),
    ],
)
def test_kernels_of_a_model_are_named(
    host: Callable[[], nn.Module], more: dict[str, Any], wanted: tuple[str, ...]
) -> None:
    assert kernels_of(convert(host(), {**FOURIER, **more})) == wanted
    assert kernels_of(host()) == ()


@pytest.mark.slow
def test_compiled_model_gives_the_same_output_and_gradients() -> None:
    model = convert(vit(depth=1), {**FOURIER, "projection": "simplex"})
    compiled = torch.compile(copy.deepcopy(model), backend="aot_eager", fullgraph=True)
    for each in (model, compiled):
        each(images()).square().sum().backward()
    torch.testing.assert_close(compiled(images()), model(images()))
    for ours, theirs in zip(model.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def _train_distributed(rank: int, folder: str) -> None:
    torch.manual_seed(0)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    model = convert(vit(depth=2), {**FOURIER, "block_sharing": "universal"})
    parallel = nn.parallel.DistributedDataParallel(model)
    for step in range(2):
        torch.manual_seed(10 * rank + step)
        parallel(torch.randn(2, 3, 32, 32)).square().sum().backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    torch.save(torch.cat([grad.flatten() for grad in grads]), f"{folder}/{rank}")
    torch.distributed.destroy_process_group()


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_data_parallel_ranks_agree_on_gradients(tmp_path: Path) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(_train_distributed, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / str(rank)) for rank in range(2))
    assert first.abs().sum() > 0
    torch.testing.assert_close(first, second)


def test_model_made_on_meta_is_the_same_after_loading() -> None:
    for make in (vit, convit, swin):
        with torch.device("meta"):
            empty = convert(make(), {**FOURIER, "gated_blocks": True})
            assert empty(torch.empty(2, 3, 32, 32)).shape == (2, 5)
        wanted = convert(make(), {**FOURIER, "gated_blocks": True}).eval()
        loaded = empty.to_empty(device="cpu").eval()
        loaded.load_state_dict(wanted.state_dict())
        for module in loaded.modules():
            if hasattr(module, "init_non_persistent_buffers"):
                module.init_non_persistent_buffers()
        for name, buffer in wanted.named_buffers():  # timm's own, which it fills when it loads
            if ".attn." not in name:
                loaded.get_buffer(name).copy_(buffer)
        torch.testing.assert_close(loaded(images()), wanted(images()))


# -- through timm -----------------------------------------------------------------------------


def test_timm_creates_converted_models_by_name() -> None:
    model = timm.create_model(
        "karat_vit_tiny_patch16_224", grid_size=3, block_sharing="universal", img_size=64
    )
    assert len({id(m) for m in model.modules() if isinstance(m, Operator)}) == 1
    names = timm.list_models("karat_*")
    for each in ("deit_tiny_patch16_224", "convit_tiny", "swin_tiny_patch4_window7_224"):
        assert f"karat_{each}" in names


@pytest.mark.slow
def test_import_order_of_karat_and_timm_does_not_matter() -> None:
    for first, second in itertools.permutations(("karat", "timm")):
        code = f"import {first}, {second}; print(len(timm.list_models('karat_*')))"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert int(done.stdout) > 100


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (vit, {"basis": "furier"}, "attention.basis = 'furier': unknown. did you mean 'fourier'"),
        (vit, {"grid_size": 0}, "attention.grid_size = 0: must be at least 1"),
        (vit, {"rank": 18}, "attention.rank = 18 is above the 17 tokens of this model; rank: full"),
        (vit, {"head_sharing": "grouped", "head_groups": 2}, "head_groups = 2 does not divide the 3 heads"),
        (vit, {"blocks": [3]}, "attention.blocks: 3 does not exist; the 3 blocks are numbered from 0"),
        (vit, {"rank_per_block": [2, 2]}, "attention.rank_per_block has 2 values for 3 converted blocks"),
        (convit, {"blocks": [0]}, "attention.blocks: 0 is a gated layer; it needs gated_blocks: true"),
        (convit, {"gated_blocks": True, "block_sharing": "universal"}, "cannot serve 16 tokens (blocks.0.attn) and 17 (blocks.2.attn)"),
        (swin, {"block_sharing": "universal"}, "layers.0.blocks.0.attn has 2 heads and layers.1.blocks.0.attn 4"),
        (lambda: vit(patch_drop_rate=0.5), {}, "patch_drop_rate above 0 changes the number of tokens"),
        (lambda: nn.Linear(2, 2), {}, "Linear is not a supported host. Supported are timm's ViT, DeiT, ConViT, EVA"),
        (lambda: timm.create_model("resnet18"), {}, "ResNet is no host: it has no attention between tokens"),
        (lambda: timm.create_model("vit_dwee_patch16_reg1_gap_256"), {}, "blocks.0: DiffAttention subtracts two softmaxes of half the width"),
        (lambda: convert(vit(), FOURIER), {}, "blocks.0.attn is already converted"),
    ],
)  # fmt: skip
def test_unsupported_conversion_is_refused_and_changes_nothing(
    make: Callable[[], nn.Module], settings: dict[str, Any], message: str
) -> None:
    model = make()
    before = dict(model.named_modules())
    wanted = {k: v for k, v in FOURIER.items() if not any(s.startswith(f"{k}_") for s in settings)}
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        convert(model, {**wanted, **settings})
    assert isinstance(caught.value, InputError)
    assert dict(model.named_modules()) == before


def test_windows_of_different_size_cannot_share_one_operator() -> None:
    model = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=32, window_size=4, depths=(1, 1, 1),
        num_heads=(2, 2, 2), embed_dim=12,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"one operator cannot serve 16 tokens .* and 4 "):
        convert(model, {**FOURIER, "block_sharing": "universal"})


def test_another_number_of_tokens_is_refused_by_forward() -> None:
    model = convert(vit(dynamic_img_size=True), FOURIER)
    with pytest.raises(ValueError, match=r"made for 17 tokens, got 5; karat.transfer"):
        model(torch.randn(1, 3, 16, 16))


def test_unknown_model_lists_the_nearest_names() -> None:
    with pytest.raises(SettingError, match=r"did you mean one of these: .*deit_tiny_patch16_224"):
        ModelConfig(name="deit_tiny_patch16_225")


# -- from settings ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["vit_micro", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "convit_tiny",
             "swin_tiny_patch4_window7_224"],
)  # fmt: skip
def test_layer_shapes_match_the_built_model(name: str) -> None:
    model, size = ModelConfig(name=name), 224
    layers, found = (
        layer_shapes(model, size),
        attention_layers(build_host(model, size, device="meta")),
    )
    shapes = [
        (s.name, s.num_tokens, s.num_heads, s.head_dim, s.grid, s.prefix_tokens) for s in layers
    ]
    assert shapes == [
        (s.name, s.num_tokens, s.num_heads, s.head_dim, s.grid, s.prefix_tokens) for s in found
    ]


def test_image_size_that_does_not_fit_the_host_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"model.patch_size = 16 does not divide the image size 20"
    ):
        check_model(ModelConfig(name="vit_tiny"), AttentionConfig(), 20)
    with pytest.raises(InputError, match=r"model.name = swin_.* cannot be built .* depth = 3"):
        check_model(
            ModelConfig(name="swin_tiny_patch4_window7_224", depth=3), AttentionConfig(), 32
        )


def test_same_seed_gives_the_same_model_and_shared_weights_for_all_operators() -> None:
    shape: dict[str, Any] = {"image_size": 8, "channels": 1, "classes": 10}
    softmax = build_model(ModelConfig(), AttentionConfig(), **shape, seed=3).state_dict()
    fourier = AttentionConfig.from_settings(FOURIER)
    first, again, other = (
        build_model(ModelConfig(), fourier, **shape, seed=seed).state_dict() for seed in (3, 3, 4)
    )
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert all(torch.equal(value, first[name]) for name, value in softmax.items())
    key = "blocks.0.attn.operator.phi.coefficients.cos"
    assert not torch.equal(first[key], other[key])


def test_public_names_load_at_first_use() -> None:
    assert karat.convert is convert
    assert karat.AttentionConfig is AttentionConfig
    assert karat.costs.costs_of is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        karat.nothing  # noqa: B018


def test_position_embedding_starts_as_wide_as_asked_from_the_same_draws() -> None:
    shape = {"image_size": 8, "channels": 1, "classes": 10, "seed": 3}
    plain, wide = (
        build_model(ModelConfig(pos_embed_std=std), AttentionConfig(basis="softmax"), **shape)
        for std in (None, 1.0)
    )
    ours, theirs = wide.state_dict(), plain.state_dict()
    torch.testing.assert_close(ours.pop("pos_embed"), 50 * theirs.pop("pos_embed"))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("settings", [{}, {"registers": 2}])
@pytest.mark.parametrize(("scheme", "std"), [(None, 0.02), ("jax", 0.144), ("moco", 0.144)])
def test_weights_start_by_the_scheme_of_timm_that_is_asked_for(
    scheme: Literal["jax", "moco"] | None, std: float, settings: dict[str, Any]
) -> None:
    model = ModelConfig(weight_init=scheme, **settings)
    shape = {"image_size": 8, "channels": 1, "classes": 10, "seed": 3}
    for basis in ("softmax", "fourier"):
        built = build_model(model, AttentionConfig(basis=basis), **shape)
        weight = built.get_parameter("blocks.1.attn.proj.weight")  # 48 x 48
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.1)
        assert (float(built.get_parameter("head.weight").detach().std()) == 0.0) == (
            scheme == "jax"
        )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "deit_tiny_distilled_patch16_224", "weight_init": "jax"}, "does not exist for"),
        ({"pos_embed_std": 0.0}, "must be greater than 0"),
        ({"name": "swin_tiny_patch4_window7_224", "pos_embed_std": 1.0}, "does not exist for"),
    ],
)
def test_start_that_a_model_cannot_have_is_refused(model: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        ModelConfig(**model)
