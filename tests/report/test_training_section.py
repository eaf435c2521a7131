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


ASKED = {
    "trial": 0, "phase": "confirm", "arm": "softmax", "factors": {}, "tuned": {}, "config": {},
    "seed": 1, "seed_index": 0, "epochs": 4,
}  # fmt: skip


def test_the_wait_for_images_is_told_as_a_share_of_a_step(tmp_path: Path) -> None:
    assert "waiting for images" not in told(tmp_path, SMALL)
    loading = {"step_s": 0.02, "data_s": 0.0005, "map_bytes": 184_320_000}
    reported = {"trial": 0, "epoch": 1, "metrics": {}, "seconds": 1.0, "loading": loading}
    events = (Event(1, 2.0, "trial_asked", ASKED), Event(2, 3.0, "reported", reported))
    found = told(tmp_path, SMALL, *events)
    assert found["waiting for images"] == (
        "2.5 % of a step: 0.5 of 20 ms (one trial, in its first epoch)"
    )
    assert found["decoded images"] == "176 MiB on each node, which its trials share"


def test_sizes_of_the_splits_and_steps_are_those_that_a_worker_told(tmp_path: Path) -> None:
    assert not {"images", "steps"} & told(tmp_path, SMALL).keys()
    images = {"train": 1222, "val": 216, "test": 359}
    reported = {"trial": 0, "epoch": 1, "metrics": {}, "seconds": 1.0, "images": images}
    found = told(
        tmp_path, SMALL, Event(1, 2.0, "trial_asked", ASKED), Event(2, 3.0, "reported", reported)
    )
    assert found["images"] == "1,222 train, 216 val, 359 test"
    assert found["steps"] == "9 an epoch: 36 in 4 epochs of the confirmation"
