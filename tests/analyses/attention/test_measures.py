"""Numbers about attention weights, where they are known."""

import math

import pytest
import torch
from torch import Tensor

from karat.analyses.attention import measures

UNIFORM = torch.full((17, 17), 1 / 17)


def one_hot(keys: list[int]) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(keys)).double()


def test_entropy_is_one_for_uniform_rows_and_zero_for_one_key() -> None:
    torch.testing.assert_close(measures.entropy(UNIFORM), torch.ones(17, dtype=torch.float64))
    assert (measures.entropy(one_hot([3, 0, 1, 2])) == 0).all()
    half = torch.tensor([[0.5, -0.5, 0.0, 0.0]])  # signs and sums do not count
    assert measures.entropy(half).item() == pytest.approx(math.log(2) / math.log(4))
    torch.testing.assert_close(measures.entropy(-7 * half), measures.entropy(half))
    assert measures.entropy(torch.zeros(1, 4)).isnan().all()


def test_distance_of_one_key_is_that_of_its_patch_and_the_class_token_is_left_out() -> None:
    # A class token and a grid of 2 x 3; every patch looks at the last one, and the class token anywhere.
    weights = torch.zeros(7, 7)
    weights[:, 6] = -2.0
    weights[1:, 0] = 50.0
    found = measures.distance(weights, (2, 3), prefix=1)
    wanted = [math.hypot(1 - row, 2 - column) for row in range(2) for column in range(3)]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))


def test_distance_at_a_known_offset_is_that_offset() -> None:
    offset = torch.zeros(16, 16)  # in a grid of 4 x 4, every patch looks two columns to the right
    for row in range(4):
        for column in range(2):
            offset[4 * row + column, 4 * row + column + 2] = 1.0
    found = measures.distance(offset, (4, 4), prefix=0)
    assert found.nan_to_num(2.0).eq(2.0).all()  # rows without a patch have none
    assert found.isnan().sum() == 8


def test_distance_of_uniform_weights_is_the_mean_over_pairs() -> None:
    between = [abs(a - b) for a in range(3) for b in range(3)]
    found = measures.distance(torch.ones(3, 3), (1, 3), prefix=0).mean().item()
    assert found == pytest.approx(sum(between) / 9)
    assert measures.distances((1, 3)).mean().item() == pytest.approx(sum(between) / 9)


def test_negative_share_and_columns_are_of_absolute_mass() -> None:
    weights = torch.tensor([[3.0, -1.0], [0.0, 4.0]])
    assert measures.negative_share(weights).item() == pytest.approx(1 / 8)
    torch.testing.assert_close(
        measures.columns(weights), torch.tensor([3 / 8, 5 / 8], dtype=torch.float64)
    )
    assert measures.negative_share(UNIFORM).item() == 0


def test_a_sink_is_the_largest_column_with_the_norm_of_its_value() -> None:
    weights = torch.tensor([[0.1, 0.9], [0.3, 0.7]])
    values = torch.tensor([[3.0, 4.0], [0.0, 1.0]])  # norms 5 and 1
    share, norm = measures.sink(weights, values)
    assert share.item() == pytest.approx(0.8)
    assert norm.item() == pytest.approx(1 / 3)


def test_rollout_of_identity_is_identity() -> None:
    same = torch.eye(5).expand(2, 3, 5, 5)
    wanted = torch.eye(5, dtype=torch.float64).expand(2, 5, 5)
    torch.testing.assert_close(measures.rollout([same] * 4), wanted)
    torch.testing.assert_close(measures.rollout([-same] * 4), wanted)  # by absolute values
    torch.testing.assert_close(measures.rollout([0 * same] * 2), wanted)  # the residual alone


def test_rollout_is_that_of_its_authors_for_softmax() -> None:
    generator = torch.Generator().manual_seed(0)
    blocks = [torch.randn(2, 3, 5, 5, generator=generator).softmax(-1) for _ in range(3)]
    wanted = torch.eye(5, dtype=torch.float64)
    for weights in blocks:
        wanted = 0.5 * (weights.double().mean(1) + torch.eye(5)) @ wanted
    torch.testing.assert_close(measures.rollout(blocks), wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        measures.rollout(blocks).sum(-1), torch.ones(2, 5, dtype=torch.float64)
    )
