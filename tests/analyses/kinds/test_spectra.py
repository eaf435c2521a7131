"""Singular values and ranks, where they are known."""

import numpy as np
import pytest
import torch

import karat
from karat.analyses import spectra
from karat.analyses.kinds.spectra import effective_rank, singular_values, stable_rank
from karat.errors import AnalysisError
from tests.models.test_models import images, vit


def test_ranks_of_a_constructed_matrix_are_its_rank() -> None:
    generator = torch.Generator().manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(9, 9, generator=generator, dtype=torch.float64))
    equal = left[:, :4] @ left[:, :4].mT  # four singular values of 1, five of 0
    values = singular_values(equal).numpy()
    np.testing.assert_allclose(values, [1, 1, 1, 1, 0, 0, 0, 0, 0], atol=1e-12)
    assert effective_rank(values) == pytest.approx(4)
    assert stable_rank(values) == pytest.approx(4)


def test_effective_rank_lies_between_one_and_the_number_of_tokens() -> None:
    one = np.array([3.0, 0, 0, 0])
    assert effective_rank(one) == pytest.approx(1)
    assert stable_rank(one) == pytest.approx(1)
    half = np.array([1.0, 1.0, 0, 0])
    assert effective_rank(half) == pytest.approx(2)
    assert stable_rank(np.array([2.0, 1.0])) == pytest.approx(1.25)


def test_uniform_attention_has_rank_one_and_no_scores() -> None:
    model = karat.convert(vit(), {"mechanism": "uniform"})
    found = spectra(model, images())
    np.testing.assert_allclose(found.effective_after, 1)
    np.testing.assert_allclose(found.stable_after, 1)
    np.testing.assert_allclose(found.after[..., 0, 1], 1)  # of the matrix with 1/N everywhere
    assert np.isnan(found.before).all()
    assert set(found.numbers()) == {"effective_rank_after", "stable_rank_after"}


def test_softmax_is_compared_before_and_after() -> None:
    found = spectra(vit(), images())
    assert found.before.shape == found.after.shape
    assert (found.before[..., 0] <= found.before[..., 1]).all()
    assert (found.before[..., 1] <= found.before[..., 2]).all()
    tokens = found.after.shape[2]
    rows = list(found.rows())
    assert len(rows) == 2 * found.after[..., 0].size
    assert {row["matrix"] for row in rows} == {"scores", "weights"}
    assert 1 <= found.numbers()["effective_rank_after"] <= tokens
    assert found.plot().axes


def test_images_without_channels_are_refused() -> None:
    with pytest.raises(AnalysisError, match="images: must be"):
        spectra(vit(), images()[0])
