"""Numbers of attention where the answer is known."""

import math

import pytest
import torch
from torch import Tensor

from karat.training.watching import numbers

B, H, N = 2, 2, 4
UNIFORM = torch.full((B, H, N, N), 1 / N)
ONE_HOT = torch.eye(N).roll(1, 0).expand(B, H, N, N)
ZERO = torch.zeros(B, H, N, N)


def test_entropy_is_one_of_equal_and_zero_of_one_hot_weights_of_any_scale_and_sign() -> None:
    for factor in (1.0, -3.0):
        torch.testing.assert_close(numbers.entropy(factor * UNIFORM), torch.ones(H))
        torch.testing.assert_close(numbers.entropy(factor * ONE_HOT), torch.zeros(H))
    two = torch.zeros(1, 1, 1, N)
    two[..., :2] = 0.5
    torch.testing.assert_close(numbers.entropy(two), torch.tensor([math.log(2) / math.log(N)]))


def test_entropy_of_masked_rows_is_a_share_of_what_their_keys_allow() -> None:
    keep = torch.ones(N, N, dtype=torch.bool).tril()
    rows = keep / keep.sum(-1, keepdim=True)  # the first row has one key, and no entropy
    torch.testing.assert_close(numbers.entropy(rows.expand(B, H, N, N), keep), torch.ones(H))


def test_effective_rank_is_that_of_a_constructed_matrix() -> None:
    torch.testing.assert_close(numbers.effective_rank(ONE_HOT), torch.ones(H))
    torch.testing.assert_close(
        numbers.effective_rank(UNIFORM), torch.full((H,), 1 / N), atol=1e-4, rtol=0
    )
    half = torch.diag(torch.tensor([2.0, 2.0, 0.0, 0.0])).expand(B, H, N, N)
    torch.testing.assert_close(numbers.effective_rank(half), torch.full((H,), 0.5))
    values = torch.tensor([3.0, 1.0, 0.0, 0.0])
    shares = values[:2] / 4
    expected = math.exp(-(shares * shares.log()).sum().item()) / N
    found = numbers.effective_rank(torch.diag(values).expand(1, 1, N, N))
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_sums_of_rows_and_negative_mass_are_those_of_the_weights() -> None:
    weights = torch.tensor([[3.0, -1.0], [1.0, 1.0]]).expand(1, 1, 2, 2)
    assert numbers.row_sum(weights).tolist() == [2.0]
    assert numbers.row_sum_std(weights).tolist() == [0.0]
    assert numbers.row_sum_std(weights * torch.tensor([[1.0], [2.0]])).tolist() == [1.0]
    torch.testing.assert_close(numbers.negative(weights), torch.tensor([1 / 6]))
    torch.testing.assert_close(numbers.negative(-UNIFORM), torch.ones(H))


def test_output_norm_is_a_root_mean_square_by_head() -> None:
    out = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(B, 2, N, 3)
    assert numbers.output_norm(out).tolist() == [3.0, 2.0]


@pytest.mark.parametrize("weights", [ZERO, torch.full_like(ZERO, torch.nan)], ids=["zero", "nan"])
def test_what_weights_do_not_have_is_no_number_and_never_zero(weights: Tensor) -> None:
    for quantity in (numbers.entropy, numbers.effective_rank, numbers.negative):
        assert quantity(weights).isnan().all()


def test_rows_of_zeros_do_not_count() -> None:
    weights = UNIFORM.clone()
    weights[:, :, 0] = 0
    torch.testing.assert_close(numbers.entropy(weights), torch.ones(H))
