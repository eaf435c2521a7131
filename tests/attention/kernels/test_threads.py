"""The compiled kernel divides its work among threads; the other tests run it in one."""

from collections.abc import Iterator

import pytest
import torch

from karat.attention.kernels import _compiled
from karat.attention.kernels.recompute import Recompute
from tests.attention.kernels.test_kernels import inputs_of, results, units_of

pytestmark = pytest.mark.skipif(not _compiled.is_available(), reason="there is no C++ compiler")


@pytest.fixture(autouse=True)
def _one_thread_afterwards() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(("batch", "tokens", "operators"), [(9, 65, 4), (2, 33, 1), (1, 1, 2)])
def test_several_threads_give_the_numbers_of_one(
    threads: int, batch: int, tokens: int, operators: int
) -> None:
    units = units_of("fourier", tokens, operators, dtype=torch.float32, grid_size=3)
    q, k = inputs_of(batch, tokens, torch.float32)
    torch.set_num_threads(1)
    alone = results(Recompute(), q, k, units)
    torch.set_num_threads(threads)
    for got, want in zip(results(Recompute(), q, k, units), alone, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * float(want.abs().max() + 1))
