"""The frozen model that gives its attention (`model.attention_from`) is in the forecast."""

from pathlib import Path

from karat.forecast.memory import needs_of
from karat.forecast.speed.epochs import EpochCosts
from karat.training.config import TrialConfig
from karat.training.initial.start import drawn, starting_model

COSTS = EpochCosts.read()


def config_of(attention_from: str) -> TrialConfig:
    return TrialConfig.from_sections(
        {
            "data": {"name": "digits"},
            "model": {
                "name": "vit_micro",
                "patch_size": 2,
                "depth": 1,
                "attention_from": attention_from,
            },
            "attention": {"basis": "softmax"},
            "training": {"recipe": "quick"},
        }
    )


OWN, GIVEN = config_of("own"), config_of("some-study/3")


def test_a_given_attention_costs_a_forward_pass_of_every_image() -> None:
    own, given = (COSTS.epoch_s(each, COSTS.speed) for each in (OWN, GIVEN))
    assert own < given < 2 * own
    seconds = [COSTS.evaluation_s(each, COSTS.speed) for each in (OWN, GIVEN)]
    assert seconds[1] == 2 * seconds[0]


def test_the_weights_of_the_giver_are_in_the_memory_and_have_no_gradients() -> None:
    own, given = needs_of(OWN), needs_of(GIVEN)
    assert given.weights == 2 * own.weights
    assert (given.gradients, given.optimizer) == (own.gradients, own.optimizer)


def test_a_probe_trains_with_a_giver_of_the_same_shape(tmp_path: Path) -> None:
    model = starting_model(drawn(GIVEN, tmp_path), 0, tmp_path)
    assert any(name.startswith("attention_giver.") for name, _ in model.named_parameters())
    assert list(tmp_path.glob("*.safetensors"))
    assert drawn(OWN, tmp_path) == OWN
