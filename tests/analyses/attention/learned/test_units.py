"""Learned functions, their scores, and lines in their place, for every basis."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import karat
from karat.analyses.attention.learned.fitted import COMMON, common_forms, learned
from karat.analyses.attention.learned.scores import POINTS, Gathered, quantiles, weights_of_units
from karat.analyses.attention.learned.table import UnitTable, unit_tables, with_lines
from karat.attention.bases import BASES
from karat.attention.operator import Operator
from karat.errors import AnalysisError
from karat.models.hosts import attention_layers
from karat.models.observing import Seen, observed
from tests.models.test_models import images, vit

FOURIER: dict[str, Any] = {"basis": "fourier", "rank": 4, "grid_size": 2}


def converted(attention: dict[str, Any], **more: Any) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    return karat.convert(vit(**more), attention, generator=generator).eval()


@torch.no_grad()
def seen_of(model: nn.Module, count: int = 3) -> list[Seen]:
    with observed(model) as seen:
        model(images(count))
    return list(seen)


def gathered(model: nn.Module, count: int = 3) -> tuple[list[UnitTable], Gathered]:
    tables = unit_tables(model)
    found = Gathered(tables)
    found.add(seen_of(model, count))
    return tables, found


CASES: list[tuple[str, dict[str, Any]]] = [
    *((basis, {"basis": basis, "rank": 3}) for basis in sorted(BASES)),
    ("window over positions", {"basis": "shannon", "rank": 3, "window": "inputs"}),
    ("base", {**FOURIER, "base_activation": "silu"}),
    ("base without scales", {**FOURIER, "base_activation": "gelu", "unit_scales": False}),
    ("full rank", {**FOURIER, "rank": "full"}),
    ("shared heads", {**FOURIER, "head_sharing": "shared"}),
]


@pytest.mark.parametrize(("name", "attention"), CASES, ids=[name for name, _ in CASES])
@torch.no_grad()
def test_values_of_units_sum_to_what_the_operator_computes(
    name: str, attention: dict[str, Any]
) -> None:
    (table, *_) = unit_tables(converted(attention))
    assert isinstance(table.part, Operator)
    tokens, generator = table.part.num_tokens, torch.Generator().manual_seed(0)
    points = torch.randn(table.operators, tokens, 5, generator=generator, dtype=torch.float64)
    values = table.values(points)
    wanted = table.part.phi.double()(points)
    torch.testing.assert_close(values.sum(2), wanted)


@torch.no_grad()
def test_the_unit_of_pointwise_is_its_function() -> None:
    (table, *_) = unit_tables(converted({"mechanism": "pointwise", "basis": "fourier"}))
    points = torch.linspace(-2, 2, 17, dtype=torch.float64).expand(3, 1, 17)
    scores = points.reshape(1, 3, 1, 17)
    wanted = table.part.weights(scores).reshape(3, 17) * 17**0.5
    torch.testing.assert_close(table.values(points).reshape(3, 17), wanted)


@pytest.mark.parametrize(
    "attention",
    [
        {"mechanism": "linear", "rank": 4},
        {"basis": "linear", "rank": "full"},
        {"mechanism": "linear", "rank": 4, "heads": [1]},
        {"mechanism": "linear", "rank": 4, "block_sharing": "universal"},
    ],
    ids=str,
)
@torch.no_grad()
def test_lines_in_place_of_linear_functions_change_nothing(attention: dict[str, Any]) -> None:
    model = converted(attention)
    tables, found = gathered(model)
    units, lines = learned(tables, found)
    assert set(units.best) == {1}
    np.testing.assert_allclose(units.r2[:, 1], 1, atol=1e-9)
    before = model(images())
    with with_lines(tables, *lines), observed(model, record=False):
        torch.testing.assert_close(model(images()), before, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(images()), before, rtol=0, atol=0)


@torch.no_grad()
def test_lines_leave_out_masked_pairs() -> None:
    model = converted({"mechanism": "linear", "rank": 4})
    tables, found = gathered(model)
    _, lines = learned(tables, found)
    part, generator = tables[0].part, torch.Generator().manual_seed(3)
    scores, values = torch.randn(2, 3, 17, 17, generator=generator), torch.randn(2, 3, 17, 8)
    keep = torch.ones(17, 17, dtype=torch.bool).tril()
    before = part.of_scores(scores, values, keep)
    with with_lines(tables, *lines):
        torch.testing.assert_close(
            part.of_scores(scores, values, keep), before, rtol=1e-4, atol=1e-4
        )


@torch.no_grad()
def test_a_line_of_pointwise_is_the_least_squares_line_of_its_function() -> None:
    model = converted({"mechanism": "pointwise", "basis": "fourier"})
    tables, found = gathered(model)
    units, lines = learned(tables, found)
    assert (units.place[:, 3] == -1).all()
    scores = seen_of(model)[0].scores
    assert scores is not None
    with with_lines(tables, *lines):
        weights = tables[0].part.weights(scores)
    slope, offset = lines.slopes[0].reshape(-1, 1, 1), lines.offsets[0].reshape(-1, 1, 1)
    wanted = (slope * scores + offset) / 17**0.5
    torch.testing.assert_close(weights.double(), wanted.double(), rtol=1e-4, atol=1e-5)
    x = found.points(0)[0, 0].numpy()
    y = tables[0].values(found.points(0))[0, 0, 0].numpy()
    np.testing.assert_allclose([slope[0, 0, 0], offset[0, 0, 0]], np.polyfit(x, y, 1), rtol=1e-6)


def test_fourier_of_one_frequency_is_found_as_cosines_of_frequency_one() -> None:
    model = converted({"basis": "fourier", "rank": 4, "grid_size": 1})
    with torch.no_grad():  # untrained models have scores near 0, where every function is a parabola
        for layer in attention_layers(model):
            layer.block.attn.qkv.weight.mul_(10)
    units, _ = learned(*gathered(model, 8))
    assert (units.best == 5).all()
    np.testing.assert_allclose(units.r2[:, 5], 1, atol=1e-6)


def test_one_function_for_all_is_found_with_slope_and_centre() -> None:
    rng = np.random.default_rng(0)
    x = np.sort(rng.normal(0.2, 1.0, (6, POINTS)), -1)
    factors, offsets = rng.normal(size=(6, 5, 1)), rng.normal(size=(6, 5, 1))
    for name, g in (
        ("cosine", lambda u: np.cos(2.3 * (u - 0.4))),
        ("sigmoid", lambda u: 1 / (1 + np.exp(-2.3 * (u - 0.4)))),
        ("quadratic", lambda u: (u - 0.4) ** 2),
        ("exponential", lambda u: np.exp(-0.7 * u)),
        ("linear", lambda u: u),
    ):
        y = factors * g(x)[:, None] + offsets
        found = common_forms([(x, y, np.ones((6, 5)))])
        slope, centre, share = found[COMMON.index(name)]
        assert share == pytest.approx(1, abs=1e-4), name
        if name in ("cosine", "sigmoid"):
            assert abs(slope) == pytest.approx(2.3, rel=0.02)
        if name == "exponential":
            assert slope == pytest.approx(-0.7, rel=0.02)
        if name == "quadratic":
            assert centre == pytest.approx(0.4, abs=0.02)


def test_functions_that_share_a_block_or_a_head_are_counted_once() -> None:
    universal = unit_tables(converted({**FOURIER, "block_sharing": "universal"}))
    assert [table.uses for table in universal] == [[(0, [0, 1, 2]), (1, [0, 1, 2]), (2, [0, 1, 2])]]
    hybrid = unit_tables(converted({**FOURIER, "heads": [0, 2], "blocks": [1]}))
    assert [table.uses for table in hybrid] == [[(1, [0, 2])]]
    units, _ = learned(*gathered(converted({**FOURIER, "head_sharing": "shared"})))
    assert set(units.place[:, 1]) == {0}
    assert len(units.place) == 3 * 4 * 17


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        ({"mechanism": "softmax"}, "has no learned functions of scores"),
        ({"mechanism": "static", "rank": 4}, "has no learned functions of scores"),
        ({**FOURIER, "operator_order": "phi_w"}, "with operator_order phi_w they see no scores"),
    ],
)
def test_a_model_without_functions_of_scores_says_why(
    attention: dict[str, Any], message: str
) -> None:
    with pytest.raises(AnalysisError, match=message):
        unit_tables(converted(attention))


def test_quantiles_leave_out_what_is_masked() -> None:
    values = torch.tensor([[3.0, torch.nan, 1.0, 2.0, torch.nan], [torch.nan] * 5])
    found = quantiles(values, np.array([0.0, 0.5, 0.75, 1.0]))
    torch.testing.assert_close(found[0], torch.tensor([1.0, 2.0, 2.5, 3.0], dtype=torch.float64))
    assert (found[1] == 0).all()


@torch.no_grad()
def test_what_a_unit_weighs_is_the_variation_of_the_output_that_it_makes() -> None:
    model = converted({**FOURIER, "rank": 2})
    tables, found = gathered(model, 2)
    table, seen = tables[0], seen_of(model, 2)[0]
    part = table.part
    assert isinstance(part, Operator)
    assert seen.scores is not None
    sizes = found.sizes(0)
    alone = torch.einsum("pmr,bpmd->bprd", part.weight.double(), seen.values.double())
    torch.testing.assert_close(sizes[..., 0], alone.square().sum((0, 3)))
    shares = weights_of_units(table.values(found.points(0)).numpy(), sizes.numpy())
    np.testing.assert_allclose(shares.sum((1, 2)), 1)
