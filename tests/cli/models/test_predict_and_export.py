"""What people do with a study's model: predict images, and export it."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import karat
from karat.cli.exit_status import FAILED, OK, WRONG_INPUT
from karat.cli.main import main
from karat.cli.models.exported import _host as host_call
from karat.cli.models.images import read_pixels
from karat.datasets._reading.decode import read_image
from karat.journal.layout import trial_folder
from karat.journal.state import StudyState
from karat.models.build import build_model
from karat.models.config import ModelConfig
from karat.training.checkpoint import kept_weights, save_checkpoint
from karat.training.config import TrialConfig
from tests.journals import Plan, Script, study, write
from tests.studies import state_of

CONFIG = {
    "data": {"name": "digits"},
    "model": {"name": "vit_micro", "embed_dim": 12, "depth": 2, "num_heads": 1, "registers": 1},
    "attention": {"basis": "fourier", "grid_size": 3, "rank": 4, "block_sharing": "universal"},
    "training": {"recipe": "quick", "epochs": 10},
}
TESTED = {"epoch": 10, "weights": "ab" * 32}


def with_config(script: Script) -> Script:
    """The same study, of trials that can be built, with the epoch of the tested weights."""
    numbers = {t.number for t in script.state.of_phase("confirm")}
    for event in script.events:
        if event.kind == "trial_asked":
            event.data["config"] = CONFIG
        elif event.kind == "confirmation_planned":
            for cell in event.data["cells"]:
                cell["config"] = CONFIG
        elif event.kind == "reported" and event.data["trial"] in numbers:
            event.data["tested"] = TESTED
    return script


def written(folder: Path, plan: Plan | None = None) -> Path:
    """A synthetic study on disk; completed trials have a checkpoint of weights that were never trained."""
    write(folder, with_config(study(plan)))
    config = TrialConfig.from_sections(CONFIG)
    model = build_model(config.model, config.attention, seed=1, **config.data_shape())
    with torch.no_grad():
        model.get_parameter("head.bias").copy_(torch.arange(10.0))
    for trial in state_of(folder).trials.values():
        if trial.status == "completed":
            series = "tested" if trial.tested else "best"
            content = {"model": model.state_dict(), "epoch": 10}
            save_checkpoint(
                trial_folder(folder, trial.number), f"{series}-00010", content, trial.fingerprint
            )
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("whole") / "fourier-grid")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "seven.png"
    Image.fromarray(np.full((40, 30, 3), 90, np.uint8)).save(path)
    return path


def chosen(state: StudyState) -> int:
    from karat.tracking.models.tested_model import best_confirmed

    best = best_confirmed(state)
    assert best is not None
    return best[0].number


def test_an_image_gets_its_three_most_probable_classes(
    whole: Path, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(whole), str(image), "--json"]) == OK
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["schema"]) == ("predict", 1)
    assert found["trial"] == chosen(state_of(whole))
    assert Path(found["weights"]).name == "tested-00010.pt"
    [shown] = found["images"]
    assert [each["class"] for each in shown["top"]] == ["9", "8", "7"]
    assert main(["predict", str(whole), str(image)]) == OK
    out = capsys.readouterr().out
    assert "of the arm that the answer is about" in out
    assert f"{image}   9 {100 * shown['top'][0]['probability']:.1f} %" in out


def test_what_cannot_be_read_is_told_and_the_rest_is_predicted(
    whole: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "deep.tiff")
    files = [tmp_path / name for name in ("text.png", "away.png", "empty", "deep.tiff")]
    assert main(["predict", str(whole), *map(str, files), str(image), "--json"]) == FAILED
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert [each["file"] for each in found["images"]] == [str(image)]
    reasons = {Path(each["file"]).name: each["reason"] for each in found["unreadable"]}
    assert reasons["text.png"].startswith("not a readable image (")
    assert "No such file or directory" in reasons["away.png"]
    assert reasons["empty"].startswith("a folder without images")
    assert "8 or 16 bits" in reasons["deep.tiff"]
    assert said.err.count("error: ") == 4


def test_an_image_is_read_as_in_training(tmp_path: Path) -> None:
    halves = np.full((4, 8, 4), 255, np.uint8)
    halves[:, :4, 3] = 0
    halves[..., 0] = 10
    Image.fromarray(halves).save(tmp_path / "transparent.png")
    turned = Image.fromarray(np.zeros((4, 8, 3), np.uint8))
    turned.getexif()[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=turned.getexif())
    Image.fromarray(np.full((4, 4), 65535, np.uint16)).save(tmp_path / "deep.png")
    for path in tmp_path.iterdir():
        wanted = np.asarray(read_image(path), np.float32) / 255
        assert np.array_equal(read_pixels(path, 3)[0].permute(1, 2, 0).numpy(), wanted), path.name
    assert read_pixels(tmp_path / "turned.jpg", 1).shape == (1, 1, 8, 4)
    assert float(read_pixels(tmp_path / "deep.png", 1).min()) == 1


def test_a_folder_stands_for_its_images(
    whole: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "below").mkdir()
    shutil.copy(image, tmp_path / "below" / "eight.JPG")
    (tmp_path / "notes.txt").write_text("not an image")
    assert main(["predict", str(whole), str(tmp_path), "--json"]) == OK
    files = [each["file"] for each in json.loads(capsys.readouterr().out)["images"]]
    assert files == [str(tmp_path / "below" / "eight.JPG"), str(image)]


def test_a_deleted_checkpoint_is_named_with_what_remains(
    whole: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy" / "fourier-grid"
    shutil.copytree(whole, folder)
    state = state_of(folder)
    trial = state.trials[chosen(state)]
    path = kept_weights(trial_folder(folder, trial.number))
    assert path is not None
    path.unlink()
    assert main(["predict", str(folder), str(image)]) == FAILED
    said = capsys.readouterr().err
    assert f"{path}: is missing. Other seeds of {trial.arm} are there: trials " in said
    assert "the trial's run there has the weights as an artifact" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trial", "999"], "there is no trial 999; it has 0 to"),
        (["--trial", "7"], "trial 7 has failed; only completed trials keep weights"),
    ],
)
def test_a_trial_without_weights_is_refused(
    whole: Path,
    image: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["predict", str(whole), str(image), *words]) == WRONG_INPUT
    assert message in capsys.readouterr().err


def test_before_a_confirmation_the_best_trial_of_the_search_is_offered(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "early" / "fourier-grid", Plan(until="searching"))
    assert main(["predict", str(folder), str(image)]) == WRONG_INPUT
    said = capsys.readouterr().err
    assert "no confirmation run is complete, so no model has been tested" in said
    number = said.partition("so far is ")[2].partition(":")[0]
    assert main(["predict", str(folder), str(image), "--trial", number]) == OK
    assert "it was not tested" in capsys.readouterr().out


def test_a_study_that_has_not_ended_predicts_by_what_is_tested(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "under-way" / "fourier-grid", Plan(until="confirming"))
    assert main(["predict", str(folder), str(image)]) == OK
    assert "the study has not ended, so that may change" in capsys.readouterr().out


def test_an_export_has_weights_settings_and_a_script(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    assert main(["export", str(whole), "--out", str(out)]) == OK
    said = capsys.readouterr().out
    assert f"python {out}/load.py IMAGE..." in said
    settings = json.loads((out / "model.json").read_text())
    assert settings["classes"] == list("0123456789")
    assert settings["is_tested"]
    assert settings["weights_sha256"] == TESTED["weights"]
    assert settings["settings"]["attention"] == CONFIG["attention"]
    text = (out / "load.py").read_text()
    assert "RegisterTransformer(1, img_size=8, in_chans=1, num_classes=10, patch_size=2" in text
    compile(text, "load.py", "exec")


def test_an_export_replaces_nothing_unless_asked(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "load.py").write_text("mine")
    words = ["export", str(whole), "--out", str(tmp_path)]
    assert main(words) == WRONG_INPUT
    assert f"{tmp_path / 'load.py'}: exists; --force replaces it" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["load.py"]
    assert main([*words, "--force", "--json"]) == OK
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == [
        str(tmp_path / name) for name in ("model.safetensors", "model.json", "load.py")
    ]
    assert (tmp_path / "load.py").read_text() != "mine"


def test_a_path_of_this_machine_is_not_exported(tmp_path: Path) -> None:
    """`data.root` says where images lay; the model does not need them."""
    from karat.cli.models.exported import _settings
    from karat.tracking.models.tested_model import kept_model

    folder = written(tmp_path / "own" / "fourier-grid")
    state = state_of(folder)
    trial = state.trials[chosen(state)]
    kept = kept_model(folder, state, trial)
    object.__setattr__(trial, "config", {**CONFIG, "data": {"name": "digits", "root": "/mine"}})
    assert _settings(kept, state)["settings"]["data"] == {"name": "digits"}


def test_an_exported_script_builds_a_host_that_takes_images_of_any_size() -> None:
    import timm

    kept: Any = SimpleNamespace(
        config=SimpleNamespace(model=ModelConfig(name="pvt_v2_b0")),
        size=64, channels=1, classes=range(5),
    )  # fmt: skip
    text = host_call(kept)
    with torch.device("meta"):
        model = eval(text, {"timm": timm})
        karat.convert(model, {"basis": "fourier", "rank": 2}, image_size=64)
        assert model(torch.empty(2, 1, 64, 64)).shape == (2, 5)
