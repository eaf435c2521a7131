"""Every kernel computes the same function: values, gradients, extreme shapes, and refusals."""

import functools
import itertools
import json
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.measuring import saved_bytes
from karat.attention.bases import BASES
from karat.attention.config import AttentionConfig
from karat.attention.heads import make_operator
from karat.attention.kernels import KERNELS, Task, _compiled, _operations, kernel_for
from karat.attention.kernels.recompute import Recompute
from karat.attention.kernels.reference import Reference
from karat.attention.operator import Operator
from karat.attention.units import Units
from karat.errors import KernelError, SettingError

HEADS, RANK, WIDTH = 4, 3, 5


@pytest.fixture(params=["compiled", "torch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Units compiled, or in torch operations as without a compiler."""
    name: str = request.param
    if name == "torch":
        monkeypatch.setattr(_operations, "compiled_basis", lambda spec, has_scale: None)
    elif not _compiled.is_available():
        pytest.skip("there is no C++ compiler")
    return name


def units_of(
    basis: str, tokens: int, operators: int = HEADS, dtype: torch.dtype = torch.float64, **more: Any
) -> Units:
    """Units with random parameters."""
    config = AttentionConfig.from_settings({"basis": basis, **more})
    units = Units(config, (operators, RANK, tokens), torch.Generator().manual_seed(0))
    if units.scale is not None:
        torch.nn.init.normal_(units.scale, 1.0, 0.2, generator=torch.Generator().manual_seed(1))
    return units.to(dtype)


def compiled(basis: str, **settings: Any) -> int:
    """The address of a compiled basis whose units have no scale and no base activation."""
    address = _compiled.compiled_basis(json.dumps([basis, settings, "zero"]), False)
    assert address is not None
    return address


def inputs_of(batch: int, tokens: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Queries and keys in timm's layout: views of one projection."""
    drawn = torch.randn(batch, tokens, 3, HEADS, WIDTH, generator=torch.Generator().manual_seed(2))
    q, k, _ = drawn.to(dtype).permute(2, 0, 3, 1, 4).unbind(0)
    return q.requires_grad_(), k.requires_grad_()


def results(kernel: Any, q: Tensor, k: Tensor, units: Units) -> list[Tensor]:
    """Rows and all gradients."""
    rows = kernel.rows(q, k, 0.7, units)
    parameters = [p for p in units.parameters() if p.requires_grad]
    weights = torch.randn(rows.shape, generator=torch.Generator().manual_seed(3)).to(rows.dtype)
    return [rows, *torch.autograd.grad((rows * weights).sum(), [q, k, *parameters])]


@pytest.mark.parametrize("base", ["zero", "gelu"])
@pytest.mark.parametrize("operators", [4, 2, 1])
@pytest.mark.parametrize("basis", sorted(BASES))
def test_recompute_matches_the_reference_with_all_gradients(
    basis: str, operators: int, base: str
) -> None:
    units = units_of(basis, 7, operators, base_activation=base)
    q, k = inputs_of(3, 7)
    ours, wanted = results(Recompute(), q, k, units), results(Reference(), q, k, units)
    for got, want in zip(ours, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("batch", "tokens", "grid"),
    [(1, 1, 1), (2, 2, 2), (0, 5, 3), (9, 17, 5), (2, 65, 11), (1, 5, 16)],
)
def test_extreme_batches_tokens_and_grids_work(batch: int, tokens: int, grid: int) -> None:
    units = units_of("fourier", tokens, grid_size=grid)
    q, k = inputs_of(batch, tokens)
    ours, wanted = results(Recompute(), q, k, units), results(Reference(), q, k, units)
    for got, want in zip(ours, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("numbers", "queries"), [(1, 16), (1, 1), (500, 2), (2000, 4), (1 << 22, 16)]
)
def test_result_does_not_depend_on_the_size_of_blocks(
    numbers: int, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("karat.attention.kernels._blocks.CACHE_NUMBERS", numbers)
    monkeypatch.setattr("karat.attention.kernels._blocks.LEAST_QUERIES", queries)
    for operators in (4, 2):
        units = units_of("fourier", 9, operators, grid_size=3)
        q, k = inputs_of(5, 9)
        ours, wanted = results(Recompute(), q, k, units), results(Reference(), q, k, units)
        for got, want in zip(ours, wanted, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str
)
@pytest.mark.parametrize("kernel", [Reference(), Recompute()], ids=["reference", "recompute"])
@pytest.mark.parametrize("grid", [1, 3, 11, 16])
def test_gradients_agree_with_float64(
    grid: int, kernel: Any, dtype: torch.dtype, tolerance: float
) -> None:
    parameters = torch.promote_types(dtype, torch.float32)
    units = units_of("fourier", 65, grid_size=grid, dtype=parameters)
    q, k = inputs_of(4, 65, dtype)
    wide = units_of("fourier", 65, grid_size=grid)
    wide.load_state_dict({name: value.double() for name, value in units.state_dict().items()})
    q64, k64 = (x.detach().double().requires_grad_() for x in (q, k))
    wanted = results(Reference(), q64, k64, wide)
    for got, want in zip(results(kernel, q, k, units), wanted, strict=True):
        error = (got.double() - want).abs().max() / want.abs().max()
        assert error < tolerance


@pytest.mark.parametrize(
    ("batch", "tokens", "grid", "operators"),
    [(0, 5, 3, 4), (1, 1, 1, 4), (3, 2, 2, 2), (9, 17, 16, 1), (2, 65, 3, 4), (1, 197, 11, 2)],
)
def test_rows_in_float32_agree_with_float64_compiled_or_not(
    engine: str, batch: int, tokens: int, grid: int, operators: int
) -> None:
    units = units_of("fourier", tokens, operators, torch.float32, grid_size=grid)
    q, k = inputs_of(batch, tokens, torch.float32)
    wide = units_of("fourier", tokens, operators, grid_size=grid)
    wide.load_state_dict({name: value.double() for name, value in units.state_dict().items()})
    q64, k64 = (x.detach().double().requires_grad_() for x in (q, k))
    wanted = results(Reference(), q64, k64, wide)
    for got, want in zip(results(Recompute(), q, k, units), wanted, strict=True):
        largest = want.abs().max().item() if want.numel() else 0.0
        torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-5 * largest + 1e-7)


def test_compiled_sines_are_exact_for_large_scores_and_propagate_nan() -> None:
    if not _compiled.is_available():
        pytest.skip("there is no C++ compiler")
    sizes = torch.tensor([0.0, 1e-6, 3.0, 1e3, 1e5, 1e7, -2.5e6, torch.nan, torch.inf])
    q, k = sizes.view(1, 1, -1, 1), torch.ones(1, 1, 1, 1)
    cosine, sine = torch.eye(2).view(2, 1, 2, 1, 1)  # one output each
    basis = compiled("fourier", grid_size=1)
    rows = torch.ops.karat_native.rows(q, k, [cosine, sine], None, None, 1.0, basis)[0, 0]
    wanted = torch.stack([sizes.double().cos(), sizes.double().sin()])
    torch.testing.assert_close(rows.double(), wanted, rtol=0, atol=2e-7, equal_nan=True)


@pytest.mark.parametrize("asked", list(itertools.product([False, True], repeat=3))[1:], ids=str)
def test_gradients_of_some_inputs_only_are_the_same(asked: tuple[bool, bool, bool]) -> None:
    units = units_of("fourier", 5)
    q, k = (x.detach() for x in inputs_of(2, 5))
    of_units = units.coefficients["cos"]
    units.requires_grad_(False)
    tensors = [t.requires_grad_() for t, a in zip((q, k, of_units), asked, strict=True) if a]
    found = [
        torch.autograd.grad(kernel.rows(q, k, 0.7, units).square().sum(), tensors)
        for kernel in (Recompute(), Reference())
    ]
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want)


def test_inputs_of_any_strides_are_supported() -> None:
    units = units_of("fourier", 6)
    for dims in itertools.permutations(range(4)):
        shape = torch.empty(2, HEADS, 6, WIDTH).permute(dims).shape
        back = torch.tensor(dims).argsort().tolist()
        q, k = (torch.randn(shape, dtype=torch.float64).permute(back) for _ in range(2))
        torch.testing.assert_close(
            Recompute().rows(q, k, 0.7, units), Reference().rows(q, k, 0.7, units)
        )


def kept_bytes(kernel: Any, basis: str) -> int:
    units = units_of(basis, 65, dtype=torch.float32)
    q, k = inputs_of(4, 65, torch.float32)
    return saved_bytes(lambda: kernel.rows(q, k, 0.7, units), [q, k, *units.parameters()])


@pytest.mark.parametrize("basis", ["fourier", "bspline", "morlet"])
def test_no_scores_or_features_are_kept_for_the_backward_pass(basis: str) -> None:
    scores = 4 * HEADS * 65 * 65 * 4
    assert kept_bytes(Recompute(), basis) < 0.5 * scores
    assert kept_bytes(Reference(), basis) > 2 * scores


def test_nothing_is_kept_without_gradients() -> None:
    units = units_of("morlet", 5)
    q, k = inputs_of(2, 5)
    with torch.no_grad():
        rows = Recompute().rows(q, k, 0.7, units)
    assert rows.grad_fn is None
    torch.testing.assert_close(rows, Reference().rows(q, k, 0.7, units))


def test_second_derivative_is_refused_with_a_remedy() -> None:
    units = units_of("fourier", 5)
    q, k = inputs_of(2, 5)
    (grad,) = torch.autograd.grad(
        Recompute().rows(q, k, 0.7, units).square().sum(), q, create_graph=True
    )
    with pytest.raises(
        RuntimeError, match=r"no second derivative; use attention.kernel: reference"
    ):
        grad.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.autograd.gradgradcheck(
        lambda x: Reference().rows(x, k, 0.7, units), inputs_of(1, 5)[:1]
    )


def operator_of(kernel: str, dtype: torch.dtype = torch.float32, **settings: Any) -> Operator:
    """An operator for 5 tokens, with random parameters."""
    config = AttentionConfig.from_settings(
        {"basis": "fourier", "rank": 3, "kernel": kernel, **settings}
    )
    operator = make_operator(config, HEADS, 5, torch.Generator().manual_seed(0))
    assert isinstance(operator, Operator)
    return operator.to(dtype)


def assert_close_to_float64(got: Tensor, want: Tensor) -> None:
    """Compare a float32 result with the float64 one, relative to the largest element.

    Small elements are differences of large ones, so an error of their own size means nothing. The
    bound is that of the gradients, 1e-5; 2e-7 to 6e-7 were measured, with any number of threads.
    """
    error = (got.double() - want).abs().max() / want.abs().max()
    assert error <= 1e-5, f"off by {error:.1e} of the largest element"


def packed(*more: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Queries, keys and values in one tensor, as a projection returns them."""
    draw = torch.Generator().manual_seed(0)
    drawn = torch.randn(*more, 2, 5, 3, HEADS, 6, generator=draw, dtype=dtype)
    return (
        drawn.movedim(-3, 0).movedim(-2, -3) if not more else drawn.movedim(-3, 1).movedim(-2, -3)
    )


@pytest.mark.parametrize("basis", ["fourier", "chebyshev", "morlet"])
def test_packed_qkv_gives_the_same_as_three_tensors(engine: str, basis: str) -> None:
    operator = operator_of("recompute", basis=basis)
    qkv = packed().requires_grad_()
    together, apart = operator.attend(qkv, 0.5), operator.attend(tuple(qkv.unbind(0)), 0.5)
    torch.testing.assert_close(together, apart)
    upstream = torch.randn(together.shape)
    tensors = [qkv, *(p for p in operator.parameters() if p.requires_grad)]
    one, other = (torch.autograd.grad(out, tensors, upstream) for out in (together, apart))
    torch.testing.assert_close(one, other)


def test_gradient_of_packed_qkv_has_the_layout_of_the_projection(engine: str) -> None:
    qkv = packed().requires_grad_()
    (grad,) = torch.autograd.grad(operator_of("recompute").attend(qkv, 0.5).sum(), qkv)
    assert grad.permute(1, 3, 0, 2, 4).is_contiguous()


def test_strides_that_blas_cannot_use_are_supported(engine: str) -> None:
    operator, wide = operator_of("recompute"), operator_of("reference", torch.float64)
    plain = packed()
    for qkv in (plain, plain[:, :1].expand_as(plain), plain[..., :1].expand_as(plain)):
        found = []
        for leaf, each in ((qkv.requires_grad_(), operator), (qkv.detach().double(), wide)):
            tensors = [leaf.requires_grad_(), *each.phi.coefficients.values()]
            out = each.attend(leaf, 0.5)
            found.append([out, *torch.autograd.grad(out.sum(), tensors)])
        for got, want in zip(*found, strict=True):
            assert_close_to_float64(got, want)


@pytest.mark.parametrize("basis", ["fourier", "chebyshev", "morlet"])
def test_gradients_through_torch_func_are_the_same(engine: str, basis: str) -> None:
    operators = [operator_of(kernel, basis=basis) for kernel in ("recompute", "reference")]
    wide = operator_of("reference", torch.float64, basis=basis)
    images = packed(3)

    def loss(operator: Operator, qkv: Tensor) -> Tensor:
        return operator.attend(qkv, 0.5).square().sum()

    for transform in (torch.func.grad, lambda f: torch.func.vmap(torch.func.grad(f))):
        inputs = images[0] if transform is torch.func.grad else images
        want = transform(functools.partial(loss, wide))(inputs.double())
        for operator in operators:
            assert_close_to_float64(transform(functools.partial(loss, operator))(inputs), want)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("basis", ["fourier", "chebyshev"])
def test_compiled_model_is_the_same_in_training_and_inference(basis: str) -> None:
    operator = operator_of("auto", basis=basis)
    qkv = packed().requires_grad_()

    def attend(x: Tensor) -> Tensor:
        return operator.attend(x, 0.5)

    compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)
    tensors = [qkv, *(p for p in operator.parameters() if p.requires_grad)]
    found = [torch.autograd.grad(each(qkv).square().sum(), tensors) for each in (compiled, attend)]
    torch.testing.assert_close(*found)
    with torch.no_grad():
        torch.testing.assert_close(compiled(qkv), attend(qkv))


@pytest.mark.parametrize("basis", ["fourier", "morlet"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_custom_operations_pass_opcheck(dtype: torch.dtype, basis: str) -> None:
    units = units_of(basis, 5, 2, dtype)
    q, k = (x.detach() for x in inputs_of(2, 5, dtype))
    qkv = torch.randn(3, *q.shape, dtype=dtype)
    matrix = torch.randn(2, 5, RANK, dtype=dtype)
    coefficients = [value.detach() for value in units.coefficients.values()]
    assert units.scale is not None
    more = (coefficients, units.scale.detach(), None, 0.7, units.spec)
    rows = torch.randn(2, HEADS, RANK, 5, dtype=dtype)
    for operation, arguments in (
        (_operations.rows, (q, k, *more)),
        (_operations.rows_backward, (rows, q, k, *more)),
        (_operations.attend, (*qkv.unbind(0), matrix, *more)),
        (_operations.attend_backward, (q, [qkv], matrix, *more)),
        (_operations.attend_backward, (q, list(qkv.unbind(0)), matrix, *more)),
    ):
        torch.library.opcheck(operation, arguments)  # type: ignore[arg-type]


def attended(
    kernel: str,
    dtype: torch.dtype,
    qkv: tuple[Tensor, Tensor, Tensor],
    asked: str = "qkv",
    **more: Any,
) -> list[Tensor]:
    """Output and gradients of `asked` and of all parameters, for keys of any number."""
    config = AttentionConfig.from_settings({"basis": "fourier", "kernel": kernel, **more})
    keys = qkv[1].shape[2]
    operator = Operator(config, config.operators(HEADS), keys, torch.Generator().manual_seed(0))
    operator = operator.to(torch.promote_types(dtype, torch.float32))
    tensors = [each.detach().to(dtype) for each in qkv]
    leaves = [
        each.requires_grad_() for each, name in zip(tensors, "qkv", strict=True) if name in asked
    ]
    out = operator.attend((tensors[0], tensors[1], tensors[2]), 0.5)
    learned = [p for p in operator.parameters() if p.requires_grad]
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    return [out, *torch.autograd.grad(out, [*leaves, *learned], upstream)]


def drawn_qkv(batch: int, queries: int, keys: int, width: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(batch, n, HEADS, width, generator=draw) for n in (queries, keys, keys))
    return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)


def assert_near(got: list[Tensor], want: list[Tensor], tolerance: float) -> None:
    for one, other in zip(got, want, strict=True):
        largest = other.abs().max().item()
        torch.testing.assert_close(one.double(), other, rtol=0, atol=tolerance * largest + 1e-12)


@pytest.mark.parametrize(
    ("batch", "queries", "keys", "more"),
    [
        (2, 197, 197, {"rank": 12, "grid_size": 3}),
        (1, 197, 197, {"rank": 30, "grid_size": 5, "head_sharing": "shared"}),
        (1, 70, 70, {"rank": 17, "grid_size": 1, "head_sharing": "grouped", "head_groups": 2}),
        (1, 33, 20, {"rank": 13, "grid_size": 2}),
        (2, 9, 65, {"rank": 1, "grid_size": 16, "unit_scales": False}),
        (1, 1, 1, {"rank": 1, "grid_size": 1, "head_sharing": "shared"}),
    ],
)
def test_attention_agrees_with_float64(
    engine: str, batch: int, queries: int, keys: int, more: dict[str, Any]
) -> None:
    qkv = drawn_qkv(batch, queries, keys)
    want = attended("reference", torch.float64, qkv, **more)
    assert_near(attended("recompute", torch.float32, qkv, **more), want, 1e-5)
    narrow = tuple(each.bfloat16() for each in qkv)
    want = attended("reference", torch.float64, narrow, **more)  # type: ignore[arg-type]
    assert_near(attended("recompute", torch.bfloat16, narrow, **more), want, 2e-2)  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", ["q", "k", "v", "qv", ""])
def test_gradients_of_some_of_queries_keys_and_values_are_the_same(engine: str, asked: str) -> None:
    qkv = drawn_qkv(2, 9, 9)
    want = attended("reference", torch.float64, qkv, asked, rank=3)
    assert_near(attended("recompute", torch.float32, qkv, asked, rank=3), want, 1e-5)


def test_backward_inside_autocast_is_as_exact_as_outside(engine: str) -> None:
    qkv, operator = packed().requires_grad_(), operator_of("recompute")
    tensors = [qkv, *operator.phi.coefficients.values()]
    (outside,) = [torch.autograd.grad(operator.attend(qkv, 0.5).square().sum(), tensors)]
    with torch.autocast("cpu", torch.bfloat16):
        inside = torch.autograd.grad(operator.attend(qkv, 0.5).square().sum(), tensors)
    torch.testing.assert_close(inside, outside)


@pytest.mark.parametrize(
    ("q", "k", "units"),
    [
        ((1, 3, 5, 4), (1, 3, 5, 4), (2, 3, 5, 2)),
        ((1, 1, 5, 4), (1, 1, 5, 4), (2, 3, 5, 2)),
        ((2, 2, 5, 4), (1, 2, 5, 4), (2, 3, 5, 2)),
        ((1, 2, 5, 4), (1, 2, 5, 3), (2, 3, 5, 2)),
        ((1, 2, 5, 4), (1, 2, 4, 4), (2, 3, 5, 2)),
    ],
)
def test_compiled_function_refuses_shapes_that_do_not_fit(
    q: tuple[int, ...], k: tuple[int, ...], units: tuple[int, ...]
) -> None:
    if not _compiled.is_available():
        pytest.skip("there is no C++ compiler")
    coefficients, basis = [torch.randn(units), torch.randn(units)], compiled("fourier", grid_size=2)
    with pytest.raises(RuntimeError, match=r"has shape|heads|number of keys"):
        torch.ops.karat_native.rows(
            torch.randn(q), torch.randn(k), coefficients, None, None, 1.0, basis
        )


def test_compiled_function_refuses_coefficients_of_other_settings() -> None:
    if not _compiled.is_available():
        pytest.skip("there is no C++ compiler")
    q = k = torch.randn(1, 2, 5, 4)
    coefficients, basis = [torch.randn(2, 3, 5, 2)] * 2, compiled("fourier", grid_size=3)
    with pytest.raises(RuntimeError, match="other settings"):
        torch.ops.karat_native.rows(q, k, coefficients, None, None, 1.0, basis)


# -- choosing ---------------------------------------------------------------------------------


def task(**more: Any) -> Task:
    plain = {
        "basis": "fourier", "features": 6, "base_activation": "zero", "outputs": 12,
        "head_dim": 64, "dtype": "torch.float32", "device": "cpu",
    }  # fmt: skip
    return Task(**{**plain, **more})


def test_auto_supports_every_task() -> None:
    for more in ({}, {"basis": "morlet", "features": 0}, {"outputs": 197}):
        assert kernel_for("auto", task(**more))[0] == "recompute"


def test_auto_is_triton_on_cuda_if_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    on_device = {"device": "cuda", "dtype": "torch.bfloat16"}
    assert kernel_for("auto", task(**on_device))[0] == "triton"
    assert kernel_for("auto", task(**on_device, basis="morlet", features=0))[0] == "triton"
    for more in ({"has_formula": False}, {"outputs": 65}, {"dtype": "torch.float64"}):
        assert kernel_for("auto", task(**{**on_device, **more}))[0] == "recompute"


def test_unknown_kernel_lists_the_known_ones() -> None:
    assert set(KERNELS) == {"reference", "recompute", "triton"}
    with pytest.raises(SettingError, match=r"kernel = 'tritn': unknown. did you mean 'triton'"):
        AttentionConfig(basis="fourier", kernel="tritn")


def test_unsupported_task_names_the_limit_and_other_kernels() -> None:
    with pytest.raises(KernelError, match=r"kernel triton: .*cpu.*; .*recompute, reference can"):
        kernel_for("triton", task())
    with pytest.raises(KernelError, match=r"kernel triton: basis plain states no formula"):
        kernel_for("triton", task(device="cuda", basis="plain", has_formula=False))
    with pytest.raises(SettingError, match=r"supports only operator_order: w_phi; use auto"):
        AttentionConfig(basis="fourier", kernel="triton", operator_order="phi_w")
    operator = make_operator(AttentionConfig(basis="fourier", kernel="recompute", rank=2), 1, 5)
    q = torch.randn(1, 1, 5, 4)
    with pytest.raises(
        KernelError, match=r"does not form attention weights, which a mask or a bias"
    ):
        operator.attend((q, q, q), 0.5, bias=torch.zeros(5, 5))


@pytest.mark.parametrize("projection", ["none", "simplex"])
@pytest.mark.parametrize("rank", [3, "full"])
def test_operator_gives_the_same_with_every_kernel(rank: int | str, projection: str) -> None:
    settings = {"basis": "fourier", "rank": rank, "projection": projection}
    settings["output_scale"] = "1/sqrt(N)"
    q, k, v = (torch.randn(2, 4, 5, 6, dtype=torch.float64) for _ in range(3))
    found = {}
    for kernel in ("reference", "recompute", "auto"):
        config = AttentionConfig.from_settings({**settings, "kernel": kernel})
        operator = make_operator(config, 4, 5, torch.Generator().manual_seed(0)).double()
        found[kernel] = operator.attend((q, k, v), 0.5)
        torch.testing.assert_close(found[kernel], operator.of_scores(0.5 * q @ k.mT, v))
    torch.testing.assert_close(found["recompute"], found["reference"])
    assert torch.equal(found["auto"], found["recompute"])


@pytest.mark.parametrize("basis", ["fourier", "chebyshev", "morlet"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"head_sharing": "shared", "output_scale": "learned"},
        {"unit_scales": False, "base_activation": "silu"},
        {"base_activation": "gelu", "head_sharing": "grouped", "head_groups": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_attention_has_the_same_gradients_with_every_kernel(
    basis: str, settings: dict[str, Any], dtype: torch.dtype
) -> None:
    drawn = torch.randn(2, 5, 3, HEADS, 6, generator=torch.Generator().manual_seed(0))
    upstream = torch.randn(2, HEADS, 5, 6, generator=torch.Generator().manual_seed(1)).double()
    found = {}
    for kernel in ("reference", "recompute"):
        wide = torch.float64 if kernel == "reference" else dtype
        config = AttentionConfig.from_settings(
            {"basis": basis, "rank": 3, "kernel": kernel, **settings}
        )
        operator = make_operator(config, HEADS, 5, torch.Generator().manual_seed(0)).to(wide)
        qkv = drawn.to(wide).requires_grad_()
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out = operator.attend((q, k, v), 0.5)
        parameters = [p for p in operator.parameters() if p.requires_grad]
        found[kernel] = [out, *torch.autograd.grad(out, [qkv, *parameters], upstream.to(wide))]
    for got, want in zip(found["recompute"], found["reference"], strict=True):
        largest = want.abs().max().item()
        tolerance = (1e-5 if dtype == torch.float32 else 1e-10) * largest
        torch.testing.assert_close(got.double(), want, rtol=0, atol=tolerance)


@pytest.mark.parametrize("size", [32, 64])
def test_model_keeps_no_more_for_its_backward_pass_than_softmax(size: int) -> None:
    from karat.models.build import build_model
    from karat.models.config import ModelConfig

    shape: dict[str, Any] = {"image_size": size, "channels": 3, "classes": 10, "seed": 0}
    images = torch.randn(4, 3, size, size)
    kept = []
    for attention in (AttentionConfig(basis="fourier"), AttentionConfig()):
        model = build_model(ModelConfig(patch_size=4), attention, **shape).train()
        given = [images, *model.parameters()]
        kept.append(saved_bytes(lambda model=model: model(images), given))
    assert kept[0] <= kept[1]
