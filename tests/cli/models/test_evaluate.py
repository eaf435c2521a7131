"""`karat evaluate`: a trial's model on other data of the same classes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from karat.cli.exit_status import OK, WRONG_INPUT
from karat.cli.main import main
from karat.cli.models import evaluate
from karat.cli.models.evaluate import Scored
from karat.datasets import load_splits
from karat.datasets.digits import Digits
from tests.studies import confirmed, small_study, state_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    more = ("data: {name: digits}", "data: {name: digits, corruptions: [noise]}")
    return small_study(tmp_path_factory.mktemp("evaluate"), more)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["evaluate", *words, "--json"]) == OK
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["evaluate", *words]) == WRONG_INPUT
    return capsys.readouterr().err


def folder_of_digits(folder: Path, per_class: int = 4, grey: bool = False) -> Path:
    """An image folder with the test images of the digits, first ones of each class, in both parts."""
    test = load_splits(Digits()).test
    counts = dict.fromkeys(range(10), 0)
    for image, label in test:
        number = int(label)
        if counts[number] < per_class:
            counts[number] += 1
            pixels = ((image[0] + 1) / 2 * 255).round().to(torch.uint8).numpy()
            for part in ("train", "test"):
                place = folder / part / str(number)
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.asarray(pixels)).save(place / f"{counts[number]}.png")
    return folder


def test_own_data_give_the_numbers_of_the_journal(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = confirmed(whole)[0]
    assert trial.scores is not None
    assert trial.shifted is not None
    found = told(capsys, f"{whole}/{trial.number}", "--corruptions", "noise")
    for key in ("images", "top1", "top5", "per_class"):
        assert found["scores"][key] == trial.scores[key]
    assert found["scores"]["loss"] == pytest.approx(trial.scores["loss"], rel=1e-6)
    again = [each["predictions"] for each in found["shifted"]["noise"]]
    assert again == [each["predictions"] for each in trial.shifted["noise"]]
    assert found["data"]["fingerprint"] == state_of(whole).created["data"]["fingerprint"]


def test_a_study_by_name_without_a_number_takes_the_registered_model(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = ["--storage", str(whole.parent)]
    found = told(capsys, "small", *storage)
    assert found["shifted"] == {}
    assert found["trial"] in {trial.number for trial in confirmed(whole)}
    assert (
        told(capsys, f"small/{found['trial']}", *storage)["scores"]["top1"]
        == found["scores"]["top1"]
    )


@pytest.mark.slow
def test_the_text_has_every_score_and_all_corruptions(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(whole), "--corruptions", "all"]) == OK
    lines = capsys.readouterr().out.splitlines()
    starts = (
        "images",
        "top-1",
        "top-5",
        "loss",
        "calibration error",
        "images per s",
        "peak memory",
    )
    for start in (*starts, "    noise", "    jpeg", "    pixelate", "    9"):
        assert any(line.startswith(start) for line in lines), start


def test_other_images_are_normalised_as_the_model_was_trained(tmp_path: Path) -> None:
    """Images of bytes from a folder are those of the digits up to rounding, channels aside."""
    from karat.datasets import make_dataset
    from karat.datasets._shifted import Shifted

    root = folder_of_digits(tmp_path / "digits", per_class=2)
    folder = make_dataset({"name": "image_folder", "root": str(root), "image_size": 8})
    theirs, ours = folder.preprocessing(), Digits().preprocessing()
    assert theirs is not None
    assert ours is not None
    own: dict[int, list[torch.Tensor]] = {}
    for image, label in load_splits(Digits()).test:
        own.setdefault(int(label), []).append(image)
    changed = list(Shifted(load_splits(folder).test, theirs, into=ours))
    assert len(changed) == 20
    for place, (image, label) in enumerate(changed):
        assert torch.allclose(image[:1], own[label][place % 2], atol=0.01)


def test_data_that_do_not_fit_the_model_are_refused_with_the_difference(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder_of_digits(tmp_path / "digits", per_class=2)
    data = ["--data", "image_folder", "--root", str(root)]
    assert "its images have 3 channels, the model takes 1" in refused(capsys, str(whole), *data)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--corruptions", "fog"], "unknown corruption"),
        (["--data", "nope"], "data.name"),
        (["--root", "/nowhere"], "data.root"),
    ],
)
def test_wrong_options_name_what_is_wrong(
    whole: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert message in refused(capsys, str(whole), *words)


def test_a_trial_that_does_not_exist_is_refused(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there is no trial 99; it has 0 to" in refused(capsys, f"{whole}/99")


def test_missing_weights_are_an_error(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, tmp_path / "small")
    number = confirmed(whole)[0].number
    shutil.rmtree(tmp_path / "small" / "trials" / f"{number:04d}")
    assert main(["evaluate", f"{tmp_path}/small/{number}"]) != OK
    assert "weights" in capsys.readouterr().err


def test_a_limit_of_the_study_that_leaves_images_out_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counted = {"images": 20, "top1": 0.5, "loss": 1.0, "calibration_error": 0.1}
    rest = {"images_per_s": 9.0, "peak_bytes": 10**6, "per_class": [0.5, 0.5]}
    evaluate._show(
        Scored(fingerprint="x", limit=10, scores=counted | rest, shifted={}), "ab", "trial 3"
    )
    said = capsys.readouterr().out
    assert "20, at most 10 of each class (data.limit_per_class of the study)" in said
