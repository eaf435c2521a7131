"""Values on different data sets are never compared: each data set has its own reference."""

from pathlib import Path

import pytest

from karat.errors import InputError
from karat.space.reader import load_space
from karat.space.space import Space

TEXT = """\
study: places
question: Is it better on both?
data: {val_share: 0.2}
model: {name: vit_micro, patch_size: 2, depth: 1}
attention: {grid_size: 1, rank: 4}
training: {recipe: quick, epochs: 2, batch_size: 256}
reference: {attention.basis: softmax}
factors:
  data.name: [digits, fake]
  data.image_size: {values: [8], when: {data.name: fake}}
  attention.basis: [softmax, fourier]
search: {sampler: random, trials: 4}
confirm: {by: arm, seeds: 2}
"""


def space(tmp_path: Path, **changes: str) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(TEXT)
    return load_space(path, changes)


def test_each_arm_has_the_reference_on_its_data(tmp_path: Path) -> None:
    assert space(tmp_path).references == {
        "digits fourier": "digits softmax",
        "fake image_size=8 fourier": "fake image_size=8 softmax",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": "{attention.basis: softmax, data.name: digits}"},
        {
            "reference": "{attention.basis: softmax, data.name: digits}",
            "confirm.by": "attention.basis",
        },
    ],
)
def test_a_reference_on_other_data_is_refused(changes: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        space(tmp_path, **changes)
    assert (
        "would be compared with digits softmax, on other data: let the reference leave data.name"
        in str(caught.value)
    )
    assert "as `reference: {attention.basis: softmax}`" in str(caught.value)


def test_models_may_be_compared(tmp_path: Path) -> None:
    known = space(
        tmp_path,
        factors="{model.depth: [1, 2], attention.basis: [softmax, fourier]}",
        model="{name: vit_micro, patch_size: 2}",
        data="{name: digits}",
        reference="{model.depth: 1, attention.basis: softmax}",
    )
    assert set(known.references.values()) == {"depth=1 softmax"}
