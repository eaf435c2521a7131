"""The operator against the paper's algorithm written as loops, and its refusals."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from karat.attention.base_activations import BASE_ACTIVATIONS
from karat.attention.config import AttentionConfig
from karat.attention.heads import HeadParts, make_operator
from karat.attention.operator import Operator
from karat.attention.units import Units
from karat.errors import CombinationError, SettingError
from karat.models.wrappers import KArAtAttention

ORDERS = ["w_phi", "phi_w", "phi_phi"]


def unit(units: Units, p: int, r: int, m: int, x: Tensor) -> Tensor:
    """One Fourier unit φ_rm, with its scales and its base activation."""
    cos, sin = units.coefficients["cos"], units.coefficients["sin"]
    total = x.new_zeros(())
    for k in range(1, cos.shape[-1] + 1):
        total = total + cos[p, r, m, k - 1] * torch.cos(k * x)
        total = total + sin[p, r, m, k - 1] * torch.sin(k * x)
    if units.scale is not None:
        total = units.scale[p, r, m] * total
    base = BASE_ACTIVATIONS[units.base_activation]
    if base is not None:
        total = total + (1 if units.base_scale is None else units.base_scale[p, r, m]) * base(x)
    return total


def table(units: Units, p: int, row: Tensor, keep: Tensor | None = None) -> Tensor:
    """Φ(x): entry r is the sum of φ_rm(x_m) over the unmasked inputs m."""
    _, outputs, inputs = next(iter(units.coefficients.values())).shape[:3]
    found = row.new_zeros(outputs)
    for r, m in itertools.product(range(outputs), range(inputs)):
        if keep is None or keep[m]:
            found[r] = found[r] + unit(units, p, r, m, row[m])
    return found


def condat(y: Tensor) -> Tensor:
    """Projection onto the simplex as the paper's Algorithm 1 writes it, for one vector."""
    ordered = sorted(y.tolist(), reverse=True)
    rho = max(
        i for i in range(1, len(ordered) + 1) if ordered[i - 1] - (sum(ordered[:i]) - 1) / i > 0
    )
    level = (sum(ordered[:rho]) - 1) / rho
    return torch.tensor([max(value - level, 0.0) for value in y.tolist()], dtype=y.dtype)


def projected(operator: Operator, vector: Tensor) -> Tensor:
    kind = operator.config.projection
    return {"none": lambda y: y, "simplex": condat, "softmax": lambda y: y.softmax(0)}[kind](vector)


def weights_of_row(operator: Operator, p: int, row: Tensor, keep: Tensor | None = None) -> Tensor:
    """The attention weights of a row: the replacement of softmax(row)."""
    if operator.phi_2 is not None:
        found = projected(operator, table(operator.phi_2, p, table(operator.phi, p, row, keep)))
    elif operator.weight is None:
        found = projected(operator, table(operator.phi, p, row, keep))
    elif operator.config.operator_order == "w_phi":
        found = operator.weight[p] @ projected(operator, table(operator.phi, p, row, keep))
    else:
        seen = row if keep is None else row * keep
        found = projected(operator, table(operator.phi, p, operator.weight[p] @ seen))
    count = operator.num_tokens
    factor: Any = {1: 1, "1/N": 1 / count, "1/sqrt(N)": 1 / math.sqrt(count)}.get(
        operator.config.output_scale
    )
    if operator.output_scale is not None:
        factor = operator.output_scale[p]
    found = factor * found
    return found if keep is None else found * keep


def algorithm_2(attention: KArAtAttention, x: Tensor) -> Tensor:
    """arXiv 2503.10632, Algorithm 2, from tokens to tokens, entry by entry."""
    operator = attention.operator
    assert isinstance(operator, Operator)
    batch, tokens, width = x.shape
    heads, head_dim = attention.num_heads, width // attention.num_heads
    out = torch.zeros_like(x)
    for b, h in itertools.product(range(batch), range(heads)):
        q, k, v = (
            torch.stack(
                [
                    attention.qkv(x[b, n])[
                        part * width + h * head_dim : part * width + (h + 1) * head_dim
                    ]
                    for n in range(tokens)
                ]
            )
            for part in range(3)
        )
        p = h // (heads // operator.num_operators)
        for n in range(tokens):
            row = torch.stack([q[n] @ k[m] / math.sqrt(head_dim) for m in range(tokens)])
            weights = weights_of_row(operator, p, row)
            for m in range(tokens):
                part = slice(h * head_dim, (h + 1) * head_dim)
                out[b, n, part] = out[b, n, part] + weights[m] * v[m]
    return torch.stack([torch.stack([attention.proj(token) for token in one]) for one in out])


