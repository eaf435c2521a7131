"""Every mechanism in every host: where it can, and a refusal in words where it cannot."""

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import karat
from karat.attention.carried import weights_of
from karat.attention.config import AttentionConfig
from karat.attention.mechanisms import MECHANISMS
from karat.errors import CombinationError, InputError
from karat.models.build import build_model
from karat.models.config import ModelConfig
from karat.models.content import without_content
from karat.models.convert import convert, kernels_of
from karat.models.costs import costs_of
from karat.models.hosts import attention_layers, count_parameters
from karat.models.shape import check_model, layer_shapes
from karat.models.transfer import transfer
from karat.models.wrappers import HostAttention
from tests.attention.mechanisms.test_contract import MORE, settings
from tests.marks import further
from tests.models.test_models import convit, deit, images, swin, vit

USUAL = (
    "karat",
    "sigmoid",
    "sinkhorn",
)  # of each kind one: an operator, a function of scores, a normaliser
OTHERS = sorted(set(MECHANISMS) - {"softmax"})
CASES = [pytest.param(name, {}, id=name) for name in OTHERS] + [
    pytest.param(name, more, id=f"{name} {more}") for name, more in MORE.items()
]
HOSTS: dict[str, Any] = {
    "vit": vit,
    "vit with qk_norm": lambda **more: vit(qk_norm=True, scale_attn_norm=True, **more),
    "deit": deit,
    "convit": convit,
    "gated convit": convit,
    "swin": swin,
}
BLIND = ("uniform", "static")
NO_SCORES = "computes no scores, which would leave the model's"
REFUSED = {
    **{("gated convit", each): rf"{NO_SCORES} gated queries and keys \(ConViT\)" for each in BLIND},
    **{("swin", each): rf"{NO_SCORES} position bias" for each in BLIND},
    **{("vit with qk_norm", each): f"{NO_SCORES} norms of queries and keys" for each in BLIND},
    ("swin", "sinkhorn"): "with masked pairs there may be no doubly stochastic matrix",
    (
        "swin",
        "differential",
    ): "has two matrices of scores, and the model's position bias belongs to one",
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", OTHERS)
def test_mechanism_trains_in_a_host_or_is_refused(host: str, name: str) -> None:
    # Width 12 in all hosts but ConViT, whose heads have 2.
    model, own = HOSTS[host](), {**settings(name), "gated_blocks": host == "gated convit"}
    if reason := REFUSED.get((host, name)):
        before = dict(model.named_modules())
        with pytest.raises(CombinationError, match=f"attention.mechanism = {name}: .*{reason}"):
            convert(model, own)
        assert dict(model.named_modules()) == before
        return
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    convert(model, own)
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in weights.items())
    out = model(images())
    assert out.shape == (2, 5)
    out.square().sum().backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize(
    ("name", "more"), further([*CASES, pytest.param("sigmoid", {"heads": [0]})], keep=6)
)
def test_small_training_run_lowers_the_loss(name: str, more: dict[str, Any]) -> None:
    model = convert(vit(depth=2, in_chans=1, img_size=16, num_classes=2), settings(name, **more))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    labels = torch.arange(32) % 2
    x = torch.randn(32, 1, 16, 16) + labels.view(-1, 1, 1, 1)
    losses = []
    for _ in range(25):
        loss = nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(("name", "more"), further(CASES, keep=4))
def test_export_gives_the_same_output_for_any_batch(name: str, more: dict[str, Any]) -> None:
    model = convert(vit(depth=1), settings(name, **more)).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (images(2),), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(program.module()(images(5)), model(images(5)))


