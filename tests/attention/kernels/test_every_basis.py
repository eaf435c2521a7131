"""Every basis has a fast path: compiled, and in torch blocks, with the numbers of its definition."""

import copy
import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from karat.attention.bases import BASES, LinearBasis, UnitBasis
from karat.attention.bases.chebyshev import Chebyshev
from karat.attention.bases.rational import Rational
from karat.attention.formulas import program_of
from karat.attention.kernels import _compiled, _operations
from karat.attention.kernels._features import features_of
from karat.attention.kernels.recompute import Recompute
from karat.attention.kernels.reference import Reference
from karat.attention.operator_config import OperatorConfig
from karat.attention.units import Units

OPERATORS, RANK, TOKENS, HEADS, WIDTH = 2, 5, 21, 4, 8
SETTINGS: list[dict[str, Any]] = [
    *(
        {"basis": str(basis), "base_activation": base}
        for basis in BASES
        for base in ("zero", "silu")
    ),
    {"basis": "chebyshev", "base_activation": "gelu", "unit_scales": False},
    {"basis": "rational", "base_activation": "gelu", "unit_scales": False},
    {"basis": "morlet", "base_activation": "identity"},
    {"basis": "fourier", "basis_settings": {"grid_size": 17}},
    {"basis": "fourier", "basis_settings": {"grid_size": 1}},
    {"basis": "bspline", "basis_settings": {"grid_size": 9, "degree": 0}},
    {"basis": "bspline", "basis_settings": {"grid_size": 1, "degree": 2, "extent": 0.7}},
    {"basis": "chebyshev", "basis_settings": {"degree": 1}},
    {"basis": "rbf", "basis_settings": {"grid_size": 1}},
    {"basis": "rational", "basis_settings": {"numerator_degree": 0, "denominator_degree": 1}},
    {"basis": "shannon", "basis_settings": {"window": "inputs"}},
]


def name_of(settings: dict[str, Any]) -> str:
    return " ".join(str(each) for each in settings.values())


def units_of(**settings: Any) -> Units:
    """Units with parameters away from where they start, in float32."""
    config = OperatorConfig(**settings)
    draw = torch.Generator().manual_seed(0)
    units = Units(config, (OPERATORS, RANK, TOKENS), draw)
    with torch.no_grad():
        for parameter in units.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
        if "s" in units.coefficients:
            units.coefficients["s"].clamp_(min=0.2)
    return units


def inputs() -> list[Tensor]:
    """Queries, keys, values and W."""
    draw = torch.Generator().manual_seed(1)
    qkv = [torch.randn(3, HEADS, TOKENS, WIDTH, generator=draw) for _ in range(3)]
    return [*qkv, torch.randn(OPERATORS, TOKENS, RANK, generator=draw)]


def results(kernel: Any, units: Units, tensors: list[Tensor]) -> list[Tensor]:
    """The output, and the gradients of the inputs and of all parameters that have one."""
    q, k, v, matrix = (each.detach().requires_grad_() for each in tensors)
    out = kernel.attend((q, k, v), 0.5, units, matrix)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(out.dtype)
    parameters = [each for each in units.parameters() if each.requires_grad]
    return [out, *torch.autograd.grad(out, [q, k, v, matrix, *parameters], upstream)]


def assert_agree(got: list[Tensor], want: list[Tensor], tolerance: float) -> None:
    for ours, theirs in zip(got, want, strict=True):
        error = (ours.double() - theirs).abs().max() / theirs.abs().max().clamp(min=1e-9)
        assert error <= tolerance, f"off by {error:.1e} of the largest element"