def randomised(operator: Operator | HeadParts) -> Any:
    """In float64 with random parameters, since initial ones would hide errors."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter.normal_()
    return operator.double()


def fourier(**settings: Any) -> AttentionConfig:
    small = {"grid_size": 2, "rank": 3}
    defaults = {k: v for k, v in small.items() if not any(s.startswith(k) for s in settings)}
    return AttentionConfig.from_settings({"basis": "fourier", **defaults, **settings})


FAMILY = [
    *({"operator_order": order} for order in ORDERS),
    *({"base_activation": base} for base in BASE_ACTIVATIONS),
    *({"base_activation": "gelu", "unit_scales": False, "operator_order": o} for o in ORDERS),
    *({"projection": "simplex", "operator_order": order} for order in ORDERS),
    *({"projection": "softmax", "operator_order": order} for order in ORDERS),
    *({"output_scale": scale} for scale in ("1/N", "1/sqrt(N)", "learned")),
    {"output_scale": "learned", "operator_order": "phi_w", "head_sharing": "shared"},
    {"rank": "full"},
    {"rank": "full", "projection": "simplex", "base_activation": "silu"},
    {"head_sharing": "shared"},
    {"head_sharing": "grouped", "head_groups": 2},
    {"rank": 1, "grid_size": 1},
    {"rank": 5},
]


def name_of(settings: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in settings.items())


@pytest.mark.parametrize("settings", FAMILY, ids=name_of)
def test_module_matches_the_papers_algorithm_2(settings: dict[str, Any]) -> None:
    from timm.layers import Attention

    torch.manual_seed(1)
    operator = randomised(make_operator(fourier(**settings), 4, 5))
    attention = KArAtAttention(Attention(8, num_heads=4, qkv_bias=True), operator).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(attention(x), algorithm_2(attention, x))


@pytest.mark.parametrize("settings", FAMILY, ids=name_of)
def test_masked_keys_have_no_effect(settings: dict[str, Any]) -> None:
    operator = randomised(make_operator(fourier(**{**settings, "projection": "none"}), 4, 5))
    scores, values = torch.randn(2, 4, 5, 5).double(), torch.randn(2, 4, 5, 6).double()
    keep = torch.rand(2, 1, 5, 5) < 0.6
    wanted = torch.zeros_like(values)
    for b, h, n in itertools.product(range(2), range(4), range(5)):
        p = h // (4 // operator.num_operators)
        wanted[b, h, n] = weights_of_row(operator, p, scores[b, h, n], keep[b, 0, n]) @ values[b, h]
    torch.testing.assert_close(operator.of_scores(scores, values, keep), wanted)


@pytest.mark.parametrize("projection", ["simplex", "softmax"])
def test_projected_weights_sum_to_one_over_unmasked_keys(projection: str) -> None:
    operator = randomised(
        make_operator(fourier(projection=projection, operator_order="phi_w"), 2, 5)
    )
    keep = torch.ones(5, 5, dtype=torch.bool).tril()[None, None]
    weights = operator.weights(torch.randn(1, 2, 5, 5).double(), keep)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 5).double())
    assert (weights[~keep.expand_as(weights)] == 0).all()


@pytest.mark.parametrize("settings", FAMILY, ids=name_of)
def test_output_is_weights_times_values(settings: dict[str, Any]) -> None:
    operator = randomised(make_operator(fourier(**settings), 4, 5))
    scores, values = torch.randn(2, 4, 5, 5).double(), torch.randn(2, 4, 5, 6).double()
    torch.testing.assert_close(
        operator.of_scores(scores, values), operator.weights(scores) @ values
    )


@pytest.mark.parametrize("order", ORDERS)
def test_gradients_match_finite_differences(order: str) -> None:
    operator = randomised(make_operator(fourier(operator_order=order, rank=2), 2, 3))
    scores = torch.randn(1, 2, 3, 3).double().requires_grad_()
    values = torch.randn(1, 2, 3, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(operator.of_scores, (scores, values))


@pytest.mark.parametrize("heads", [[1], [0, 2]])
def test_mask_without_batch_or_heads_is_broadcast(heads: list[int]) -> None:
    parts = randomised(make_operator(fourier(heads=heads), 3, 5))
    scores, values = torch.randn(2, 3, 5, 5).double(), torch.randn(2, 3, 5, 6).double()
    keep = torch.ones(5, 5, dtype=torch.bool).tril()
    wanted = parts.of_scores(scores, values, keep.expand(2, 3, 5, 5))
    torch.testing.assert_close(parts.of_scores(scores, values, keep), wanted)
    torch.testing.assert_close(parts.of_scores(scores, values, keep[None]), wanted)


@pytest.mark.parametrize("settings", FAMILY, ids=name_of)
def test_empty_batch_gives_an_empty_output(settings: dict[str, Any]) -> None:
    operator = make_operator(fourier(**settings), 4, 5)
    assert operator.of_scores(torch.randn(0, 4, 5, 5), torch.randn(0, 4, 5, 6)).shape == (
        0,
        4,
        5,
        6,
    )


def test_dropout_drops_weights_and_keeps_their_mean() -> None:
    operator = make_operator(fourier(), 1, 5)
    scores, values = torch.randn(1, 1, 5, 5), torch.eye(5)[None, None]
    torch.manual_seed(0)
    drawn = torch.stack([operator.of_scores(scores, values, None, 0.5) for _ in range(4000)])
    weights = operator.weights(scores)
    dropped = drawn == 0
    assert 0.45 < dropped.float().mean() < 0.55
    torch.testing.assert_close(drawn[~dropped], (2 * weights).expand_as(drawn)[~dropped])


def test_head_parts_match_separate_operators_and_softmax() -> None:
    config = fourier(heads=[0, 2, 3], grid_size_per_head=[1, 2, 1], rank_per_head=[2, 4, 2])
    parts = randomised(make_operator(config, 4, 5))
    assert isinstance(parts, HeadParts)
    assert [heads for heads, _ in config.parts(4)] == [(0, 3), (2,), (1,)]
    scores, values = torch.randn(2, 4, 5, 5).double(), torch.randn(2, 4, 5, 6).double()
    out = parts.of_scores(scores, values)
    torch.testing.assert_close(out[:, 1], scores[:, 1].softmax(-1) @ values[:, 1])
    torch.testing.assert_close(
        out[:, [2]], parts.operators[1].of_scores(scores[:, [2]], values[:, [2]])
    )
    torch.testing.assert_close(
        out[:, [0, 3]], parts.operators[0].of_scores(scores[:, [0, 3]], values[:, [0, 3]])
    )
    torch.testing.assert_close(out, parts.weights(scores) @ values)


@pytest.mark.parametrize(
    ("rank", "heads", "tokens"), [(1, 1, 2), (2, 1, 2), ("full", 1, 2), (17, 3, 17), (1, 3, 17)]
)
def test_extreme_ranks_heads_and_tokens_work(rank: int | str, heads: int, tokens: int) -> None:
    operator = make_operator(fourier(rank=rank, grid_size=1), heads, tokens)
    out = operator.of_scores(
        torch.randn(2, heads, tokens, tokens), torch.randn(2, heads, tokens, 4)
    )
    assert out.shape == (2, heads, tokens, 4)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("base", BASE_ACTIVATIONS)
@pytest.mark.parametrize("order", [*ORDERS, "full"])
def test_fan_in_gives_weights_of_variance_one_over_n(order: str, base: str) -> None:
    settings = {"rank": "full"} if order == "full" else {"operator_order": order, "rank": 12}
    settings["base_activation"] = base
    operator = make_operator(fourier(**settings), 1, 100, torch.Generator().manual_seed(0))
    weights = operator.weights(
        torch.randn(1, 1, 100, 100, generator=torch.Generator().manual_seed(1))
    )
    assert 0.6 < weights.std().item() * 10 < 1.5


def test_activation_stays_in_float32_under_autocast() -> None:
    operator = make_operator(fourier(grid_size=11), 2, 5)
    scores, values = torch.randn(2, 2, 5, 5) * 10, torch.randn(2, 2, 5, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(
            operator.of_scores(scores, values), operator.of_scores(scores, values.float())
        )
        assert operator.of_scores(scores.bfloat16(), values.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"basis": "furier"}, "attention.basis = 'furier': unknown. did you mean 'fourier'?"),
        ({"basis": "fourier", "rank": 0}, "attention.rank = 0: must be at least 1"),
        ({"basis": "fourier", "rank": "whole"}, "attention.rank = 'whole'"),
        ({"basis": "fourier", "grid_size": 0}, "attention.grid_size = 0: must be at least 1"),
        ({"basis": "fourier", "head_sharing": "grouped"}, "head_groups: must be set for head_sharing: grouped"),
        ({"basis": "softmax", "rank": 3}, "attention.rank: does not exist for attention.basis: softmax"),
        ({"basis": "fourier", "omega0": 3}, "attention.omega0: does not exist for attention.basis: fourier"),
        ({"basis": "fourier", "ranks": 3}, "attention.ranks: unknown key. did you mean 'rank'"),
        ({"basis": "fourier", "rank": "full", "operator_order": "phi_w"}, "attention.rank = 'full': must be a number for operator_order"),
        ({"basis": "fourier", "projection": "condat"}, "attention.projection = 'condat'"),
        ({"basis": "fourier", "output_scale": 2}, "attention.output_scale = 2"),
        ({"basis": "fourier", "blocks": []}, "attention.blocks = []: must name at least one"),
        ({"basis": "fourier", "heads": [1, 1]}, "attention.heads = [1, 1]: must be ascending"),
        ({"basis": "fourier", "rank_per_block": [2, 0]}, "attention.rank_per_block = 0: must be at least 1"),
        ({"basis": "fourier", "grid_size_per_head": [1, "a"]}, "attention.grid_size_per_head = 'a'"),
        ({"basis": "fourier", "rank": 2, "rank_per_block": [2, 4]}, "sets the same as rank; keep one"),
        ({"basis": "fourier", "rank_per_block": [2], "block_sharing": "universal"}, "attention.block_sharing = 'universal': must be blockwise"),
        ({"basis": "fourier", "rank_per_head": [2], "head_sharing": "shared"}, "attention.head_sharing = 'shared': must be per_head"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_at_construction(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError) as caught:
        AttentionConfig.from_settings(settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"operator_order": "wphi"}, {"head_sharing": "shard"}, {"init": "papr"}, {"rank": "whole"},
        {"rank": 2.5}, {"rank": True}, {"unit_scales": "no"}, {"output_scale": 2},
        {"projection": "condat"}, {"base_activation": "relu"}, {"blocks": "erly"},
        {"blocks": [-1]}, {"heads": [2, 0]},
    ],
    ids=str,
)  # fmt: skip
def test_configuration_from_python_is_checked_like_a_file(settings: dict[str, Any]) -> None:
    (key,) = settings
    with pytest.raises(SettingError, match=key):
        AttentionConfig(basis="fourier", **settings)


@pytest.mark.parametrize(
    ("settings", "heads", "message"),
    [
        ({"head_sharing": "grouped", "head_groups": 2}, 3, "does not divide the 3 heads"),
        ({"rank": 6}, 3, "attention.rank = 6 is above the 5 tokens"),
        (
            {"heads": [0, 3]},
            3,
            "attention.heads: 3 does not exist; the 3 heads are numbered from 0",
        ),
        (
            {"grid_size_per_head": [1, 2]},
            3,
            "grid_size_per_head has 2 values for 3 converted heads",
        ),
    ],
)
def test_settings_that_do_not_fit_the_block_are_refused(
    settings: dict[str, Any], heads: int, message: str
) -> None:
    with pytest.raises(CombinationError, match=message):
        make_operator(fourier(**settings), heads, 5)


@pytest.mark.parametrize(
    ("blocks", "depth", "chosen"),
    [
        ("all", 3, (0, 1, 2)),
        ("early", 12, (0, 1, 2, 3)),
        ("middle", 12, (4, 5, 6, 7)),
        ("late", 12, (8, 9, 10, 11)),
        ("early", 4, (0, 1)),
        ((0, 2), 4, (0, 2)),
    ],
)
def test_blocks_are_chosen_by_third_or_by_number(blocks: Any, depth: int, chosen: object) -> None:
    assert AttentionConfig(basis="fourier", blocks=blocks).chosen_blocks(depth) == chosen


def test_block_that_does_not_exist_is_refused() -> None:
    with pytest.raises(
        CombinationError, match="4 does not exist; the 4 blocks are numbered from 0"
    ):
        AttentionConfig(basis="fourier", blocks=(1, 4)).chosen_blocks(4)
