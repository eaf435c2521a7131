"""Published results are read, or refused with file, line and what would be right."""

from collections.abc import Callable
from pathlib import Path

import pytest

from karat.errors import InputError
from karat.space.published import about_no_arm, published_in
from karat.space.reader import load_space

WriteSpace = Callable[..., Path]
SECTION = """\
paper:
  source: A paper, table 3
  setting: one run each
  results:
    - {attention.basis: softmax, value: 0.7}
    - {attention.basis: fourier, attention.grid_size: 1, value: 0.75}
confirm:"""


def with_section(write_space: WriteSpace, *exchanges: tuple[str, str]) -> Path:
    section = SECTION
    for old, new in exchanges:
        assert old in section
        section = section.replace(old, new)
    return write_space(("confirm:", section))


def test_a_result_is_of_the_arms_that_have_its_levels(write_space: WriteSpace) -> None:
    space = load_space(with_section(write_space))
    published = published_in(space.source)
    assert published is not None
    values = {label: published.of(arm.factors) for label, arm in space.arms.items()}
    assert {label: each.value for label, each in values.items() if each is not None} == {
        "softmax": 0.7,
        "fourier grid_size=1": 0.75,
    }
    assert about_no_arm(published, (arm.factors for arm in space.arms.values())) == []


def test_what_others_found_is_no_part_of_the_question(write_space: WriteSpace) -> None:
    assert load_space(with_section(write_space)).hash == load_space(write_space()).hash
    assert published_in(load_space(write_space()).source) is None


def test_a_result_whose_level_was_left_out_stays_and_is_about_no_arm(
    write_space: WriteSpace,
) -> None:
    space = load_space(with_section(write_space, ("grid_size: 1", "grid_size: 7")))
    published = published_in(space.source)
    assert published is not None
    assert [
        each.value for each in about_no_arm(published, (arm.factors for arm in space.arms.values()))
    ] == [0.75]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value: 0.7}", "value: 70}", "paper.results.0.value = 70: must be a share from 0 to 1; 70 % is 0.7"),
        ("value: 0.7}", "value: -1}", "must be a share from 0 to 1"),
        ("value: 0.7}", "value: .nan}", "numbers must be finite"),
        ("value: 0.7}", "value: '0.7'}", "must be a number"),
        ("value: 0.7}", "accuracy: 0.7}", "must be {factor: level, ..., value: number}"),
        ("attention.basis: softmax, ", "", "must be {factor: level, ..., value: number}"),
        ("attention.basis: softmax", "basis: softmax", "paper.results.0.basis: unknown"),
        (", attention.grid_size: 1", "", ""),
        ("attention.basis: softmax, value", "attention.basis: fourier, value", "one result for each arm"),
        ("  source: A paper, table 3\n", "", "paper.source: is missing; it says where the numbers stand"),
        ("  setting: one run each\n", "", "paper.setting: is missing; it says of what the numbers are"),
        ("  source: A", "  sauce: 1\n  source: A", "paper.sauce: unknown"),
    ],
)  # fmt: skip
def test_results_that_cannot_be_shown_are_refused(
    write_space: WriteSpace, old: str, new: str, message: str
) -> None:
    space = with_section(write_space, (old, new))
    if not message:  # one result may be about several arms
        assert load_space(space)
        return
    with pytest.raises(InputError) as caught:
        load_space(space)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{space}:")
