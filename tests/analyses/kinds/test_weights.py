"""How weights are distributed over a model's blocks and heads, and how far they moved."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import karat
from karat.analyses import weights
from karat.analyses.kinds.weights import EVERY, Weights
from karat.analyses.subject import Snapshot
from karat.errors import AnalysisError, CheckpointError
from tests.analyses.geometry.small import left_alone, small_images, small_vit

FOURIER = {"basis": "fourier", "rank": 2, "grid_size": 3}


def model_of(attention: dict[str, Any] | None = None, **more: Any) -> nn.Module:
    model = small_vit(depth=2, **more)
    return model if attention is None else karat.convert(model, attention).eval()


def of(model: nn.Module, path: Sequence[Snapshot] = ()) -> Weights:
    return weights(model, small_images(), path)


def snapshot(epoch: int, model: nn.Module, factor: float) -> Snapshot:
    state = {name: factor * value for name, value in model.state_dict().items()}
    return Snapshot(epoch=epoch, read=lambda: state)


def path_of(model: nn.Module) -> list[Snapshot]:
    """From twice the weights, over 1.2 times in the middle, to the weights."""
    factors = {0: 2.0, 4: 1.5, 9: 1.2, 14: 1.1, 20: 1.0}
    return [snapshot(epoch, model, factor) for epoch, factor in factors.items()]


def row_of(found: Weights, table: str, block: str, head: str) -> int:
    (row,) = (
        number
        for number, key in enumerate(zip(found.tables, found.blocks, found.heads, strict=True))
        if key == (table, block, head)
    )
    return row


def test_numbers_of_a_table_are_those_of_numpy_and_scipy() -> None:
    model = model_of(FOURIER)
    with left_alone(model):
        found = of(model, path_of(model))
    assert found.moments == ("start", "middle", "end")
    assert found.epochs.tolist() == [0, 9, 20]
    cos = model.get_parameter("blocks.1.attn.operator.phi.coefficients.cos").detach()
    own = cos[2].double().flatten().numpy()
    row = row_of(found, "a", "2", "3")
    assert found.count[row] == own.size
    np.testing.assert_allclose(found.mean[row], own.mean() * np.array([2, 1.2, 1]), rtol=1e-6)
    np.testing.assert_allclose(found.deviation[row], own.std() * np.array([2, 1.2, 1]), rtol=1e-6)
    np.testing.assert_allclose(found.kurtosis[row], stats.kurtosis(own), rtol=1e-5)
    norm = np.linalg.norm(own)
    np.testing.assert_allclose(found.distance[row], norm * np.array([0, 0.8, 1]), rtol=1e-6)
    np.testing.assert_allclose(found.relative[row], [0, 0.4, 0.5], rtol=1e-6)
    assert (found.counts.sum(-1) == found.count[:, None]).all()


def test_rows_of_all_blocks_hold_every_number() -> None:
    model = model_of(FOURIER)
    found = of(model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert found.count[found.pooled[EVERY]] == trained
    for name in ("a", "b", "W", "unit scale"):
        single = [
            found.count[row]
            for row in range(len(found.pooled), len(found.tables))
            if found.tables[row] == name
        ]
        assert len(single) == 6
        assert found.count[found.pooled[name]] == sum(single)
    assert found.tables[0] == EVERY


def test_excess_kurtosis_of_known_distributions() -> None:
    model = model_of()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1, generator=generator)
    assert of(model).kurtosis[0, 0] == pytest.approx(-1.2, abs=0.05)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(2.0)
    assert np.isnan(of(model).kurtosis[0, 0])


@pytest.mark.parametrize(("length", "moments"), [(0, ["end"]), (1, ["end"]), (2, ["start", "end"])])
def test_short_paths_show_what_there_is(length: int, moments: list[str]) -> None:
    model = model_of(FOURIER)
    path = path_of(model)
    found = of(model, [path[0], path[-1]][-length:] if length else [])
    assert list(found.moments) == moments
    if length < 2:
        assert np.isnan(found.distance).all()
        assert not any("distance" in name for name in found.numbers())
    chapter = Weights.chapter({"karat": [found]})
    assert ("The start is known of no run" in chapter.paragraphs[0]) == (length < 2)


def test_a_softmax_host_has_only_all_its_weights() -> None:
    model = model_of()
    found = of(model, path_of(model))
    assert found.tables == (EVERY,)
    assert not found.energy_terms
    assert [picture.name for picture in Weights.figures({"softmax": [found]})] == ["weights"]


def test_energy_is_by_block_head_and_frequency() -> None:
    model = model_of(FOURIER)
    found = of(model, path_of(model))
    assert found.energy.shape == (2 * 3 * 3, 3)
    assert found.energy_terms[:3] == ("k = 1", "k = 2", "k = 3")
    np.testing.assert_allclose(found.energy.reshape(6, 3, 3).sum(1), 1)


def test_weights_that_cannot_be_used_are_refused() -> None:
    def broken() -> Mapping[str, Tensor]:
        raise CheckpointError("the file is cut off")

    model = model_of(FOURIER)
    path = path_of(model)
    with pytest.raises(AnalysisError, match="weights of epoch 0: the file is cut off"):
        of(model, [Snapshot(epoch=0, read=broken), path[-1]])
    other = snapshot(0, model_of(), 1.0)
    with pytest.raises(AnalysisError, match="weights of epoch 0 are of another model"):
        of(model, [other, path[-1]])
    with torch.no_grad():
        model.get_parameter("head.bias")[0] = torch.nan
    with pytest.raises(AnalysisError, match="not finite: all trained weights"):
        of(model)


def test_pictures_are_drawn_for_arms_with_other_tables() -> None:
    arms = {}
    for name, attention in {
        "softmax": None,
        "G1": {**FOURIER, "grid_size": 1},
        "G3": FOURIER,
        "static": {"mechanism": "static", "rank": 2},
        "rational": {"basis": "rational", "rank": 2},
    }.items():
        model = model_of(attention)
        arms[name] = [of(model, path_of(model))]
    pictures = Weights.figures(arms)
    assert [picture.name for picture in pictures] == [
        *("weights", "weights_tables", "weights_tables_2", "weights_tables_3", "weights_energy")
    ]
    for picture in pictures:
        assert picture.draw().axes
    assert "a, b, W of G1, G3, in a block" in pictures[1].caption
    table = Weights.chapter(arms).tables[0]
    assert {row[0] for row in table.rows} == set(arms)
    for (found,) in arms.values():
        assert len({tuple(row) for row in found.rows()}) == 1
