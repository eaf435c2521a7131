"""Every analysis, by its name: what it finds can be kept, told and drawn, and the model stays as it was."""

import contextlib
import copy
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import karat
from karat.analyses.kinds import ANALYSES, Analysis
from karat.analyses.pictures import WIDTH, png_of
from karat.analyses.running.stored import load, save
from karat.analyses.subject import Snapshot, Subject
from karat.errors import AnalysisError
from tests.models.test_models import images, vit

CLASSES = 5  # of `vit`


def _path(model: nn.Module) -> tuple[Snapshot, ...]:
    """Weights that walk to those of the model, in steps that are not all in one direction."""
    generator = torch.Generator().manual_seed(3)
    end = {name: value.clone() for name, value in model.state_dict().items()}

    def at(epoch: int) -> Mapping[str, Tensor]:
        away = 0.02 * (3 - epoch)
        return {
            name: value + away * torch.randn(value.shape, generator=generator)
            if value.is_floating_point()
            else value
            for name, value in end.items()
        }

    states = [at(epoch) for epoch in range(3)] + [end]
    return tuple(
        Snapshot(epoch=epoch, read=lambda state=state: state)  # type: ignore[misc]
        for epoch, state in enumerate(states)
    )


def _subject(mechanism: str, seed: int = 0) -> Subject:
    torch.manual_seed(seed)
    model = vit()
    if mechanism == "karat":
        karat.convert(model, {"basis": "fourier", "grid_size": 2, "rank": 3})
    pixels = images(6)
    labels = torch.arange(len(pixels)) % CLASSES
    return Subject(model=model, images=pixels, labels=labels, path=_path(model))


@pytest.fixture(scope="module", params=sorted(ANALYSES))
def kind(request: pytest.FixtureRequest) -> type[Analysis]:
    return ANALYSES[request.param]


@pytest.fixture(scope="module")
def arms(kind: type[Analysis]) -> dict[str, list[Analysis]]:
    return {
        "softmax": [kind.measure(_subject("softmax", seed)) for seed in range(kind.seeds)],
        "fourier grid_size=2": [
            kind.measure(_subject("karat", seed)) for seed in range(kind.seeds)
        ],
    }


def test_a_kept_result_says_the_same(
    kind: type[Analysis], arms: dict[str, list[Analysis]], tmp_path: Path
) -> None:
    for results in arms.values():
        save(results[0], tmp_path / "a.npz")
        again = load(kind, tmp_path / "a.npz")
        assert again.numbers() == pytest.approx(results[0].numbers(), nan_ok=True)
        assert kind.chapter({"a": [again]}) == kind.chapter({"a": [results[0]]})


def test_names_of_numbers_are_those_of_metrics(arms: dict[str, list[Analysis]]) -> None:
    for results in arms.values():
        numbers = results[0].numbers()
        assert numbers
        for name, value in numbers.items():
            assert name.replace("_", "").replace("/", "").isalnum(), name
            assert name == name.lower()
            assert isinstance(value, float), name


def test_rows_have_the_same_columns(arms: dict[str, list[Analysis]]) -> None:
    columns = {
        tuple(row) for results in arms.values() for result in results for row in result.rows()
    }
    assert len(columns) == 1
    assert not {"arm", "trial"} & set(columns.pop())  # which the file has before them


def test_pictures_are_as_wide_as_the_page(
    kind: type[Analysis], arms: dict[str, list[Analysis]]
) -> None:
    pictures = kind.figures(arms)
    assert pictures
    assert len({each.name for each in pictures}) == len(pictures)
    for each in pictures:
        assert each.caption.endswith(".")
        figure = each.draw()
        assert figure.get_size_inches()[0] == pytest.approx(WIDTH)
        assert png_of(figure).startswith(b"\x89PNG")
    assert arms["softmax"][0].plot().axes


def test_the_chapter_has_a_row_or_a_sentence_for_each_arm(
    kind: type[Analysis], arms: dict[str, list[Analysis]]
) -> None:
    chapter = kind.chapter(arms)
    told = " ".join(
        [
            *chapter.paragraphs,
            *(cell for table in chapter.tables for row in table.rows for cell in row),
        ]
    )
    for label in arms:
        assert label in told
    assert all(text.rstrip().endswith((".", ":")) for text in chapter.paragraphs)


def test_the_function_of_its_name_is_exported_and_says_shapes_and_errors(
    kind: type[Analysis],
) -> None:
    name = kind.__module__.rpartition(".")[2]
    function = getattr(karat.analyses, name)
    assert function is getattr(importlib.import_module(kind.__module__), name)
    assert next(iter(inspect.signature(function).parameters)) == "model"
    for words in ("Args:", "Raises:"):
        assert words in (inspect.getdoc(function) or "")


def test_the_model_and_the_random_state_stay_as_they_were(kind: type[Analysis]) -> None:
    subject = _subject("karat")
    model = subject.model
    before, frozen = (
        copy.deepcopy(model.state_dict()),
        [p.requires_grad for p in model.parameters()],
    )
    state = torch.get_rng_state()
    kind.measure(subject)
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert [p.requires_grad for p in model.parameters()] == frozen
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_model_that_is_no_host_ends_nothing(kind: type[Analysis]) -> None:
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES))
    model(images())
    subject = Subject(model=model, images=images(), labels=torch.zeros(len(images())).long())
    with contextlib.suppress(AnalysisError):  # nothing else, and some analyses take any model
        kind.measure(subject)