@pytest.mark.parametrize("settings", SETTINGS, ids=name_of)
def test_compiled_and_in_blocks_it_agrees_with_the_definition_in_float64(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    units, tensors = units_of(**settings), inputs()
    wide = copy.deepcopy(units).double()
    want = results(Reference(), wide, [each.double() for each in tensors])
    # 2e-7 to 6e-6 were measured, with several processors.
    if _compiled.is_available():
        assert _compiled.compiled_basis(units.spec, units.scale is not None) is not None
        assert_agree(results(Recompute(), units, tensors), want, 2e-5)
    assert_agree(results(Recompute(), wide, [each.double() for each in tensors]), want, 1e-12)
    monkeypatch.setattr(_operations, "compiled_basis", lambda spec, has_scale: None)
    assert_agree(results(Recompute(), units, tensors), want, 2e-5)


@pytest.mark.parametrize("settings", SETTINGS, ids=name_of)
@pytest.mark.parametrize("kernel", [Recompute(), Reference()], ids=["recompute", "reference"])
def test_in_bfloat16_it_agrees_with_float64_on_the_same_numbers(
    kernel: Any, settings: dict[str, Any]
) -> None:
    units = units_of(**settings)
    *qkv, matrix = inputs()
    tensors = [*(each.bfloat16() for each in qkv), matrix]
    want = results(Reference(), copy.deepcopy(units).double(), [each.double() for each in tensors])
    assert_agree(results(kernel, units, tensors), want, 2e-2)


@pytest.mark.parametrize("basis", [str(basis) for basis in BASES])
@pytest.mark.parametrize("rank", [1, 13])
def test_any_number_of_outputs_and_tokens_is_compiled(basis: str, rank: int) -> None:
    if not _compiled.is_available():
        pytest.skip("there is no C++ compiler")
    config = OperatorConfig(basis=basis)
    for tokens in (1, 70):
        units = Units(config, (1, rank, tokens), torch.Generator().manual_seed(0))
        draw = torch.Generator().manual_seed(1)
        tensors = [torch.randn(2, 1, tokens, 3, generator=draw) for _ in range(3)]
        tensors.append(torch.randn(1, tokens, rank, generator=draw))
        wide = copy.deepcopy(units).double()
        want = results(Reference(), wide, [each.double() for each in tensors])
        assert_agree(results(Recompute(), units, tensors), want, 2e-5)


@pytest.mark.parametrize("basis", [str(basis) for basis in BASES])
def test_a_score_that_is_no_number_gives_none(basis: str) -> None:
    units = units_of(basis=basis)
    q, k, v, matrix = inputs()
    q[0, 0, 3] = torch.nan
    out = Recompute().attend((q, k, v), 0.5, units, matrix)
    assert out[0, 0, 3].isnan().all()
    assert out[1:].isfinite().all()


def test_a_basis_in_torch_operations_alone_works_and_says_that_it_is_slow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class PlainChebyshev(Chebyshev):
        terms = LinearBasis.terms
        term_slopes = LinearBasis.term_slopes

        def features(self, scores_PML: Tensor) -> Tensor:
            return Chebyshev().features(scores_PML)

    class PlainRational(Rational):
        unit = UnitBasis.unit

    for name, plain in (("chebyshev", PlainChebyshev), ("rational", PlainRational)):
        tensors, want = inputs(), results(Reference(), units_of(basis=name), inputs())
        monkeypatch.setitem(BASES._known, "plain", plain)
        for cached in (
            _compiled.compiled_basis,
            _compiled.warn_without_formula,
            program_of,
            features_of,
        ):
            cached.cache_clear()
        units = units_of(basis="plain")
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            got = results(Recompute(), units, tensors)
        assert_agree(got, [each.double() for each in want], 2e-5)
        assert "basis plain runs several times slower" in caplog.text


def test_code_that_does_not_compile_falls_back_with_one_warning_that_names_the_basis(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not _compiled.is_available():
        pytest.skip("there is no C++ compiler")
    _compiled.compiled_basis.cache_clear()
    monkeypatch.setattr(_compiled, "source_of", lambda program: "this is no C++")
    units, tensors = units_of(basis="dog"), inputs()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            results(Recompute(), units, tensors)
    _compiled.compiled_basis.cache_clear()
    warnings = [record.message for record in caplog.records]
    assert len(warnings) == 1
    assert warnings[0].startswith("basis dog runs several times slower than it could")


@pytest.mark.parametrize("basis", ["mexican_hat", "shannon"])
def test_a_width_below_its_bound_can_grow_again(basis: str) -> None:
    units, tensors = units_of(basis=basis), inputs()
    with torch.no_grad():
        units.coefficients["s"].fill_(0.005)
    results_of = results(Recompute(), units, tensors)
    names = [name for name, each in units.named_parameters() if each.requires_grad]
    grad = results_of[5 + names.index("coefficients.s")]
    assert (grad <= 0).all()  # a step down the gradient never narrows it further
    assert (grad < 0).any()


@pytest.mark.parametrize("basis", ["chebyshev", "rational", "morlet"])
def test_a_functional_call_has_the_gradients_of_the_parameters_it_was_given(basis: str) -> None:
    tensors = inputs()
    own, other = units_of(basis=basis), units_of(basis=basis)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.3)

    class Attends(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.units = own

        def forward(self) -> Tensor:
            q, k, v, matrix = tensors
            return Recompute().attend((q, k, v), 0.5, self.units, matrix).square().sum()

    given = {f"units.{name}": each for name, each in other.named_parameters()}
    names = [name for name, each in given.items() if each.requires_grad]
    asked = [given[name] for name in names]
    got = torch.autograd.grad(torch.func.functional_call(Attends(), given, ()), asked)
    q, k, v, matrix = tensors
    want = torch.autograd.grad(
        Recompute().attend((q, k, v), 0.5, other, matrix).square().sum(), asked
    )
    torch.testing.assert_close(got, want)
