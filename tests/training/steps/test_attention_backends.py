"""The backend of softmax attention is the fastest for the calls that a model makes, and is named."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from karat.training.config import TrialConfig
from karat.training.steps.attention_backends import (
    BACKENDS,
    Call,
    Chosen,
    calls_of,
    choose,
    choose_for,
    using,
)
from karat.training.steps.config import StepConfig
from karat.training.steps.forward import StepForward
from karat.training.trainer import Trainer
from tests.training.test_trainer import SECTIONS, train


def call(tokens: int) -> Call:
    shape = (2, 3, tokens, 8)
    return Call(q=shape, k=shape, v=shape, dtype=torch.float32, device=torch.device("cpu"))


class Attends(nn.Module):
    """Two calls for images of (n, heads, tokens, width), and a smaller one."""

    def forward(self, x: Tensor) -> Tensor:
        for part in (x, x, x[:, :, :2]):
            F.scaled_dot_product_attention(part, part, value=part, scale=0.5)
        return x


def test_every_call_of_a_model_is_found_with_its_shape() -> None:
    found = calls_of(Attends(), torch.randn(4, 3, 5, 8))
    assert {each.q[2]: count for each, count in found.items()} == {5: 2, 2: 1}
    assert all(each.scale == 0.5 and each.dtype == torch.float32 for each in found)


def test_calls_are_found_without_drawing_random_numbers() -> None:
    before = torch.get_rng_state()
    calls_of(nn.Dropout(0.5), torch.randn(4, 3).zero_())
    torch.set_rng_state(before)
    drawn = torch.rand(1)
    torch.set_rng_state(before)
    calls_of(nn.Dropout(0.5), torch.zeros(4, 3))
    assert torch.equal(torch.rand(1), drawn)


def test_backend_with_the_shortest_time_for_all_calls_is_chosen() -> None:
    times = {"cudnn": {5: 1.0, 9: 9.0}, "flash": {5: 2.0, 9: 3.0}, "math": {5: 3.0, 9: 3.0}}
    chosen = choose({call(5): 2, call(9): 1}, tuple(times), lambda c, name: times[name][c.q[2]])
    assert chosen.name == "flash"
    assert chosen.milliseconds == {"cudnn": 11000, "flash": 7000, "math": 9000}


def test_backend_that_cannot_do_one_of_the_calls_is_left_out() -> None:
    def seconds(of: Call, name: str) -> float | None:
        return None if (name, of.q[2]) == ("flash", 9) else {"flash": 1.0, "math": 2.0}[name]

    calls = {call(5): 1, call(9): 1}
    assert choose(calls, ("flash", "math"), seconds).name == "math"
    assert choose(calls, ("flash",), seconds) == Chosen()
    assert choose({}, ("flash", "math"), seconds) == Chosen()


@pytest.mark.parametrize("has_mask", [False, True])
def test_choice_on_a_cpu_is_what_torch_does_by_itself(has_mask: bool) -> None:
    q = torch.randn(2, 3, 5, 8, requires_grad=True)
    mask = torch.ones(5, 5, dtype=torch.bool) if has_mask else None

    def forward(_: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, q, q, mask)

    chosen = choose_for(forward, torch.zeros(2, 1))
    names = dict(enumerate(("math", "flash", "efficient")))
    assert chosen.name == names[torch._fused_sdp_choice(q, q, q, mask)]
    before = forward(q)
    with using(chosen, torch.device("cpu")):
        assert torch.equal(forward(q), before)


def test_model_without_softmax_attention_names_no_backend() -> None:
    assert choose_for(nn.Identity(), torch.zeros(2, 1)) == Chosen()


def test_chosen_backend_comes_first_and_the_others_stay_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    class Kernels:
        def __init__(self, order: list[Any], set_priority: bool) -> None:
            asked.append((order, set_priority))

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr("karat.training.steps.attention_backends.sdpa_kernel", Kernels)
    with using(Chosen(name="flash"), torch.device("cuda")):
        pass
    [(order, is_prior)] = asked
    assert order[0] == BACKENDS["flash"]
    assert set(order) == set(BACKENDS.values())
    assert len(order) == len(BACKENDS)
    assert is_prior


def test_resumed_trial_keeps_the_backend_of_its_checkpoint() -> None:
    forward, again = (
        StepForward(nn.Identity(), StepConfig(), torch.device("cpu")) for _ in range(2)
    )
    assert forward.state() == {}
    forward.restore({"name": "cudnn", "milliseconds": {"cudnn": 0.1, "math": 0.7}})
    again.restore(forward.state())
    again(torch.zeros(2, 1))
    assert again.described() == {
        "precision": "float32",
        "compiled": False,
        "softmax": "cudnn",
        "softmax_ms": {"cudnn": 0.1, "math": 0.7},
    }


def test_trial_says_how_its_steps_were_computed() -> None:
    trainer = Trainer(TrialConfig.from_sections({**SECTIONS, "attention": {}}), 1)
    train(trainer, epochs=1)
    assert trainer.computed() == {
        "precision": "float32",
        "compiled": False,
        "softmax": "flash",
        "optimizer": "AdamW, fused",
    }
