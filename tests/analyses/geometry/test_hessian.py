"""Second derivatives where they are known: of quadratics, of softmax regression, and of small transformers."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import karat
from karat.analyses.geometry.hessian import extreme_eigenvalues, trace
from karat.analyses.geometry.loss import Curvature, Loss
from karat.analyses.subject import Subject
from karat.attention.bases import BASES
from tests.analyses.geometry.small import labels, left_alone, small_images, small_vit

KINDS: dict[str, dict[str, Any] | None] = {
    "softmax": None,
    "learned output scale": {"basis": "fourier", "rank": 2, "output_scale": "learned"},
    "1/N": {"basis": "rational", "rank": 2, "output_scale": "1/N", "base_activation": "silu"},
    "phi_phi": {"basis": "fourier", "rank": 2, "operator_order": "phi_phi"},
    "shared": {"basis": "fourier", "rank": 2, "head_sharing": "shared"},
    "hybrid": {"mechanism": "static", "rank": 2, "heads": [0]},
    **{
        name: {"mechanism": name}
        for name in ("differential", "talking_heads", "sigmoid", "softmax1")
    },
    "pointwise": {"mechanism": "pointwise", "basis": "fourier"},
    **{f"basis {name}": {"basis": name, "rank": 2} for name in sorted(BASES)},
}


def made(attention: dict[str, Any] | None, **more: Any) -> nn.Module:
    """A small model in float64, converted unless the attention is None, away from its start."""
    model = small_vit(**more)
    if attention is not None:
        karat.convert(model, attention, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.double().eval()


def loss_of(model: nn.Module) -> Loss:
    return Loss(Subject(model=model, images=small_images().double(), labels=labels()))


def test_eigenvalues_and_trace_of_a_quadratic_are_those_of_its_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(60, 60, generator=generator, dtype=torch.float64))
    values = torch.linspace(-5, 9, 60, dtype=torch.float64)
    matrix = (basis * values) @ basis.mT
    found = extreme_eigenvalues(lambda vector: matrix @ vector, 60, 3, tolerance=1e-9)
    np.testing.assert_allclose(found.largest, values.flip(0)[:3], rtol=1e-8)
    np.testing.assert_allclose(found.least, values[:3], rtol=1e-8)
    estimate = trace(lambda vector: matrix @ vector, 60, 400)
    spread = (2 * (matrix - matrix.diag().diag()).square().sum() / 400).sqrt()  # of ±1 vectors
    assert estimate.error == pytest.approx(float(spread), rel=0.15)
    assert estimate.value == pytest.approx(float(matrix.trace()), abs=3 * float(spread))


def test_the_trace_of_a_diagonal_matrix_has_no_error() -> None:
    values = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
    found = trace(lambda vector: values * vector, 3, 5)
    assert found.value == pytest.approx(2.5)
    assert found.error == pytest.approx(0, abs=1e-12)
    ends = extreme_eigenvalues(lambda vector: values * vector, 3, 2)
    np.testing.assert_allclose(ends.largest, [3.0, 0.5])
    np.testing.assert_allclose(ends.least, [-1.0, 0.5])


def test_the_hessian_of_softmax_regression_is_its_closed_form() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    loss = loss_of(model)
    with torch.no_grad():
        x_ID = small_images().double().flatten(1)
        p_IK = model(small_images().double()).softmax(-1)
    covariance_IKK = torch.diag_embed(p_IK) - p_IK[:, :, None] * p_IK[:, None]
    with_one = torch.cat([x_ID, torch.ones(len(x_ID), 1, dtype=torch.float64)], 1)
    blocks = torch.einsum("ikl,id,ie->kdle", covariance_IKK, with_one, with_one) / len(x_ID)
    order = [(k, d) for k in range(3) for d in range(64)] + [(k, 64) for k in range(3)]
    rows, columns = (torch.tensor(each) for each in zip(*order, strict=True))
    expected = blocks[rows, columns][:, rows, columns]
    curvature = Curvature(loss, loss.trained.vector)
    found = torch.stack([curvature.times(row) for row in torch.eye(195, dtype=torch.float64)])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["softmax", "learned output scale"])
def test_eigenvalues_are_those_of_the_whole_hessian_of_a_transformer(kind: str) -> None:
    model = made(KINDS[kind], embed_dim=6)
    loss, images = loss_of(model), small_images().double()
    centre = loss.trained.vector
    with loss.curvature(centre) as hessian:

        def direct(vector: Tensor) -> Tensor:
            answers = torch.func.functional_call(model, loss.trained.split(vector), (images,))
            return F.cross_entropy(answers, labels())

        whole = torch.autograd.functional.hessian(direct, centre, vectorize=True)
        assert isinstance(whole, Tensor)
        found = extreme_eigenvalues(hessian.times, len(centre), 3, tolerance=1e-8)
        estimate = trace(hessian.times, len(centre), 60)
        gradient = hessian.gradient
    every = torch.linalg.eigvalsh(whole)
    np.testing.assert_allclose(found.largest, every.flip(0)[:3], rtol=1e-6)
    np.testing.assert_allclose(found.least, every[:3], rtol=1e-6)
    assert abs(estimate.value - float(whole.trace())) < 4 * estimate.error
    torch.testing.assert_close(gradient, torch.func.grad(direct)(centre))


@pytest.mark.parametrize("kind", KINDS)
def test_products_are_differences_of_gradients_for_every_attention(kind: str) -> None:
    model = made(KINDS[kind])
    loss, images = loss_of(model), small_images().double()
    centre = loss.trained.vector
    direction = torch.randn(
        len(centre), generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )

    def gradient(vector: Tensor) -> Tensor:
        moved = copy.deepcopy(model)  # with the model's own kernel
        moved.load_state_dict(loss.trained.split(vector), strict=False)
        parameters = [each for each in moved.parameters() if each.requires_grad]
        answer = F.cross_entropy(moved(images), labels())
        found = torch.autograd.grad(answer, parameters, materialize_grads=True)
        return torch.cat([each.flatten() for each in found])

    step = 1e-5
    expected = (
        (gradient(centre + step * direction) - gradient(centre - step * direction)) / step / 2
    )
    with loss.curvature(centre) as hessian:
        found = hessian.times(direction)
    assert (found - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("limit", [1, 2**40])
def test_batches_and_a_kept_graph_give_the_same_products(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = loss_of(made(KINDS["softmax"]))
    centre = loss.trained.vector
    with loss.curvature(centre) as hessian:
        expected = hessian.times(centre)
    monkeypatch.setattr("karat.analyses.geometry.loss.GRAPH_BYTES", limit)
    with loss.curvature(centre) as hessian:
        for _ in range(2):
            torch.testing.assert_close(hessian.times(centre), expected)


def test_loss_leaves_an_operator_that_blocks_share_as_it_was() -> None:
    model = made({"basis": "fourier", "rank": 2, "block_sharing": "universal"}, depth=2)
    loss = loss_of(model)
    with left_alone(model), loss.curvature(loss.trained.vector) as hessian:
        loss(0.5 * loss.trained.vector)
        hessian.times(0.1 * loss.trained.vector)
