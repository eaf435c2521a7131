"""Every learned table of attention is found, with its block and heads, and the energy of coefficients is known."""

from typing import Any

import pytest
import torch

import karat
from karat.analyses.geometry.tables import learned_tables
from karat.attention.carried import weights_of
from karat.errors import AnalysisError
from tests.analyses.geometry.small import small_vit
from tests.models.test_models import convit, swin

FOURIER = {"basis": "fourier", "rank": 2, "grid_size": 3}


def places(model: torch.nn.Module, name: str) -> list[tuple[str, str]]:
    every = learned_tables(model).tables
    return [(each.place.block, each.place.head) for each in every if each.name == name]


@pytest.mark.parametrize(
    ("attention", "name", "expected"),
    [
        (FOURIER, "a", [("1", "1"), ("1", "2"), ("1", "3"), ("2", "1"), ("2", "2"), ("2", "3")]),
        ({**FOURIER, "head_sharing": "shared"}, "W", [("1", "1-3"), ("2", "1-3")]),
        ({**FOURIER, "block_sharing": "universal"}, "b", [("1-2", str(n)) for n in (1, 2, 3)]),
        ({**FOURIER, "heads": [0, 2]}, "a", [("1", "1"), ("1", "3"), ("2", "1"), ("2", "3")]),
        ({**FOURIER, "blocks": [1]}, "unit scale", [("2", "1"), ("2", "2"), ("2", "3")]),
        ({**FOURIER, "operator_order": "phi_phi", "blocks": [0]}, "a (second)", [("1", "1"), ("1", "2"), ("1", "3")]),
        ({"mechanism": "static", "rank": 2, "blocks": [0]}, "into", [("1", "1"), ("1", "2"), ("1", "3")]),
        ({"mechanism": "talking_heads"}, "before", [("1", "1-3"), ("2", "1-3")]),
        ({"mechanism": "pointwise", "basis": "rational", "blocks": [0]}, "b", [("1", "1"), ("1", "2"), ("1", "3")]),
        ({"mechanism": "temperature"}, "temperature", []),
        (FOURIER, "base scale", []),
        ({**FOURIER, "base_activation": "silu", "blocks": [0]}, "base scale", [("1", "1"), ("1", "2"), ("1", "3")]),
    ],
)  # fmt: skip
def test_tables_have_their_block_and_heads(
    attention: dict[str, Any], name: str, expected: list[tuple[str, str]]
) -> None:
    assert places(karat.convert(small_vit(depth=2), attention), name) == expected


@pytest.mark.parametrize("host", [convit, swin])
def test_all_learned_numbers_of_an_operator_are_in_a_table(host: Any) -> None:
    model = karat.convert(host(), {**FOURIER, "base_activation": "silu", "gated_blocks": True})
    state = weights_of(model.state_dict())
    found = sum(each.of(state).numel() for each in learned_tables(model).tables)
    own = [value for name, value in state.items() if ".operator." in name]
    assert found == sum(value.numel() for value in own)


def test_a_host_has_no_tables_and_other_models_are_refused() -> None:
    assert not learned_tables(small_vit()).tables
    with pytest.raises(AnalysisError, match="not a supported host"):
        learned_tables(torch.nn.Linear(2, 2))


def test_energy_of_fourier_coefficients_is_that_of_their_frequencies() -> None:
    model = karat.convert(small_vit(), FOURIER)
    phi = "blocks.0.attn.operator.phi"
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".coefficients." in name:
                parameter.zero_()
        cos, sin = (model.get_parameter(f"{phi}.coefficients.{name}") for name in ("cos", "sin"))
        cos[1, 0, 0, 0], sin[1, 0, 1, 2] = 3.0, 2.0
        model.get_parameter(f"{phi}.scale")[1, 0, 1] = 0.5  # so that the sine counts as 1
    first, second, _ = learned_tables(model).functions
    assert dict(second.energies(model.state_dict())) == pytest.approx(
        {"k = 1": 0.9, "k = 2": 0.0, "k = 3": 0.1}
    )
    assert all(share != share for _, share in first.energies(model.state_dict()))  # NaN of zeros


def test_energy_of_other_bases_is_that_of_each_coefficient_of_one_name() -> None:
    def terms(attention: dict[str, Any]) -> list[str]:
        model = karat.convert(small_vit(), attention)
        shares = dict(learned_tables(model).functions[0].energies(model.state_dict()))
        for name in {term.split()[0] for term in shares}:
            own = [share for term, share in shares.items() if term.startswith(name)]
            assert sum(own) == pytest.approx(1)
        return list(shares)

    rational = {"basis": "rational", "numerator_degree": 2, "denominator_degree": 2, "rank": 2}
    assert terms(rational) == ["a 1", "a 2", "a 3", "b 1", "b 2"]
    assert terms({"basis": "chebyshev", "degree": 2, "rank": 2}) == ["c 1", "c 2", "c 3"]
    assert terms({"basis": "dog", "rank": 2}) == []  # one coefficient of each name
    pointwise = {"mechanism": "pointwise", "basis": "fourier", "grid_size": 2}
    assert terms(pointwise) == ["k = 1", "k = 2"]
