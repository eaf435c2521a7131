"""The section that says how trials were trained."""

from pathlib import Path

from karat.journal.journal import Event
from karat.journal.state import StudyState
from karat.report.facts.summary import summarise
from karat.report.training_section import training_section
from karat.space.reader import load_space
from karat.study.description import description
from tests.conftest import SMALL


def told(tmp_path: Path, text: str, *more: Event) -> dict[str, str]:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    created = Event(0, 1.0, "study_created", description(load_space(path), "data"))
    [table] = training_section(summarise(StudyState.of([created, *more]))).tables
    return dict(table.rows)


def test_a_recipe_is_written_out_and_what_the_space_says_comes_first(tmp_path: Path) -> None:
    found = told(tmp_path, SMALL)
    assert found["recipe"] == "quick"
    assert found["training.batch_size"] == "128"  # of the space; the recipe has 64
    assert found["training.weight_decay"] == "0.05"
    assert found["model.embed_dim"] == "12"
    assert "training.learning_rate" not in found
    assert found["training.learning_rate (tuned)"] == "0.001 to 0.01, logarithmic"
    assert found["attention.grid_size (factor)"] == "1, 2"


def test_sizes_of_the_splits_and_steps_are_those_that_a_worker_told(tmp_path: Path) -> None:
    assert not {"images", "steps"} & told(tmp_path, SMALL).keys()
    asked = {
        "trial": 0, "phase": "confirm", "arm": "softmax", "factors": {}, "tuned": {}, "config": {},
        "seed": 1, "seed_index": 0, "epochs": 4,
    }  # fmt: skip
    images = {"train": 1222, "val": 216, "test": 359}
    reported = {"trial": 0, "epoch": 1, "metrics": {}, "seconds": 1.0, "images": images}
    found = told(
        tmp_path, SMALL, Event(1, 2.0, "trial_asked", asked), Event(2, 3.0, "reported", reported)
    )
    assert found["images"] == "1,222 train, 216 val, 359 test"
    assert found["steps"] == "9 an epoch: 36 in 4 epochs of the confirmation"