@pytest.mark.parametrize(
    "name", further(sorted(OTHERS, key=lambda name: name not in USUAL), keep=3)
)
def test_compiled_model_gives_the_same_output_and_gradients(name: str) -> None:
    model = convert(vit(depth=1), settings(name))
    torch.compiler.reset()  # the cases share code, whose versions are limited
    compiled = torch.compile(copy.deepcopy(model), backend="aot_eager", fullgraph=True)
    for each in (model, compiled):
        each(images()).square().sum().backward()
    torch.testing.assert_close(compiled(images()), model(images()))
    for ours, theirs in zip(model.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize(("name", "more"), CASES)
def test_copy_and_state_dict_give_the_same_output(name: str, more: dict[str, Any]) -> None:
    model = convert(vit(), settings(name, **more)).eval()
    again = convert(vit(), settings(name, **more)).eval()
    again.load_state_dict(model.state_dict())
    for other in (again, copy.deepcopy(model)):
        assert torch.equal(other(images()), model(images()))


@pytest.mark.parametrize("name", OTHERS)
def test_model_on_meta_computes_shapes(name: str) -> None:
    with torch.device("meta"):
        model = convert(vit(), settings(name))
        assert model(torch.empty(2, 3, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize("name", OTHERS)
def test_causal_mask_hides_later_tokens_or_is_refused(name: str) -> None:
    attention = convert(vit(depth=1), settings(name)).blocks[0].attn.eval()  # type: ignore[index,union-attr]
    x = torch.randn(2, 17, 24)
    changed = x.clone()
    changed[:, 9:] = torch.randn(2, 8, 24)
    if name == "sinkhorn":
        with pytest.raises(ValueError, match="sinkhorn needs every pair of tokens"):
            attention(x, is_causal=True)
        return
    before, after = (attention(each, is_causal=True) for each in (x, changed))
    torch.testing.assert_close(before[:, :9], after[:, :9])


def test_softmax_heads_stand_beside_sigmoid_heads() -> None:
    host = vit(depth=1).eval()
    attention = copy.deepcopy(host.blocks[0].attn)  # type: ignore[index,union-attr]
    model = convert(host, {"mechanism": "sigmoid", "heads": [1]})
    x, seen = torch.randn(2, 17, 24), {}
    for name, module in (("softmax", attention), ("mixed", model.blocks[0].attn)):  # type: ignore[index,union-attr]
        module.proj = nn.Identity()
        seen[name] = module(x).unflatten(-1, (3, 8))
    torch.testing.assert_close(seen["mixed"][:, :, [0, 2]], seen["softmax"][:, :, [0, 2]])
    assert not torch.allclose(seen["mixed"][:, :, 1], seen["softmax"][:, :, 1])


def test_only_the_operator_has_kernels() -> None:
    for name in OTHERS:
        wanted = ("recompute",) if name in ("karat", "linear", "frozen") else ()
        assert kernels_of(convert(vit(), settings(name))) == wanted, name


def test_frozen_functions_do_not_move_and_everything_else_does() -> None:
    model = convert(vit(), settings("frozen"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(images()).square().sum().backward()
    optimizer.step()
    for key, value in weights_of(model.state_dict()).items():
        is_frozen = ".coefficients." in key or key.endswith("base_scale")
        if ".operator." in key:
            assert torch.equal(value, before[key]) == is_frozen, key


@pytest.mark.parametrize("name", ["sigmoid", "uniform", "pointwise"])
def test_mechanism_of_any_tokens_serves_another_image_size(name: str) -> None:
    model = convert(vit(dynamic_img_size=True), settings(name))
    assert model(torch.randn(1, 3, 16, 16)).shape == (1, 5)


def test_mechanism_of_fixed_tokens_refuses_another_image_size() -> None:
    model = convert(vit(dynamic_img_size=True), settings("static"))
    with pytest.raises(ValueError, match=r"made for 17 tokens, got 5; karat.transfer"):
        model(torch.randn(1, 3, 16, 16))


# -- content ----------------------------------------------------------------------------------


def by_hand(model: nn.Module, x: Tensor) -> Tensor:
    """The output of a model whose weights behind queries and keys are zero."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for layer in attention_layers(model):
            attention = layer.block.attn
            if layer.is_gated:
                attention.qk.weight.zero_()
            else:
                width = attention.qkv.out_features // 3
                attention.qkv.weight[: 2 * width] = 0
                if attention.qkv.bias is not None:
                    attention.qkv.bias[: 2 * width] = 0
    out: Tensor = model(x)
    return out


@pytest.mark.parametrize("host", ["vit", "deit", "gated convit", "swin"])
@pytest.mark.parametrize("own", [None, {"basis": "fourier", "rank": 3}, {"mechanism": "sigmoid"}])
def test_probe_holds_queries_and_keys_at_zero(host: str, own: dict[str, Any] | None) -> None:
    model = HOSTS[host]()
    if own is not None:
        convert(model, {**own, "gated_blocks": host == "gated convit"})
    model = model.eval()
    before = model(images())
    with without_content(model) as probed:
        assert probed is model
        torch.testing.assert_close(model(images()), by_hand(model, images()))
        assert not torch.allclose(model(images()), before)
    assert torch.equal(model(images()), before)


def test_probe_is_undone_after_an_error() -> None:
    model = convert(vit(), {"mechanism": "sigmoid"}).eval()
    before = model(images())
    with pytest.raises(KeyError), without_content(model):
        raise KeyError
    assert torch.equal(model(images()), before)


def test_probe_reaches_behind_the_norm_of_queries() -> None:
    model = HOSTS["vit with qk_norm"](depth=1).eval()
    with torch.no_grad():
        model.blocks[0].attn.q_norm.bias.fill_(3.0)
        model.blocks[0].attn.k_norm.bias.normal_()
    zeroed = copy.deepcopy(model)
    with torch.no_grad():
        for norm in (zeroed.blocks[0].attn.q_norm, zeroed.blocks[0].attn.k_norm):
            norm.weight.zero_()
            norm.bias.zero_()
    with without_content(model):
        torch.testing.assert_close(model(images()), zeroed(images()))


@pytest.mark.parametrize("name", ["karat", "sigmoid", "softmax_mixed", "cosine", "differential"])
def test_model_trained_without_content_has_it_neither_in_training(name: str) -> None:
    model = convert(vit(), settings(name, content=False)).eval()
    torch.testing.assert_close(model(images()), by_hand(model, images()))
    model(images()).square().sum().backward()
    for layer in attention_layers(model):
        of_qkv = layer.block.attn.qkv.weight.grad
        assert (of_qkv[:48] == 0).all()
        assert (of_qkv[48:] != 0).any()


@pytest.mark.parametrize("host", ["vit", "deit", "gated convit", "swin"])
def test_every_parameter_has_a_gradient_without_content(host: str) -> None:
    """As training on several processes needs."""
    own = {"mechanism": "sigmoid", "content": False, "gated_blocks": host == "gated convit"}
    model = convert(HOSTS[host](), own)
    model(images()).square().sum().backward()
    assert not [key for key, value in model.named_parameters() if value.grad is None]


def test_without_content_softmax_like_attention_is_uniform() -> None:
    model = convert(vit(), {"mechanism": "temperature", "content": False}).eval()
    uniform = transfer_host(model, {"mechanism": "uniform"})
    torch.testing.assert_close(model(images()), uniform(images()))


def transfer_host(model: nn.Module, own: dict[str, Any]) -> nn.Module:
    """The same host weights with another mechanism."""
    other = convert(vit(), own)
    known = {key: v for key, v in model.state_dict().items() if ".operator." not in key}
    other.load_state_dict(known, strict=False)
    return other.eval()


# -- costs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "more"), CASES)
@pytest.mark.parametrize("registers", [0, 3])
def test_counted_parameters_match_the_built_model(
    name: str, more: dict[str, Any], registers: int
) -> None:
    shape: dict[str, Any] = {"image_size": 16, "channels": 3, "classes": 7}
    attention = AttentionConfig.from_settings(settings(name, **more))
    model = ModelConfig(registers=registers)
    built = build_model(model, attention, seed=0, **shape)
    costs = costs_of(model, attention, **shape)
    assert costs.parameters == count_parameters(built)
    added = {key: v for key, v in built.named_parameters() if ".operator." in key}
    assert costs.attention_parameters == sum(value.numel() for value in added.values())


@pytest.mark.parametrize(("name", "more"), CASES)
def test_counted_operations_match_torchs_counter(name: str, more: dict[str, Any]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    shape: dict[str, Any] = {"image_size": 8, "channels": 1, "classes": 10}
    own = settings(name, **more, **({"kernel": "reference"} if name in BY_OPERATOR else {}))
    attention = AttentionConfig.from_settings(own)
    model = build_model(ModelConfig(depth=2), attention, seed=0, **shape).eval()
    # Torch's counter does not know the fused kernel of the CPU.
    fused = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with torch.no_grad(), fused, FlopCounterMode(display=False) as counter:
        model(torch.randn(1, 1, 8, 8))
    counted = counter.get_total_flops() // 2
    costs = costs_of(ModelConfig(depth=2), attention, **shape)
    units = 0
    if name in ("karat", "frozen", "pointwise"):
        # Features times coefficients are products for torch, and a part of the activation here.
        rank = 1 if name == "pointwise" else own["rank"]
        units = costs.activation_flops - 2 * 3 * 17 * 17 * rank * 2 * own["grid_size"]
    assert costs.forward_flops - units == counted


BY_OPERATOR = {"karat", "linear", "frozen"}


def test_costs_of_vit_tiny_are_those_of_the_design() -> None:
    shape: dict[str, Any] = {"image_size": 224, "channels": 3, "classes": 10}
    wanted = {"static": 170_208, "linear": 170_208, "softmax_mixed": 170_208, "uniform": 0}
    wanted |= {"gated": 444_672, "talking_heads": 216, "cosine": 36, "temperature": 36}
    for name, added in wanted.items():
        attention = AttentionConfig(mechanism=name)
        costs = costs_of(ModelConfig(name="vit_tiny"), attention, **shape)
        assert costs.attention_parameters == added
    plain = costs_of(ModelConfig(name="vit_tiny"), AttentionConfig(), **shape)
    with_registers = costs_of(ModelConfig(name="vit_tiny", registers=4), AttentionConfig(), **shape)
    assert with_registers.parameters - plain.parameters == 768


# -- common random numbers, registers ---------------------------------------------------------


@pytest.mark.parametrize(("name", "more"), CASES)
def test_same_seed_gives_the_same_weights_in_all_shared_modules(
    name: str, more: dict[str, Any]
) -> None:
    shape: dict[str, Any] = {"image_size": 8, "channels": 1, "classes": 10}
    softmax = build_model(ModelConfig(), AttentionConfig(), **shape, seed=3).state_dict()
    attention = AttentionConfig.from_settings(settings(name, **more))
    first, again = (
        build_model(ModelConfig(registers=number), attention, **shape, seed=3).state_dict()
        for number in (0, 2)
    )
    for found in (first, again):
        assert all(torch.equal(value, found[key]) for key, value in softmax.items())
    assert set(first) - set(softmax) == {key for key in first if ".attn.operator." in key}
    again_first = build_model(ModelConfig(), attention, **shape, seed=3).state_dict()
    assert all(torch.equal(value, again_first[key]) for key, value in first.items())


def test_frozen_and_karat_start_with_the_same_operator() -> None:
    shape: dict[str, Any] = {"image_size": 8, "channels": 1, "classes": 10}
    frozen, karat_ = (
        build_model(
            ModelConfig(), AttentionConfig.from_settings(settings(name)), **shape, seed=0
        ).state_dict()
        for name in ("frozen", "karat")
    )
    assert frozen.keys() == karat_.keys()
    assert all(torch.equal(value, karat_[key]) for key, value in frozen.items())


def test_registers_are_tokens_that_the_head_does_not_see() -> None:
    shape: dict[str, Any] = {"image_size": 8, "channels": 1, "classes": 10}
    config = ModelConfig(registers=4)
    model = build_model(config, AttentionConfig(), **shape, seed=0).eval()
    layers = attention_layers(model)
    assert [(each.num_tokens, each.prefix_tokens) for each in layers] == [(21, 5)] * 4
    assert [each.num_tokens for each in layer_shapes(config, 8)] == [21] * 4
    x = torch.randn(2, 1, 8, 8)
    assert model.forward_features(x).shape == (2, 21, 48)  # type: ignore[operator]
    before = model(x)
    with torch.no_grad():
        model.registers.normal_()  # type: ignore[operator,union-attr]
    assert not torch.allclose(model(x), before)
    model(x).square().sum().backward()
    assert (model.registers.grad != 0).any()  # type: ignore[union-attr]


def test_operator_counts_registers_among_the_tokens() -> None:
    attention = AttentionConfig.from_settings({"mechanism": "static", "rank": 20})
    with pytest.raises(CombinationError, match="rank = 20 is above the 17 tokens"):
        check_model(ModelConfig(), attention, 8)
    check_model(ModelConfig(registers=4), attention, 8)


# -- transfer ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "more"), CASES)
def test_transfer_copies_the_parameters_of_a_mechanism(name: str, more: dict[str, Any]) -> None:
    source = convert(vit(), settings(name, **more)).eval()
    target = convert(vit(), settings(name, **more)).eval()
    transfer(source, target)
    torch.testing.assert_close(target(images()), source(images()))


def test_transfer_to_another_resolution_works_without_tables_of_tokens() -> None:
    source, target = (convert(vit(img_size=size), {"mechanism": "cosine"}) for size in (32, 48))
    assert transfer(source, target) is target
    source, target = (convert(vit(img_size=size), settings("static")) for size in (32, 48))
    with pytest.raises(InputError, match=r"static: its parameter back has shape \(3, 37, 3\)"):
        transfer(source, target)
    with pytest.raises(InputError, match=r"the target has another attention\.mechanism"):
        transfer(convert(vit(), {"mechanism": "cosine"}), convert(vit(), settings("static")))


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"mechanism": "sigmoyd"}, "attention.mechanism = 'sigmoyd': unknown. did you mean 'sigmoid'?"),
        ({"mechanism": ["sigmoid"]}, "attention.mechanism = ['sigmoid']: unknown"),
        ({"mechanism": "static", "grid_size": 3}, "attention.grid_size: does not exist for attention.mechanism: static"),
        ({"mechanism": "static", "basis": "fourier"}, "attention.basis: does not exist for attention.mechanism: static"),
        ({"mechanism": "static", "rank": "full"}, "attention.rank = 'full': must be a number for this mechanism"),
        ({"mechanism": "static", "rank": 18}, "attention.rank = 18 is above the 17 tokens"),
        ({"mechanism": "static", "kernel": "reference"}, "attention.kernel: does not exist for attention.mechanism: static"),
        ({"mechanism": "karat"}, "attention.basis: is missing; mechanism: karat needs one of these: bspline"),
        ({"mechanism": "karat", "basis": "softmax"}, "attention.basis = 'softmax': unknown"),
        ({"mechanism": "karat", "basis": "fourier", "omega0": 2}, "attention.omega0: does not exist for attention.basis: fourier"),
        ({"mechanism": "karat", "basis": "fourier", "power": 3}, "attention.power: does not exist for attention.mechanism: karat"),
        ({"mechanism": "softmax", "rank": 3}, "attention.rank: does not exist for attention.mechanism: softmax"),
        ({"mechanism": "softmax", "basis": "softmax"}, "attention.basis: does not exist for attention.mechanism: softmax"),
        ({"basis": "softmax", "content": False}, "attention.content: does not exist for attention.basis: softmax"),
        ({"mechanism": "softmax", "content": False}, "attention.content: does not exist for attention.mechanism: softmax"),
        ({"mechanism": "pointwise", "basis": "fourier", "rank": 3}, "attention.rank: does not exist for attention.mechanism: pointwise"),
        ({"mechanism": "pointwise", "basis": "fourier", "block_sharing": "universal"}, "attention.block_sharing: does not exist for attention.mechanism: pointwise"),
        ({"mechanism": "pointwise", "basis": "fourier", "head_groups": 3}, "attention.head_groups: does not exist for attention.mechanism: pointwise"),
        ({"mechanism": "pointwise", "basis": "shannon", "window": "inputs"}, "attention.window = 'inputs': is a window over positions"),
        ({"mechanism": "pointwise", "basis": "fourier", "grid_size": 0}, "attention.grid_size = 0: must be at least 1"),
        ({"mechanism": "linear", "unit_scales": False}, "attention.unit_scales: does not exist for attention.mechanism: linear"),
        ({"mechanism": "sigmoid", "head_sharing": "shared"}, "attention.head_sharing: does not exist for attention.mechanism: sigmoid"),
        ({"mechanism": "sigmoid", "learned_bias": 1}, "attention.learned_bias = 1: must be true or false"),
        ({"mechanism": "sigmoid", "learned_bia": True}, "attention.learned_bia: unknown key. did you mean 'learned_bias'"),
        ({"mechanism": "sigmoid", "iterations": 3}, "attention.iterations: does not exist for attention.mechanism: sigmoid"),
        ({"mechanism": "sinkhorn", "iterations": 0}, "attention.iterations = 0: must be at least 1"),
        ({"mechanism": "polynomial", "power": 2}, "attention.power = 2: must be one of these. Known: 1, 3"),
        ({"mechanism": "gated", "gate": "heads"}, "attention.gate = 'heads': must be one of these."),
        ({"mechanism": "gated", "blocks": [4]}, "attention.blocks: 4 does not exist; the 3 blocks are numbered from 0"),
        ({"mechanism": "sigmoid", "content": "no"}, "attention.content = 'no': must be true or false"),
    ],
)  # fmt: skip
def test_wrong_settings_of_a_mechanism_are_refused_in_one_line(
    own: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        convert(vit(), own)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"mechanism": "static", "basis": "fourier"}, "basis: does not exist for mechanism: static"),
        ({"mechanism": "sigmoid", "rank": 3}, "rank: does not exist for mechanism: sigmoid"),
        ({"mechanism": "softmax", "content": False}, "content: does not exist for mechanism: softmax"),
        ({"mechanism": "sigmoid", "mechanism_settings": {"power": 3}}, "power: unknown key. Known: config, learned_bias"),
    ],
)  # fmt: skip
def test_configuration_from_python_is_checked_too(own: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        AttentionConfig(**own)


def test_model_without_registers_refuses_them_by_name() -> None:
    for name in ("deit_tiny_patch16_224", "swin_tiny_patch4_window7_224"):
        with pytest.raises(
            InputError, match=rf"registers = 4: does not exist for model.name: {name}"
        ):
            ModelConfig(name=name, registers=4)
    with pytest.raises(InputError, match="registers = -1: must be at least 0"):
        ModelConfig(registers=-1)


def test_every_converted_module_says_whether_it_sees_contents() -> None:
    for content in (True, False):
        model = karat.convert(vit(), {"mechanism": "sigmoid", "content": content})
        modules = [each for each in model.modules() if isinstance(each, HostAttention)]
        assert [each.content for each in modules] == [content] * 3
