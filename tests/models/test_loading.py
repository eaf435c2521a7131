"""Weights carry the settings that their meaning depends on: what loads, and what is refused by name."""

import copy
import io
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_model, save_file, save_model
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from karat.attention.carried import ENTRY, is_setting, weights_of
from karat.errors import CombinationError
from karat.models.convert import convert
from karat.models.starting.taking import take
from karat.training.evaluation import sha256_of_weights
from karat.training.steps.averaging import WeightAverage
from tests.attention.mechanisms.test_contract import MORE, part, settings
from tests.models.test_mechanisms import OTHERS
from tests.models.test_models import FOURIER, images, vit

MORLET = {"basis": "morlet", "rank": 3}
UNIVERSAL = {**FOURIER, "block_sharing": "universal"}
CASES = [*((name, {}) for name in OTHERS), *MORE.items()]
SAME_FUNCTION = {"karat", "frozen"}  # what is trained differs


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def made(own: dict[str, Any], **host: Any) -> nn.Module:
    return convert(vit(**{"depth": 2, **host}), own).eval()


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(dict(model.state_dict()))


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (MORLET, {"basis": "mexican_hat", "rank": 3}, "basis is morlet in the weights, mexican_hat in the model"),
        (MORLET, {**MORLET, "omega0": 4.0}, "omega0 is 5.0 in the weights, 4.0 in the model"),
        ({"basis": "rbf"}, {"basis": "rbf", "extent": 2.0}, "extent is 3.0 in the weights, 2.0"),
        ({**FOURIER, "projection": "simplex"}, FOURIER, "projection is simplex in the weights, none"),
        ({**FOURIER, "output_scale": "1/N"}, FOURIER, "output_scale is 1/N in the weights, 1 in"),
        ({**FOURIER, "base_activation": "silu"}, FOURIER, "base_activation is silu in the weights, zero"),
        (FOURIER, UNIVERSAL, "block_sharing is blockwise in the weights, universal in the model"),
        ({**FOURIER, "heads": [0, 1]}, {**FOURIER, "heads": [0, 2]}, r"heads is \[\[0, 1\], \[2\]\] in the weights, \[\[0, 2\], \[1\]\]"),
        ({**FOURIER, "heads": [0, 1]}, FOURIER, r"heads is \[\[0, 1\], \[2\]\] in the weights, all in"),
        ({**FOURIER, "content": False}, FOURIER, "content is False in the weights, True in the model"),
        ({**FOURIER, "rank": 3}, FOURIER, "rank is 3 in the weights, 4 in the model"),
        ({"mechanism": "sigmoid"}, {"mechanism": "relu"}, "mechanism is sigmoid in the weights, relu"),
        ({"mechanism": "static"}, FOURIER, "mechanism is static in the weights, karat in the model"),
        ({"mechanism": "sinkhorn"}, {"mechanism": "sinkhorn", "iterations": 4}, "iterations is 3 in the weights, 4"),
    ],
)  # fmt: skip
def test_weights_of_another_function_are_refused_and_change_nothing(
    before: dict[str, Any], after: dict[str, Any], message: str, strict: bool
) -> None:
    source, target = made(before), made(after)
    start = state_of(target)
    with pytest.raises(CombinationError, match=rf"^blocks.0.attn.operator: .*attention\.{message}"):
        target.load_state_dict(source.state_dict(), strict=strict)
    assert all(torch.equal(value, start[name]) for name, value in target.state_dict().items())


def test_no_mechanism_takes_the_weights_of_another() -> None:
    parts = [(name, part(name, **more)) for name, more in CASES]
    for (one, source), (other, target) in itertools.permutations(parts, 2):
        if {one, other} == SAME_FUNCTION:
            target.load_state_dict(source.state_dict())
            continue
        with pytest.raises(CombinationError, match="these are the weights of another function"):
            target.load_state_dict(source.state_dict(), strict=False)


