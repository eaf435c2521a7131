"""What holds for every mechanism of the catalogue; being in it is being tested here."""

import copy
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from karat.attention.config import AttentionConfig
from karat.attention.heads import HeadParts, make_part
from karat.attention.mechanisms import MECHANISMS, Mechanism, Place
from karat.attention.mechanisms.differential import Differential
from karat.attention.names import has_basis
from karat.attention.part import MechanismPart, Part
from karat.errors import CombinationError, SettingError
from tests.attention.mechanisms.naive import WEIGHTS

EVERY = sorted(MECHANISMS)
BY_OPERATOR = {"karat", "linear", "frozen"}  # tests/attention/test_operator.py has their formulas
PLACE = Place(num_heads=2, num_tokens=5, head_dim=4, width=8)
SCALE = PLACE.head_dim**-0.5
MORE: dict[str, dict[str, Any]] = {
    "sigmoid": {"learned_bias": True},
    "polynomial": {"power": 1},
    "gated": {"gate": "per_head"},
    "differential": {"lambdas": "scalars"},
    "sinkhorn": {"iterations": 5},
    "closed_form": {"function": "sigmoid", "slope": 2.0, "centre": 0.5},
}
WITHOUT_MASK = {"sinkhorn"}


def settings(name: str, **more: Any) -> dict[str, Any]:
    """Small settings of a mechanism."""
    found: dict[str, Any] = {"mechanism": name}
    if has_basis(name):
        found |= {"basis": "fourier", "grid_size": 2}
    if "rank" in MECHANISMS[name].operator_settings:
        found["rank"] = 3
    return found | more


def mechanism(name: str, **more: Any) -> Mechanism:
    if name == "softmax":
        return MECHANISMS[name]()
    return AttentionConfig.from_settings(settings(name, **more)).make_mechanism()


def part(name: str, place: Place = PLACE, seed: int = 0, **more: Any) -> Any:
    generator = torch.Generator().manual_seed(seed)
    if name == "softmax":
        return MechanismPart(MECHANISMS[name](), place, generator)
    return make_part(AttentionConfig.from_settings(settings(name, **more)), place, generator)


