"""Optimisers by name, and learning rates that are those of independent formulas."""

import io
import math
from collections.abc import Callable

import pytest
import torch
from timm.optim import get_optimizer_info, list_optimizers
from torch import nn

from karat.errors import SettingError
from karat.models.build import build_model
from karat.training.config import TrainingConfig, training_of
from karat.training.steps.optimizer import described, learning_rate_of, make_optimizer
from tests.training.test_trainer import config

STEPS = 7  # of an epoch


def rates(training: TrainingConfig, steps: int) -> list[float]:
    """The learning rate at each of the first steps."""
    optimizer, scheduler = make_optimizer(nn.Linear(2, 2), training, STEPS)
    found = []
    for step in range(steps):
        scheduler.step_update(step)
        found.append(learning_rate_of(optimizer))
    return found


def paper_rate(step: int) -> float:
    """Table 5 of arXiv 2503.10632, as a formula: batch 32, 100 epochs, 5 of them warm-up."""
    epoch, peak = step / STEPS, 5e-4 * 32 / 512
    if epoch < 5:
        return 1e-6 + (peak - 1e-6) * epoch / 5
    return 1e-5 + (peak - 1e-5) * (1 + math.cos(math.pi * epoch / 100)) / 2


def test_paper_schedule_is_that_of_its_table_at_ten_epochs() -> None:
    found = rates(training_of({"recipe": "paper"}), 100 * STEPS)
    for epoch in (0, 1, 4, 5, 6, 10, 30, 50, 75, 99):
        for step in (epoch * STEPS, epoch * STEPS + 3):
            assert found[step] == pytest.approx(paper_rate(step), rel=1e-9)
    assert found[5 * STEPS] == pytest.approx(3.11e-5, rel=1e-2)
    assert found[-1] == pytest.approx(1e-5, rel=1e-2)


@pytest.mark.parametrize(
    ("schedule", "share"),
    [
        ("linear", lambda t: 1 - t),
        ("constant", lambda t: 1.0),
        ("cosine", lambda t: (1 + math.cos(math.pi * t)) / 2),
        ("wsd", lambda t: 1.0 if t < 0.8 else None),
        ("tanh", lambda t: None),
    ],
)
def test_schedules_go_from_the_peak_to_the_floor(
    schedule: str, share: Callable[[float], float | None]
) -> None:
    training = training_of({"schedule": schedule, "epochs": 20, "warmup_epochs": 0})
    found = rates(training, 20 * STEPS)
    assert found[0] == pytest.approx(0.003, rel=0.02)
    for step, rate in enumerate(found):
        if (expected := share(step / len(found))) is not None:
            assert rate == pytest.approx(1e-5 + (0.003 - 1e-5) * expected, rel=1e-6)
    if schedule != "constant":
        assert found[-1] < 0.0003
        assert found == sorted(found, reverse=True)


def test_learning_rate_is_in_proportion_to_the_batch_unless_the_space_sets_it() -> None:
    peak = {
        batch: training_of({"recipe": "paper", "batch_size": batch}).peak_learning_rate
        for batch in (32, 128, 512)
    }
    assert peak == {32: 3.125e-5, 128: 1.25e-4, 512: 5e-4}
    own = training_of({"recipe": "paper", "batch_size": 128, "learning_rate": 3e-4})
    assert own.peak_learning_rate == 3e-4
    both = {"recipe": "paper", "batch_size": 256, "learning_rate": 3e-4, "learning_rate_batch": 512}
    assert training_of(both).peak_learning_rate == 1.5e-4


def test_muon_trains_matrices_of_blocks_and_adamw_the_rest() -> None:
    settings = config(model={"depth": 2}, training={"optimizer": "muon"})
    model = build_model(settings.model, settings.attention, seed=1, **settings.data_shape())
    optimizer, _ = make_optimizer(model, settings.training, STEPS)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    orthogonal = {
        names[id(parameter)]
        for group in optimizer.param_groups
        if not group.get("use_fallback")
        for parameter in group["params"]
    }
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert orthogonal == {f"blocks.{n}.{layer}.weight" for n in range(2) for layer in layers}


def test_layer_decay_lowers_the_rate_block_by_block() -> None:
    settings = config(model={"depth": 3}, training={"layer_decay": 0.5})
    model = build_model(settings.model, settings.attention, seed=1, **settings.data_shape())
    optimizer, scheduler = make_optimizer(model, settings.training, STEPS)
    scheduler.step_update(STEPS)
    scale = {
        id(parameter): group["lr"] / learning_rate_of(optimizer)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    found = [scale[id(model.get_parameter(f"blocks.{n}.mlp.fc1.weight"))] for n in range(3)]
    assert found == [pytest.approx(found[-1] * 0.5 ** (2 - n)) for n in range(3)]
    assert scale[id(model.get_parameter("head.weight"))] == 1


@pytest.mark.parametrize(("name", "said"), [("adamw", "AdamW, fused"), ("lion", "Lion")])
def test_fused_optimiser_is_used_and_told_where_torch_has_one(name: str, said: str) -> None:
    optimizer, _ = make_optimizer(nn.Linear(2, 2), training_of({"optimizer": name}), STEPS)
    assert described(optimizer) == said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamv"}, "did you mean 'adam'"),
        ({"optimizer": "adahessian"}, "second derivatives"),
        ({"optimizer": "sgd", "betas": [0.9, 0.99]}, "do not exist for training.optimizer: sgd"),
        ({"momentum": 0.9}, "does not exist for training.optimizer: adamw"),
        ({"betas": [0.9]}, "must be 2 numbers"),
        ({"betas": [0.9, 1.0]}, "must be less than 1"),
        ({"layer_decay": 1.5}, "must be at most 1"),
        ({"ema_decay": 1.0}, "must be less than 1"),
        ({"precision": "fp16"}, "bf16"),
    ],
)
def test_setting_that_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        training_of(settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_optimiser_that_needs_a_gpu_is_refused_without_one() -> None:
    with pytest.raises(SettingError, match="cannot be used on this machine"):
        make_optimizer(nn.Linear(2, 2), training_of({"optimizer": "bnbadamw"}), STEPS)


def after(optimizer: torch.optim.Optimizer, model: nn.Module, steps: range) -> list[float]:
    """The weights after steps on batches that depend on their number alone."""
    for step in steps:
        torch.manual_seed(step)
        optimizer.zero_grad()
        model(torch.randn(16, 6)).square().mean().backward()
        optimizer.step()
    return [value.item() for weight in model.parameters() for value in weight.flatten()]


def usable() -> list[str]:
    """The optimisers that run on the CPU."""
    names = (name for name in list_optimizers() if not get_optimizer_info(name).second_order)
    return [*(n for n in names if not n.startswith(("bnb", "fused"))), "lookahead_adamw"]


@pytest.mark.slow
@pytest.mark.parametrize("name", usable())
def test_every_optimiser_resumes_with_the_same_bits(name: str) -> None:
    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 4))
        return model, make_optimizer(model, training_of({"optimizer": name}), STEPS)[0]

    model, optimizer = fresh()
    after(optimizer, model, range(3))
    buffer = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict()], buffer)
    whole = after(optimizer, model, range(3, 6))
    again, resumed = fresh()
    weights, state = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    again.load_state_dict(weights)
    resumed.load_state_dict(state)
    assert after(resumed, again, range(3, 6)) == whole
