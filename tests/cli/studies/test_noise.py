"""The noise floor: two arms that are one, and the seeds that a difference needs."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from karat.cli.main import main
from karat.cli.studies.noise import noise_json, noise_lines
from karat.errors import InputError
from karat.forecast.noise import (
    MOST_SEEDS,
    difference_of,
    fixed_tuning,
    noise_of,
    noise_source,
)
from karat.report.facts.summary import Summary, summarise
from karat.space.reader import load_space, space_of
from karat.space.space import Space
from karat.statistics.power import POWER, power
from karat.training.config import TrialConfig
from tests.conftest import ROOT
from tests.journals import SEEDS, Plan, study

SD = 0.004


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space(ROOT / "search_spaces" / "fourier_grid.yaml")


def summary_of(sd: float) -> Summary:
    """A finished study of one arm and its reference, whose runs differ by chance alone."""
    draws = np.random.default_rng(3)
    runs = {
        key: tuple(0.98 + draws.normal(0, sd, SEEDS)) for key in (("softmax", None), ("fourier", 1))
    }
    plan = Plan(levels=(1,), sharings=("blockwise",), runs=runs, interrupted=False)
    return summarise(study(plan).state)


def test_both_arms_are_the_reference_with_its_tuning_fixed(space: Space) -> None:
    tuning = fixed_tuning(space, {"training.learning_rate": 0.004})
    assert tuning == {"training.learning_rate": 0.004, "model.pos_embed_std": 0.316}
    source = noise_source(space, 6, tuning)
    noise = space_of(source, source["study"], "here")
    assert noise.name == "fourier-grid-noise"
    assert noise.references == {"replicate=1": "replicate=0"}
    assert not noise.tuned
    assert (noise.confirm.seeds, noise.confirm.budgets) == (6, (2,))
    configs = [arm.config({}) for arm in noise.arms.values()]
    for number, config in enumerate(configs):
        assert config["training"].pop("replicate") == number
        assert config["attention"]["mechanism"] == "softmax"
    assert configs[0] == configs[1]


def test_the_same_command_asks_for_the_same_study(space: Space) -> None:
    tuning = fixed_tuning(space, {})
    first, again = (noise_source(space, 6, tuning) for _ in range(2))
    assert space_of(first, "a", "here").hash == space_of(again, "b", "here").hash


def test_a_replicate_draws_other_random_numbers() -> None:
    sections: dict[str, Any] = {"data": {"name": "digits"}, "model": {}, "attention": {}}
    configs = [
        TrialConfig.from_sections({**sections, "training": {"replicate": number}}).training
        for number in range(3)
    ]
    assert configs[0].seed_of(7) == 7
    assert len({config.seed_of(7) for config in configs}) == 3


def test_seeds_needed_have_the_power_and_one_less_has_not(space: Space) -> None:
    found = noise_of(summary_of(SD), space, 0.005)
    assert found.runs == 2 * SEEDS
    assert found.sd_low < found.sd < found.sd_high
    assert found.compared.spread is not None
    effect, alpha = 0.005 / (math.sqrt(2) * found.sd), 0.05 / len(space.references)
    assert found.seeds is not None
    assert power(effect, found.seeds, alpha) >= POWER > power(effect, found.seeds - 1, alpha)
    assert found.seeds_low is not None
    assert found.seeds_high is not None
    assert found.seeds_low <= found.seeds <= found.seeds_high


def test_noise_is_told_in_words_and_as_json(space: Space) -> None:
    found = noise_of(summary_of(SD), space, 0.005)
    text = "\n".join(noise_lines(found, space))
    assert "noise of softmax, in test accuracy (points):" in text
    assert f"{100 * found.sd:.2f} (95 % interval {100 * found.sd_low:.2f} to " in text
    assert f"{found.seeds:,} of each arm to call a true difference of 0.50 points in 80 %" in text
    told = json.loads(json.dumps(noise_json(found, space, "fourier-grid-noise", {})))
    assert told["needed"]["seeds"] == found.seeds
    assert told["aa"]["difference"] == found.compared.difference


def test_a_difference_too_small_for_any_number_of_seeds_is_said_so(space: Space) -> None:
    found = noise_of(summary_of(SD), space, 1e-6)
    assert found.seeds is None
    assert f"more than {MOST_SEEDS:,} of each arm" in "\n".join(noise_lines(found, space))


def test_runs_that_are_all_equal_give_no_noise(space: Space) -> None:
    with pytest.raises(InputError, match="all runs of an arm are equal"):
        noise_of(summary_of(0.0), space, 0.005)


def test_a_difference_of_an_accuracy_is_in_points(space: Space) -> None:
    assert difference_of(0.5, space) == pytest.approx(0.005)
    assert difference_of(None, space) == space.confirm.smallest_difference
    loss = replace(space, search=replace(space.search, metric="val_loss", mode="min"))
    assert difference_of(0.5, loss) == 0.5
    for wrong in (0.0, -1.0, 100.0, math.nan):
        with pytest.raises(InputError, match="--difference"):
            difference_of(wrong, space)


def test_a_value_for_what_the_reference_does_not_tune_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(ROOT / "search_spaces" / "fourier_grid.yaml")
    words = ["noise", "--space", file, "--storage", str(tmp_path), "--set", "model.depth=x"]
    assert main(words) == 2
    assert "model.depth" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