def randomised(module: Any) -> Any:
    """In float64 with random parameters, since initial ones would hide errors."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module.double()


def inputs(place: Place = PLACE, batch: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    """Queries, keys and values in one tensor, (3, B, H, N, D)."""
    generator = torch.Generator().manual_seed(1)
    shape = (3, batch, place.num_heads, place.num_tokens, place.head_dim)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def tokens(place: Place = PLACE, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (batch, place.num_tokens, place.width)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def output(module: Part, qkv: Tensor, x: Tensor, **more: Any) -> Tensor:
    return module.finish(module.attend(qkv, SCALE, **more), x)


def causal() -> Tensor:
    return torch.ones(5, 5, dtype=torch.bool).tril()


def naive(name: str, module: Any, qkv: Tensor, keep: Tensor) -> Tensor:
    """The output of a mechanism by the formulas in `naive`."""
    own = {key: value.detach().numpy() for key, value in module.learned.items()}
    found = torch.zeros_like(qkv[0])
    for image, head in np.ndindex(qkv.shape[1], qkv.shape[2]):
        q, k, v = (each[image, head].numpy() for each in qkv)
        weights = WEIGHTS[name](q, k, keep.numpy(), head, own)
        found[image, head] = torch.from_numpy(weights @ v)
    return found


def cases() -> list[Any]:
    found = [pytest.param(name, {}, id=name) for name in EVERY]
    for name, more in MORE.items():
        found.append(pytest.param(name, more, id=f"{name} {more}"))
    return found


@pytest.mark.parametrize(
    "name", sorted(set(EVERY) - BY_OPERATOR - {"differential", "talking_heads"})
)
@pytest.mark.parametrize("masked", [False, True], ids=["all pairs", "masked"])
def test_attention_matches_the_formula_in_float64(name: str, masked: bool) -> None:
    if masked and name in WITHOUT_MASK:
        pytest.skip("refused, as another test shows")
    more = {"learned_bias": True} if name == "sigmoid" else {}
    module, qkv = randomised(part(name, **more)), inputs()
    keep = causal() if masked else torch.ones(5, 5, dtype=torch.bool)
    found = module.attend(qkv, SCALE, keep=keep if masked else None)
    torch.testing.assert_close(found, naive(name, module, qkv, keep))


@pytest.mark.parametrize("lambdas", ["vectors", "scalars"])
@pytest.mark.parametrize("number", [0, 5])
def test_differential_attention_matches_timms(lambdas: str, number: int) -> None:
    from timm.layers import DiffAttention

    torch.manual_seed(0)
    dual = lambdas == "scalars"
    theirs = DiffAttention(8, num_heads=2, depth=number, dual_lambda=dual).double()
    module = randomised(part("differential", replace(PLACE, number=number), lambdas=lambdas))
    with torch.no_grad():
        for name, value in module.learned.items():
            (theirs.sub_norm.weight if name == "norm" else getattr(theirs, name)).copy_(value)
    x = tokens()
    qkv = theirs.qkv(x).view(3, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
    for masked, keep in ((None, None), (causal(), causal())):
        out = module.attend(qkv, SCALE, keep=keep).transpose(1, 2).flatten(2)
        torch.testing.assert_close(theirs.proj(out), theirs(x, attn_mask=masked))


def test_talking_heads_mix_scores_and_weights() -> None:
    module, qkv = randomised(part("talking_heads")), inputs()
    scores = SCALE * qkv[0] @ qkv[1].mT
    mixed = sum(
        module.learned["before"][:, h, None, None] * scores[:, [h]] for h in range(2)
    ).softmax(-1)
    weights = sum(module.learned["after"][:, h, None, None] * mixed[:, [h]] for h in range(2))
    torch.testing.assert_close(module.attend(qkv, SCALE), weights @ qkv[2])


@pytest.mark.parametrize("gate", ["elementwise", "per_head"])
def test_gates_multiply_the_output_of_softmax(gate: str) -> None:
    module, qkv, x = randomised(part("gated", gate=gate)), inputs(), tokens()
    gates = (x @ module.learned["gate_weight"].T + module.learned["gate_bias"]).sigmoid()
    plain = (SCALE * qkv[0] @ qkv[1].mT).softmax(-1) @ qkv[2]
    for head in range(2):
        own = gates[:, :, head * 4 : head * 4 + 4] if gate == "elementwise" else gates[:, :, [head]]
        torch.testing.assert_close(output(module, qkv, x)[:, head], plain[:, head] * own)


@pytest.mark.parametrize(("name", "more"), cases())
def test_gradients_match_finite_differences(name: str, more: dict[str, Any]) -> None:
    place = replace(PLACE, num_tokens=4)
    module, x = randomised(part(name, place, **more)), tokens(place, 1)
    qkv = inputs(place, 1).requires_grad_()
    names = [key for key, value in module.named_parameters() if value.requires_grad]
    values = [module.get_parameter(key) for key in names]

    def attend(qkv: Tensor, *parameters: Tensor) -> Tensor:
        own = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(
            _WithFinish(module), {f"part.{k}": v for k, v in own.items()}, (qkv, x)
        )

    assert torch.autograd.gradcheck(attend, (qkv, *values), check_undefined_grad=False)


class _WithFinish(torch.nn.Module):
    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part

    def forward(self, qkv: Tensor, x: Tensor) -> Tensor:
        return output(self.part, qkv, x)


@pytest.mark.parametrize(("name", "more"), cases())
def test_masked_keys_have_no_effect_or_a_mask_is_refused(name: str, more: dict[str, Any]) -> None:
    module, qkv, keep = randomised(part(name, **more)), inputs(), causal()
    if name in WITHOUT_MASK:
        with pytest.raises(CombinationError, match=f"{name} needs every pair of tokens"):
            module.attend(qkv, SCALE, keep=keep)
        return
    changed = qkv.clone()
    changed[1:, :, :, 3:] = 7.0  # keys and values of the last tokens
    before, after = (module.attend(each, SCALE, keep=keep) for each in (qkv, changed))
    torch.testing.assert_close(before[:, :, :3], after[:, :, :3])
    assert not torch.allclose(before[:, :, 3:], after[:, :, 3:])


@pytest.mark.parametrize("name", sorted(set(EVERY) - WITHOUT_MASK))
def test_row_without_keys_is_finite_with_finite_gradients(name: str) -> None:
    module, qkv = randomised(part(name)), inputs().requires_grad_()
    keep = causal()
    keep[0] = False
    out = module.attend(qkv, SCALE, keep=keep)
    (gradient,) = torch.autograd.grad(out.square().sum(), qkv)
    assert torch.isfinite(out).all()
    assert torch.isfinite(gradient).all()
    torch.testing.assert_close(out[:, :, 0], torch.zeros_like(out[:, :, 0]))


@pytest.mark.parametrize("name", sorted(set(EVERY) - WITHOUT_MASK))
def test_mask_of_all_pairs_changes_nothing(name: str) -> None:
    module, qkv = randomised(part(name)), inputs()
    keep = torch.ones(3, 1, 5, 5, dtype=torch.bool)
    torch.testing.assert_close(module.attend(qkv, SCALE, keep=keep), module.attend(qkv, SCALE))


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"static", "uniform"}))
def test_bias_of_the_host_is_added_to_the_scores(name: str) -> None:
    module, qkv = randomised(part(name)), inputs()
    bias = torch.randn(2, 5, 5, dtype=torch.float64)
    zero = module.attend(qkv, SCALE, bias=torch.zeros_like(bias))
    torch.testing.assert_close(zero, module.attend(qkv, SCALE))
    assert not torch.allclose(module.attend(qkv, SCALE, bias=bias), zero)


@pytest.mark.parametrize(("name", "more"), cases())
def test_output_is_finite_and_close_under_autocast(name: str, more: dict[str, Any]) -> None:
    module, qkv, x = part(name, **more), inputs(dtype=torch.float32), tokens().float()
    wanted = output(module, qkv, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = output(module, qkv.bfloat16(), x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, atol=0.06, rtol=0.06)


@pytest.mark.parametrize("size", [1e-4, 30.0, 1e4])
@pytest.mark.parametrize("name", EVERY)
def test_large_and_small_scores_give_finite_outputs_and_gradients(name: str, size: float) -> None:
    module, qkv = part(name), inputs(dtype=torch.float32)
    scaled = torch.stack([qkv[0] * size, qkv[1], qkv[2]]).requires_grad_()
    out = module.attend(scaled, SCALE)
    (gradient,) = torch.autograd.grad(out.sum(), scaled)
    assert torch.isfinite(out).all()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(("name", "more"), cases())
def test_copy_and_state_dict_give_the_same_output(name: str, more: dict[str, Any]) -> None:
    module, qkv, x = part(name, **more), inputs(dtype=torch.float32), tokens().float()
    again = part(name, seed=1, **more)
    again.load_state_dict(module.state_dict())
    for other in (again, copy.deepcopy(module)):
        assert torch.equal(output(other, qkv, x), output(module, qkv, x))


@pytest.mark.parametrize(("name", "more"), cases())
def test_dropout_drops_weights_and_keeps_their_mean(name: str, more: dict[str, Any]) -> None:
    place = replace(PLACE, num_heads=1)
    module = randomised(part(name, place, **more))
    qkv = inputs(place, 1)
    torch.manual_seed(0)
    drawn = torch.stack([module.attend(qkv, SCALE, 0.5) for _ in range(50)])
    assert drawn.std(0).max() > 0
    torch.manual_seed(0)
    again = torch.stack([module.attend(qkv, SCALE, 0.5) for _ in range(50)])
    torch.testing.assert_close(drawn, again)


@pytest.mark.parametrize("name", EVERY)
def test_only_mechanisms_that_say_so_serve_other_numbers_of_tokens(name: str) -> None:
    module, more = part(name), inputs(replace(PLACE, num_tokens=7), dtype=torch.float32)
    if module.any_tokens:
        assert module.attend(more, SCALE).shape == more.shape[1:]
    else:
        with pytest.raises(RuntimeError):
            module.attend(more, SCALE)


@pytest.mark.parametrize("name", EVERY)
def test_empty_batch_gives_an_empty_output(name: str) -> None:
    qkv = inputs(batch=0, dtype=torch.float32)
    assert part(name).attend(qkv, SCALE).shape == (0, 2, 5, 4)


@pytest.mark.parametrize("name", ["uniform", "static"])
def test_mechanism_without_scores_never_multiplies_queries_and_keys(name: str) -> None:
    module, qkv = part(name), inputs(dtype=torch.float32)
    nothing = qkv.clone()
    nothing[:2] = float("nan")
    assert torch.equal(module.attend(nothing, SCALE), module.attend(qkv, SCALE))


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"softmax"}))
def test_heads_with_and_without_a_mechanism_stand_side_by_side(name: str) -> None:
    module = randomised(part(name, heads=[1]))
    assert isinstance(module, HeadParts)
    qkv, x = inputs(), tokens()
    found = output(module, qkv, x)
    torch.testing.assert_close(found[:, 0], output(part("softmax"), qkv, x)[:, 0])
    alone = output(module.operators[0], qkv[:, :, [1]], x)
    torch.testing.assert_close(found[:, [1]], alone)


# -- parameters ---------------------------------------------------------------------------------

TINY = Place(num_heads=3, num_tokens=197, head_dim=64, width=192)
NAMES = {"L": 12, "H": 3, "C": 192, "D": 64, "N": 197, "R": 12, "G": 3}
COUNT = re.compile(r"`([^`]+)`(?:\s+are\s+trained)?,\s+([\d,]*\d)")


@pytest.mark.parametrize("name", EVERY)
def test_parameters_of_vit_tiny_are_those_of_the_docstring(name: str) -> None:
    text = str(MECHANISMS[name].__doc__).partition("Parameters: ")[2].partition("\n\n")[0]
    formulas = [(formula, int(count.replace(",", ""))) for formula, count in COUNT.findall(text)]
    assert formulas, "the docstring must say `Parameters: `FORMULA`, COUNT for ViT-Tiny.`"
    for formula, count in formulas:
        assert eval(formula, {}, NAMES) == count
    more = {"basis": "fourier", "grid_size": 3} if has_basis(name) else {}
    values = {"mechanism": name, **more}
    made = MECHANISMS[name]() if name == "softmax" else None
    own = made or AttentionConfig.from_settings(values).make_mechanism()
    module = part(name, TINY, **({"rank": 12} if "rank" in own.operator_settings else {}), **more)
    counted = sum(each.numel() for each in module.parameters())
    assert 12 * counted == 12 * own.parameters(TINY) == formulas[0][1]
    if name == "frozen":
        trained = sum(each.numel() for each in module.parameters() if each.requires_grad)
        assert 12 * trained == formulas[1][1] == 170_208


@pytest.mark.parametrize("name", EVERY)
def test_docstring_names_the_paper_or_says_that_the_control_is_ours(name: str) -> None:
    text = " ".join(str(MECHANISMS[name].__doc__).split())
    assert re.search(
        r"Source: .{,100}(arXiv \d{4}\.\d{5}|docs/decisions/0027-mechanisms\.md)", text
    )


@pytest.mark.parametrize(
    ("name", "more", "count"),
    [
        ("sigmoid", {"learned_bias": True}, 36),
        ("gated", {"gate": "per_head"}, 6_948),
        ("differential", {"lambdas": "scalars"}, 24 + 768),
        ("differential", {}, 1_536 + 768),
        ("static", {"head_sharing": "shared"}, 170_208 // 3),
    ],
)
def test_settings_change_the_number_of_parameters(
    name: str, more: dict[str, Any], count: int
) -> None:
    config = AttentionConfig.from_settings({"mechanism": name, **more})
    counted = sum(each.numel() for each in make_part(config, TINY).parameters())
    assert 12 * counted == 12 * config.make_mechanism().parameters(TINY) == count


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"karat", "linear", "frozen"}))
def test_mechanisms_that_start_as_softmax_do(name: str) -> None:
    module, qkv, x = part(name).double(), inputs(), tokens()
    starts = {"softmax", "temperature", "scalable_softmax", "talking_heads"}
    same = torch.allclose(output(module, qkv, x), output(part("softmax"), qkv, x), atol=1e-6)
    assert same == (name in starts)


@pytest.mark.parametrize(
    "name", ["static", "softmax_mixed", "closed_form", "pointwise", "linear", "karat"]
)
def test_weights_start_with_variance_one_over_n(name: str) -> None:
    place = Place(num_heads=4, num_tokens=100, head_dim=4, width=16)
    rank = {} if name == "pointwise" else {"rank": 12}
    module = part(name, place, **rank)
    scores = torch.randn(2, 4, 100, 100, generator=torch.Generator().manual_seed(1))
    assert 0.6 < module.weights(scores).std().item() * 10 < 1.5


def test_differential_needs_heads_of_even_width_and_no_bias() -> None:
    odd = Differential().refusal(replace(PLACE, head_dim=3))
    assert odd == "halves the heads, whose width 3 is odd"
    assert Differential().refusal(replace(PLACE, has_bias=True)) is not None


@pytest.mark.parametrize(
    ("function", "g"),
    [
        ("linear", lambda u: u),
        ("quadratic", lambda u: u**2),
        ("exponential", np.exp),
        ("sigmoid", lambda u: 1 / (1 + np.exp(-u))),
        ("cosine", np.cos),
    ],
)
def test_closed_form_has_the_function_that_it_says(function: str, g: Any) -> None:
    more = {"function": function, "slope": 0.7, "centre": -0.4}
    module, qkv = randomised(part("closed_form", **more)), inputs()
    scores = (SCALE * qkv[0] @ qkv[1].mT).numpy()
    into, back = (module.learned[name].detach().numpy() for name in ("into", "back"))
    weights = np.einsum("hmr,hrk,bhnk->bhnm", back, into, g(0.7 * (scores + 0.4)))
    wanted = torch.from_numpy(weights) @ qkv[2]
    torch.testing.assert_close(module.attend(qkv, SCALE), wanted)


@pytest.mark.parametrize("function", ["quadratic", "exponential", "sigmoid", "cosine"])
@pytest.mark.parametrize("slope", [0.3, -2.5])
def test_closed_form_starts_with_variance_one_over_n_and_stays_finite(
    function: str, slope: float
) -> None:
    place = Place(num_heads=4, num_tokens=100, head_dim=4, width=16)
    module = part("closed_form", place, rank=12, function=function, slope=slope)
    scores = torch.randn(2, 4, 100, 100, generator=torch.Generator().manual_seed(1))
    if function != "exponential" or slope > -1:  # else single scores decide, as for any exponential
        assert 0.6 < module.weights(scores).std().item() * 10 < 1.5
    assert torch.isfinite(module.weights(1e4 * scores)).all()


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"slope": 0}, "attention.slope = 0.0: must be a number other than 0"),
        ({"function": "tanh"}, "attention.function = 'tanh': must be one of these"),
        ({"rank": "full"}, "attention.rank = 'full': must be a number for this mechanism"),
    ],
)
def test_closed_form_refuses_what_is_no_function(own: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        AttentionConfig.from_settings({"mechanism": "closed_form", **own})
