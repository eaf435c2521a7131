"""`model.init_from` as a mapping from labels of arms, and `STUDY/same arm` where it cannot stand."""

from pathlib import Path

import pytest

from karat.errors import InputError
from karat.space.reader import load_space, space_of
from tests.conftest import SMALL

EACH = "{softmax: a/1, fourier grid_size=1: b/2, fourier grid_size=2: scratch}"


def write_space(path: Path, given: str, group: str = "model: {") -> Path:
    assert group in SMALL
    path.write_text(SMALL.replace(group, f"{group}{given}"))
    return path


def test_each_arm_has_the_weights_of_its_label(tmp_path: Path) -> None:
    space = load_space(write_space(tmp_path / "s.yaml", f"init_from: {EACH}, "))
    found = {label: arm.sections["model"]["init_from"] for label, arm in space.arms.items()}
    assert found == {
        "softmax": "a/1",
        "fourier grid_size=1": "b/2",
        "fourier grid_size=2": "scratch",
    }
    again = space_of(space.source, space.name, "a journal")
    assert again.arms == space.arms


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("a/1, ", "a/1, fourier: a/1, "),
            r"s.yaml:4: model.init_from.fourier: is no arm. did you",
        ),
        (("softmax: a/1, ", ""), "has no weights for the arm softmax; scratch stands for drawn"),
        (("a/1", "a"), "STUDY/same arm, STUDY/TRIAL, a file"),
        (("a/1", "3"), "model.init_from = 3: must be text"),
    ],
)
def test_a_mapping_that_is_not_about_the_arms_is_refused(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_space(write_space(tmp_path / "s.yaml", f"init_from: {EACH.replace(*change)}, "))


@pytest.mark.parametrize("group", ["factors", "tuned"])
def test_the_same_arm_of_a_study_is_no_level_and_no_tuned_value(tmp_path: Path, group: str) -> None:
    values = "[scratch, a/same arm]" if group == "factors" else "{values: [scratch, a/same arm]}"
    space = write_space(tmp_path / "s.yaml", f"  model.init_from: {values}\n", f"{group}:\n")
    with pytest.raises(
        InputError, match=rf"{group}.model.init_from = 'a/same arm': can only be a fixed"
    ):
        load_space(space)
