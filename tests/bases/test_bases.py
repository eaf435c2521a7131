"""What every basis must keep, and each against an independent evaluation."""

import numpy as np
import pytest
import torch

from karat.attention import AttentionConfig, Operator, settings_of
from karat.bases import BASES
from karat.bases.fourier import Fourier
from karat.errors import SettingError


@pytest.mark.parametrize("name", sorted(BASES))
@pytest.mark.parametrize("start", ["paper", "fan_in"])
def test_basis_is_finite_with_finite_gradients_on_minus_30_to_30(name: str, start: str) -> None:
    config = AttentionConfig(basis=name, rank=3, init=start)  # type: ignore[arg-type]
    operator = Operator(config, 2, 5, torch.Generator().manual_seed(0))
    scores = torch.linspace(-30, 30, 2 * 5 * 40).reshape(2, 5, 40).requires_grad_()
    out = operator.row_sum(scores)
    out.square().sum().backward()  # type: ignore[no-untyped-call]
    assert out.shape == (2, 3, 40)
    assert torch.isfinite(out).all()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("name", sorted(BASES))
def test_same_seed_gives_the_same_start(name: str) -> None:
    config = AttentionConfig(basis=name, rank=3)
    first, again = (Operator(config, 2, 5, torch.Generator().manual_seed(7)) for _ in range(2))
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def test_fourier_is_the_papers_sum() -> None:
    rng = np.random.default_rng(0)
    scores, a, b = rng.normal(size=(2, 5, 7)) * 9, *rng.normal(size=(2, 2, 3, 5, 4))
    k = np.arange(1, 5)
    angles = scores[:, None, :, :, None] * k  # P 1 M L G
    units = (a[:, :, :, None] * np.cos(angles) + b[:, :, :, None] * np.sin(angles)).sum(-1)
    got = Fourier(grid_size=4).row_sum(
        torch.tensor(scores), {"cos": torch.tensor(a), "sin": torch.tensor(b)}
    )
    np.testing.assert_allclose(got.numpy(), units.sum(2), rtol=1e-10)


def test_fan_in_start_gives_row_sums_of_variance_one() -> None:
    config = AttentionConfig(basis="fourier", rank=64, basis_settings={"grid_size": 5})
    operator = Operator(config, 1, 197, torch.Generator().manual_seed(0))
    out = operator.row_sum(torch.randn(1, 197, 500, generator=torch.Generator().manual_seed(1)))
    assert 0.8 < out.std().item() < 1.2


def test_grid_size_zero_is_refused() -> None:
    with pytest.raises(SettingError, match=r"grid_size = 0: must be at least 1"):
        Fourier(grid_size=0)


def test_settings_of_a_basis_stand_beside_the_general_ones() -> None:
    assert {"grid_size", "rank", "basis"} <= settings_of("fourier")
    assert settings_of("softmax") == {"basis"}
