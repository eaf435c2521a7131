"""The health of attention: seen in every host, and without a trace in the training."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import karat
from karat.models.hosts import attention_layers
from karat.models.starting.given_attention import give_attention
from karat.training.config import TrialConfig
from karat.training.trainer import Trainer
from karat.training.watching import health
from karat.training.watching.health import Probe
from tests.attention.mechanisms.test_contract import settings
from tests.models.test_mechanisms import HOSTS, REFUSED
from tests.models.test_models import images, vit
from tests.training.test_trainer import SECTIONS, train

OF_WEIGHTS = {"entropy", "effective_rank", "row_sum", "row_sum_std", "negative"}
ALL = {*OF_WEIGHTS, "output_norm", "gradient_norm"}


class Images:
    """Images of the test models, with labels."""

    def __init__(self, count: int = 12) -> None:
        self.images = images(count)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.images[place], place % 5


NAMES = ("softmax", "karat", "relu", "static", "differential")
POSSIBLE = [(host, name) for host in HOSTS for name in NAMES if (host, name) not in REFUSED]


def probe(split: Any = None) -> Probe:
    return Probe(split or Images(), torch.device("cpu"))


@pytest.mark.parametrize(("host", "name"), POSSIBLE)
def test_every_head_of_every_host_is_seen(host: str, name: str) -> None:
    model: nn.Module = HOSTS[host]()
    if name != "softmax":
        karat.convert(model, settings(name))
    found = probe().look(model)
    assert set(found.by_head) == ALL
    heads = [layer.num_heads for layer in attention_layers(model)]
    for by_head in found.by_head.values():
        assert [len(block) for block in by_head] == heads
    assert {name.removeprefix("health_") for name in found.metrics} == ALL
    assert 0 <= found.metrics["health_entropy"] <= 1 + 1e-5
    assert 0 < found.metrics["health_effective_rank"] <= 1 + 1e-5
    if name == "softmax":
        assert found.metrics["health_row_sum"] == pytest.approx(1, abs=1e-5)
        assert found.metrics["health_negative"] == 0
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "attention",
    [{"mechanism": "softmax"}, {"basis": "fourier", "rank": 4}, {"mechanism": "static", "rank": 4}],
    ids=str,
)
def test_training_is_the_same_to_the_last_bit(attention: dict[str, Any]) -> None:
    training = {"epochs": 2, "batch_size": 256, "drop_path": 0.3, "ema_decay": 0.5}
    trainers, metrics = [], []
    for more in ({}, {"health": True}):
        sections = {**SECTIONS, "attention": attention, "training": {**training, **more}}
        trainers.append(Trainer(TrialConfig.from_sections(sections), 1))
        metrics.append([dict(each.metrics) for each in train(trainers[-1])])
    for ours, theirs in zip(*metrics, strict=True):
        seen = {name for name in theirs if name.startswith("health_")}
        assert {name.removeprefix("health_") for name in seen} == ALL
        assert {name: value for name, value in theirs.items() if name not in seen} == ours
    first, second = (trainer.model.state_dict() for trainer in trainers)
    assert all(torch.equal(first[name], value) for name, value in second.items())


def test_random_numbers_and_gradients_stay_as_they_were() -> None:
    model = vit()
    model(images()).sum().backward()
    gradients = {
        name: value.grad.clone()
        for name, value in model.named_parameters()
        if value.grad is not None
    }
    before = torch.get_rng_state()
    probe().look(model)
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in model.named_parameters():
        assert value.grad is not None
        assert torch.equal(value.grad, gradients[name])


def test_all_trials_look_at_the_same_images() -> None:
    split = Images(50)
    first, again = (probe(split)._images for _ in range(2))
    assert torch.equal(first, again)
    assert len(first) == health.IMAGES
    assert not torch.equal(
        first, split.images[: health.IMAGES]
    )  # not those that the files begin with
    assert len(probe(Images(3))._images) == 3


def test_attention_of_another_model_is_seen_as_it_is_applied() -> None:
    giver = karat.convert(vit(), {"mechanism": "static"})
    alone = probe().look(giver)
    model = give_attention(vit(), giver)
    found = probe().look(model)
    assert (
        set(found.by_head) == OF_WEIGHTS
    )  # values are the model's own, and nothing of a head is trained
    assert found.by_head["entropy"] == alone.by_head["entropy"]
    assert "health_output_norm" not in found.metrics


def test_numbers_of_heads_have_four_digits_and_none_for_what_they_lack() -> None:
    model = vit().eval()
    with torch.no_grad():  # the second head of the first block gives zeros alone
        model = karat.convert(model, settings("relu"))
        attn: Any = model.blocks[0].attn
        dim = attn.proj.in_features // attn.num_heads
        for part in range(2):
            attn.qkv.weight[part * attn.num_heads * dim + dim :][:dim] = 0
            attn.qkv.bias[part * attn.num_heads * dim + dim :][:dim] = 0
    found = probe().look(model)
    entropy = found.by_head["entropy"]
    assert entropy[0][1] is None
    assert entropy[0][0] == float(f"{entropy[0][0]:.4g}")
    known = [value for block in entropy for value in block if value is not None]
    assert found.metrics["health_entropy"] == pytest.approx(sum(known) / len(known), rel=1e-3)


def test_what_is_not_finite_is_left_out_and_fails_no_trial() -> None:
    model = vit().eval()
    with torch.no_grad():
        attn: Any = model.blocks[0].attn
        attn.qkv.bias.fill_(torch.nan)
    found = probe().look(model)
    assert not any(value != value for value in found.metrics.values())
