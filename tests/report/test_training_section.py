"""The section that says how trials were trained."""

from pathlib import Path
from typing import Any

from karat.journal.journal import Event
from karat.journal.state import StudyState
from karat.report.facts.summary import summarise
from karat.report.tables import Section
from karat.report.training_section import training_section
from karat.space.reader import load_space
from karat.study.description import description
from tests.conftest import SMALL

ASKED = {
    "trial": 0, "phase": "confirm", "arm": "softmax", "factors": {}, "tuned": {}, "config": {},
    "seed": 1, "seed_index": 0, "epochs": 4,
}  # fmt: skip
REPORTED = {"trial": 0, "epoch": 1, "metrics": {}, "seconds": 1.0}


def section(tmp_path: Path, text: str, *more: Event) -> Section:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    created = Event(0, 1.0, "study_created", description(load_space(path), "data"))
    return training_section(summarise(StudyState.of([created, *more])))


def told(tmp_path: Path, text: str, *more: Event) -> dict[str, str]:
    [table] = section(tmp_path, text, *more).tables
    return dict(table.rows)


def reports(*reported: dict[str, Any]) -> list[Event]:
    """A trial, and its first reports."""
    asked = Event(1, 2.0, "trial_asked", ASKED)
    return [asked, *(Event(n, 3.0, "reported", each) for n, each in enumerate(reported, 2))]


def test_a_recipe_is_written_out_and_what_the_space_says_comes_first(tmp_path: Path) -> None:
    found = told(tmp_path, SMALL)
    assert found["recipe"] == "quick"
    assert found["training.batch_size"] == "128"  # of the space; the recipe has 64
    assert found["training.weight_decay"] == "0.05"
    assert found["model.embed_dim"] == "12"
    assert "training.learning_rate" not in found
    assert found["training.learning_rate (tuned)"] == "0.001 to 0.01, logarithmic"
    assert found["attention.grid_size (factor)"] == "1, 2"


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
    found = told(tmp_path, SMALL, *reports({**REPORTED, "images": images}))
    assert found["images"] == "1,222 train, 216 val, 359 test"
    assert found["steps"] == "9 an epoch: 36 in 4 epochs of the confirmation"


def test_way_in_which_steps_were_computed_is_told_without_times(tmp_path: Path) -> None:
    computed = {
        "precision": "bf16",
        "compiled": True,
        "optimizer": "AdamW, fused",
        "softmax": "cudnn",
        "softmax_ms": {"cudnn": 0.1, "math": 0.9},
        "tf32": {"products": False, "convolutions": True},
    }
    found = told(tmp_path, SMALL, *reports({**REPORTED, "computed": computed}))
    assert found["computed in"] == (
        "bfloat16 (autocast), compiled, TF32 in convolutions; optimiser AdamW, fused"
    )
    assert found["softmax attention"] == "torch's backend cudnn"
    assert "computed in" not in told(tmp_path, SMALL, *reports(REPORTED))


def test_optimiser_and_schedule_are_those_of_the_space(tmp_path: Path) -> None:
    assert told(tmp_path, SMALL)["optimiser"].startswith(
        "AdamW with betas of 0.9 and 0.999; linear warm-up, then a cosine to the least learning rate, both updated "
        "every step"
    )
    other = SMALL.replace("epochs: 4", "epochs: 4, optimizer: muon, schedule: wsd, ema_decay: 0.9")
    found = told(tmp_path, other)["optimiser"]
    assert found.startswith("Muon, with AdamW for all but the matrices of blocks; linear warm-up")
    average = "the moving average of the weights is evaluated"
    assert found.endswith(average)
    tuned = SMALL.replace("tuned:\n", "tuned:\n  training.ema_decay: {low: 0.5, high: 0.9}\n")
    assert told(tmp_path, tuned)["optimiser"].endswith(average)


def test_warm_up_that_was_shortened_is_told_with_its_length(tmp_path: Path) -> None:
    assert len(section(tmp_path, SMALL).paragraphs) == 1
    text = SMALL.replace("epochs: 4", "epochs: 1").replace(
        "asha, grace_epochs: 1, reduction_factor: 3", "none"
    )
    assert told(tmp_path, text)["training.warmup_epochs"] == "0.08333"
    _, note = section(tmp_path, text).paragraphs
    assert note.startswith("The recipe's warm-up of 1 epoch would be more than half")
    assert "in proportion, to 0.083" in note