@pytest.mark.parametrize("own", [FOURIER, {**FOURIER, "heads": [0]}, UNIVERSAL, settings("gated")])
def test_weights_without_settings_load_as_before(own: dict[str, Any]) -> None:
    source, target = made(own), made(own)
    found = target.load_state_dict(weights_of(source.state_dict()))
    assert not found.missing_keys
    assert not found.unexpected_keys
    assert torch.equal(target(images()), source(images()))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (UNIVERSAL, FOURIER),
        ({**FOURIER, "init": "paper"}, FOURIER),
        ({**FOURIER, "kernel": "reference"}, FOURIER),
        ({**FOURIER, "head_sharing": "grouped", "head_groups": 3}, FOURIER),
    ],
    ids=str,
)
def test_settings_that_change_no_function_do_not_matter(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    source, target = made(before), made(after)
    target.load_state_dict(source.state_dict())
    torch.testing.assert_close(target(images()), source(images()))


def noted(model: nn.Module, **changes: Any) -> dict[str, Tensor]:
    """A state whose first block notes other settings; None stands for none."""
    state, name = state_of(model), f"blocks.0.attn.operator.{ENTRY}"
    module = model.get_submodule("blocks.0.attn.operator")
    found = {**module.carried(), **changes}
    module.carried = lambda: {k: v for k, v in found.items() if v is not None}
    state[name] = module.get_extra_state()
    del module.carried
    return state


def test_setting_that_the_note_lacks_is_its_default() -> None:
    made(FOURIER).load_state_dict(noted(made(FOURIER), unit_scales=None))
    without = {**FOURIER, "unit_scales": False}
    with pytest.raises(CombinationError, match="unit_scales is True in the weights, False in the"):
        made(without).load_state_dict(noted(made(without), unit_scales=None))


def test_setting_of_a_later_version_is_refused_by_name() -> None:
    model = made(FOURIER)
    with pytest.raises(CombinationError, match="swirl is 2 in the weights, unknown to this vers"):
        model.load_state_dict(noted(model, swirl=2))


@pytest.mark.parametrize("note", [[255, 0], [49]], ids=["no text", "no mapping"])
def test_settings_that_cannot_be_read_are_refused(note: list[int]) -> None:
    model = made(FOURIER)
    name = f"blocks.1.attn.operator.{ENTRY}"
    state = state_of(model) | {name: torch.tensor(note, dtype=torch.uint8)}
    with pytest.raises(CombinationError, match=rf"{name}: the settings .* cannot be read"):
        model.load_state_dict(state)


def test_copies_of_a_model_refuse_too_and_change_nothing() -> None:
    model, other = made(MORLET), made({"basis": "mexican_hat", "rank": 3})
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        start = state_of(again)
        with pytest.raises(CombinationError, match="another function"):
            again.load_state_dict(other.state_dict())
        assert all(torch.equal(value, start[name]) for name, value in again.state_dict().items())


def test_part_alone_and_part_of_a_larger_module_refuse() -> None:
    model, other = made(MORLET), made({"basis": "mexican_hat", "rank": 3})
    with pytest.raises(CombinationError, match=r"^Operator: .*basis is mexican_hat in the weights"):
        model.blocks[0].attn.operator.load_state_dict(other.blocks[0].attn.operator.state_dict())  # type: ignore[index,union-attr]
    larger, others = nn.Sequential(model), nn.Sequential(other)
    with pytest.raises(CombinationError, match=r"^0.blocks.0.attn.operator: "):
        larger.load_state_dict(others.state_dict())


# -- files and helpers ------------------------------------------------------------------------


@pytest.mark.parametrize("own", [MORLET, UNIVERSAL], ids=["blockwise", "universal"])
def test_settings_pass_through_files_of_torch_and_safetensors(
    own: dict[str, Any], tmp_path: Path
) -> None:
    model, wanted = made(own), made({**own, "projection": "softmax"})
    torch.save(model.state_dict(), tmp_path / "w.pt")
    save_model(model, str(tmp_path / "w.safetensors"))
    made(own).load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    load_model(again := made(own), tmp_path / "w.safetensors")
    assert torch.equal(again(images()), model(images()))
    with pytest.raises(CombinationError, match="projection is none in the weights, softmax in"):
        wanted.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    with pytest.raises(CombinationError, match="projection is none in the weights, softmax in"):
        load_model(wanted, tmp_path / "w.safetensors")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_settings_are_read_after_a_tool_has_converted_all_tensors(dtype: torch.dtype) -> None:
    state = {name: value.to(dtype) for name, value in made(MORLET).state_dict().items()}
    made(MORLET).load_state_dict(state)
    with pytest.raises(CombinationError, match="basis is morlet"):
        made({"basis": "mexican_hat", "rank": 3}).load_state_dict(state)


def test_helpers_of_timm_take_the_settings_for_a_weight(tmp_path: Path) -> None:
    model = made(MORLET)
    average = ModelEmaV3(model, decay=0.5)
    average.update(model)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    for path in ("w.safetensors", "w.pth"):
        torch.save({"state_dict_ema": average.module.state_dict()}, tmp_path / "w.pth")
        again = made(MORLET)
        timm.models.load_checkpoint(again, str(tmp_path / path))
        torch.testing.assert_close(again(images()), model(images()))


def test_settings_are_on_the_cpu_wherever_the_model_is() -> None:
    with torch.device("meta"):
        model = convert(vit(), FOURIER)
        notes = [value for name, value in model.state_dict().items() if is_setting(name)]
    assert len(notes) == 3
    assert all(note.device.type == "cpu" and note.dtype == torch.uint8 for note in notes)


# -- in karat ---------------------------------------------------------------------------------


def test_hash_of_weights_leaves_the_settings_out() -> None:
    state = made(FOURIER).state_dict()
    assert sha256_of_weights(state) == sha256_of_weights(weights_of(state))
    assert len(state) > len(weights_of(state))


def test_average_goes_on_from_a_checkpoint_without_settings() -> None:
    model = made(FOURIER)
    average, again = WeightAverage(model, 0.5), WeightAverage(made(FOURIER), 0.5)
    again.restore(weights_of(average.state()))
    for name, value in weights_of(average.state()).items():
        assert torch.equal(value, again.state()[name])


def test_operators_start_anew_from_a_file_of_another_function() -> None:
    source, target = made(MORLET), made({"basis": "mexican_hat", "rank": 3})
    start = state_of(target)
    taken = take(target, source.state_dict())
    assert "basis is morlet in the weights, mexican_hat in the model" in str(taken)
    assert not taken.left_out
    for name, value in target.state_dict().items():
        kept = ".operator." in name
        assert torch.equal(value, start[name] if kept else source.state_dict()[name]), name
    assert "anew" not in str(take(target, weights_of(source.state_dict())))


def test_exported_program_has_the_weights_and_loads(tmp_path: Path) -> None:
    model = made(FOURIER)
    program = torch.export.export(model, (images(2),))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    torch.testing.assert_close(torch.export.load(file).module()(images(2)), model(images(2)))
