"""Memory and time of trials, predicted and then measured in separate processes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.predictions import FOURIER, MOST, SHAPES, compared, sections
from karat.errors import TrialError
from karat.forecast import memory
from karat.forecast.memory import needs_of
from karat.forecast.predictions import Predictions
from karat.forecast.probing.probe import probe
from karat.models.build import build_model
from karat.training.config import TrialConfig
from karat.training.gpu_share import CONTEXT_BYTES, MARGIN, fraction_of, share_of
from tests.training.test_trainer import SECTIONS

GPU = 80 * 2**30


@pytest.mark.slow
def test_memory_is_as_predicted_and_time_of_the_same_order(tmp_path: Path) -> None:
    for each in compared(tmp_path):
        assert abs(each.off["memory"]) < MOST, each
        assert abs(each.off["memory by the others"]) < MOST, each
        # Other programs change the time by half; `benchmarks.predictions` measures the accuracy.
        assert 1 / 4 < 1 + each.off["time"] < 4, each


@pytest.mark.slow
def test_shape_is_probed_once_and_tuned_values_that_cost_nothing_are_no_other_shape(
    tmp_path: Path,
) -> None:
    shape = SHAPES["softmax"]
    assert Predictions(tmp_path / "probes.json").measure(shape)
    again = Predictions(tmp_path / "probes.json")
    assert not again.measure({**shape, "training": {**shape["training"], "learning_rate": 0.1}})
    other = {**shape, "training": {**shape["training"], "batch_size": 32}}
    assert not again.of(other).is_probed


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1}', '{"version": 1, "probes": {"a": 3}}'])
def test_corrupt_file_of_probes_counts_as_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "probes.json").write_text(text)
    found = Predictions(tmp_path / "probes.json").of(SHAPES["softmax"])
    assert found.epoch_s is None
    assert found.memory_bytes > 2**20


def test_weights_gradients_and_moments_follow_from_the_parameters() -> None:
    config = TrialConfig.from_sections(SECTIONS)
    parameters = sum(
        each.numel()
        for each in build_model(
            config.model, config.attention, seed=0, **config.data_shape()
        ).parameters()
    )
    needs = needs_of(config)
    assert needs.weights == needs.gradients == 4 * parameters
    assert needs.optimizer == 8 * parameters


def test_kept_activations_grow_with_the_batch_and_with_a_kernel_that_keeps_more() -> None:
    def activations(batch_size: int, **attention: Any) -> int:
        shape = sections({**FOURIER, **attention}, batch_size, depth=4)
        return needs_of(TrialConfig.from_sections(shape)).activations

    assert activations(512) == pytest.approx(2 * activations(256), rel=0.05)
    assert activations(512, kernel="reference") > 1.5 * activations(512)


@pytest.mark.parametrize("basis", ["rbf", "rational", "morlet"])
def test_needs_of_every_kind_of_kernel_can_be_counted(basis: str) -> None:
    assert needs_of(TrialConfig.from_sections(sections({"basis": basis}, 64))).activations > 2**20


def test_needs_are_those_that_autograd_keeps() -> None:
    shape = sections({**FOURIER, "kernel": "recompute"}, 512, depth=3)
    config = TrialConfig.from_sections(shape)
    model = build_model(config.model, config.attention, seed=0, **config.data_shape()).train()
    given = {each.untyped_storage().data_ptr() for each in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda each: each):
        out = model(torch.randn(512, 1, 8, 8))
    assert out.requires_grad
    assert 1 <= needs_of(config).activations / sum(kept.values()) < 1.4


def test_failing_probe_reports_its_reason() -> None:
    shape = sections(FOURIER, 64, embed_dim=13)
    with pytest.raises(TrialError, match=r"probe of a configuration failed: .*embed_dim"):
        probe(shape)


@pytest.mark.parametrize(
    ("gigabytes", "share"), [(1, 1 / 8), (8, 1 / 8), (9, 1 / 4), (30, 1 / 2), (60, 1), (100, 1)]
)
def test_placement_takes_the_smallest_share_that_fits_the_trial(
    gigabytes: float, share: float
) -> None:
    assert share_of(gigabytes * 2**30, GPU) == share


@pytest.mark.parametrize("share", [1 / 8, 1 / 4, 1 / 2])
def test_process_may_allocate_its_share_without_its_context(share: float) -> None:
    allowed = fraction_of(share, GPU) * GPU
    assert allowed + CONTEXT_BYTES == pytest.approx(share * GPU)
    most = (share * GPU - CONTEXT_BYTES) / MARGIN
    assert share_of(most, GPU) == share
    assert most < allowed
    assert fraction_of(1, GPU) == 1


def test_memory_is_counted_on_one_thread_and_the_others_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step on a few images is too short to share: the other threads wait, at the price of a core."""
    used, real, before = [], memory._moments, torch.get_num_threads()

    def counted(*arguments: Any) -> list[int]:
        used.append(torch.get_num_threads())
        return real(*arguments)

    monkeypatch.setattr(memory, "_moments", counted)
    torch.set_num_threads(2)
    try:
        needs_of(TrialConfig.from_sections(SECTIONS))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert used == [1, 1, 1, 1]
