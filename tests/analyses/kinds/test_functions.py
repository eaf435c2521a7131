"""Learned functions and content of whole models: every kind of attention, and what is said of it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import karat
from karat.analyses import functions
from karat.analyses.attention.interventions import LINES, MEAN, TRAINED
from karat.analyses.kinds.functions import Functions
from karat.analyses.pictures import svg_of
from karat.errors import AnalysisError
from karat.models.hosts import attention_layers
from tests.analyses.unchanged import leaves_all_unchanged
from tests.models.test_mechanisms import HOSTS
from tests.models.test_models import images, vit

FOURIER: dict[str, Any] = {"basis": "fourier", "rank": 4, "grid_size": 2}
LABELS = torch.arange(6) % 5


def converted(attention: dict[str, Any], host: str = "vit") -> nn.Module:
    model: nn.Module = karat.convert(
        HOSTS[host](), attention, generator=torch.Generator().manual_seed(1)
    ).eval()
    with torch.no_grad():
        for layer in attention_layers(model):
            projection = getattr(layer.block.attn, "qkv", None)
            if projection is not None:
                projection.weight.mul_(10)
    return model


def found_of(attention: dict[str, Any], host: str = "vit", labels: bool = True) -> Functions:
    return functions(converted(attention, host), images(6), LABELS if labels else None)


@pytest.mark.parametrize(
    ("attention", "units"),
    [
        ({"mechanism": "softmax"}, 0),
        (FOURIER, 3 * 3 * 4 * 17),
        ({"basis": "rational", "rank": 4}, 3 * 3 * 4 * 17),
        ({"mechanism": "static", "rank": 4}, 0),
        ({"mechanism": "pointwise", "basis": "fourier"}, 3 * 3),
        ({"mechanism": "differential"}, 0),
        ({**FOURIER, "heads": [1]}, 3 * 4 * 17),
        ({**FOURIER, "block_sharing": "universal"}, 3 * 4 * 17),
        ({**FOURIER, "rank": "full"}, 3 * 3 * 17 * 17),
        ({**FOURIER, "operator_order": "phi_w"}, 0),
        ({**FOURIER, "projection": "simplex"}, 3 * 3 * 4 * 17),
    ],
    ids=str,
)
def test_every_kind_of_attention_is_described(attention: dict[str, Any], units: int) -> None:
    found = found_of(attention)
    assert found.images == 6
    assert found.labelled
    assert (found.r2 is None) == (units == 0) == bool(found.reason)
    if found.r2 is not None:
        assert found.r2.shape == (units, 6)
        assert found.numbers()["units"] == units
    assert found.content_of_weights.shape == (3, 3)
    for values in (found.content_of_weights, found.content_of_output):
        assert ((values >= 0) & (values <= 1)).all()
    np.testing.assert_allclose(found.moments.sum(-1), 1)
    assert found.changes[0] == TRAINED
    assert MEAN in found.changes
    assert (LINES in found.changes) == (units > 0)
    rows = list(found.rows())
    assert len({tuple(row) for row in rows}) == 1
    chapter = Functions.chapter({"one": [found, found], "other": [found]})
    assert chapter.paragraphs
    assert all(len(table.rows) in (0, 3) for table in chapter.tables)


def test_pictures_show_arms_with_and_without_functions_and_several_runs() -> None:
    waves, static = found_of(FOURIER), found_of({"mechanism": "static", "rank": 4})
    drawn = Functions.figures({"waves": [waves, waves], "static": [static]})
    assert [picture.name for picture in drawn] == [
        "learned_functions",
        "content_shares",
        "accuracy_with_changed_attention",
    ]
    assert "Without learned functions: static." in drawn[0].caption
    for picture in drawn:
        assert svg_of(picture.draw())
    without = found_of({"mechanism": "static", "rank": 4}, labels=False)
    assert [picture.name for picture in Functions.figures({"": [without]})] == ["content_shares"]


@pytest.mark.parametrize("host", ["convit", "swin", "deit"])
def test_other_hosts_are_described_too(host: str) -> None:
    found = found_of(FOURIER, host)
    assert found.r2 is not None
    assert np.isfinite(found.numbers()["content_share_of_output"])


def test_lines_explain_all_of_a_linear_operator_and_less_of_cosines() -> None:
    linear = found_of({"mechanism": "linear", "rank": 4})
    np.testing.assert_allclose(linear.lines_explain, 1, atol=1e-5)
    assert linear.numbers()["units_nearest_linear"] == 1
    assert linear.accuracy[linear.changes.index(LINES)] == linear.accuracy[0]
    waves = found_of({**FOURIER, "grid_size": 5})
    assert (waves.lines_explain < 0.95).all()


def test_heads_without_functions_have_no_lines() -> None:
    found = found_of({**FOURIER, "heads": [1]})
    assert np.isfinite(found.lines_explain[:, 1]).all()
    assert np.isnan(found.lines_explain[:, [0, 2]]).all()


def test_without_classes_accuracies_are_left_out_and_it_is_said() -> None:
    found = found_of(FOURIER, labels=False)
    assert found.changes == ()
    assert len(found.accuracy) == 0
    assert not any(name.startswith("accuracy") for name in found.numbers())
    said = " ".join(Functions.chapter({"one": [found]}).paragraphs)
    assert "The classes of the images were not known" in said


def test_accuracy_as_trained_is_that_of_the_model() -> None:
    model = converted(FOURIER)
    with torch.no_grad():
        wanted = (model(images(6)).argmax(-1) == LABELS).double().mean().item()
    found = functions(model, images(6), LABELS)
    assert found.accuracy[0] == pytest.approx(wanted)
    assert found.low[0] <= wanted <= found.high[0]


def test_one_image_is_enough_but_for_scores_of_another() -> None:
    found = functions(converted(FOURIER), images(1), LABELS[:1])
    assert "scores of another image" not in found.changes
    np.testing.assert_allclose(found.content_of_weights, 0, atol=1e-12)


@pytest.mark.parametrize("attention", [FOURIER, {"mechanism": "pointwise", "basis": "fourier"}])
def test_looking_leaves_the_model_and_random_states_as_they_were(
    attention: dict[str, Any],
) -> None:
    model = converted(attention)
    leaves_all_unchanged(model, lambda: functions(model, images(6), LABELS))


def test_the_same_model_gives_the_same_numbers() -> None:
    model = converted(FOURIER)
    first, second = (functions(model, images(6), LABELS) for _ in range(2))
    assert first.numbers() == second.numbers()
    assert (first.difference_low == second.difference_low).all()


def test_a_model_that_is_no_host_is_refused_in_one_line() -> None:
    with pytest.raises(AnalysisError, match="Linear is not a supported host"):
        functions(nn.Linear(2, 2), images(2))


def test_one_run_each_is_said_to_be_no_comparison_of_arms() -> None:
    found = functions(vit().eval(), images(4), LABELS[:4])
    said = " ".join(Functions.chapter({"a": [found], "b": [found]}).paragraphs)
    assert "Of one run each" in said
