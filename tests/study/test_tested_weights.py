"""A confirmation run keeps and registers the weights that were tested, and the audit checks them."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from karat.cli.main import main
from karat.datasets import load_splits
from karat.datasets.digits import Digits
from karat.errors import InputError
from karat.forecast.plan import ArmPlan, disk_bytes
from karat.forecast.schedule import Run
from karat.journal.evaluations import evaluation_of
from karat.journal.layout import trial_folder
from karat.journal.trial import Trial
from karat.models.build import build_model
from karat.planning.extension import larger_space
from karat.report.writer import summarise
from karat.space.reader import load_space
from karat.study.audit import audit
from karat.tracking.client import open_client
from karat.tracking.models.tested_model import best_confirmed, which_weights
from karat.tracking.sync import sync, tracking_uri
from karat.training.checkpoint import load_checkpoint, save_checkpoint
from karat.training.config import TrialConfig
from karat.training.evaluation import sha256_of_weights
from tests.conftest import ROOT
from tests.marks import further
from tests.studies import BEST, change_report, confirmed, rewrite, small_study, state_of, weights_of


@pytest.fixture(scope="module", params=further(["last", "best"]))
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete study for each choice of the weights."""
    torch.set_num_threads(1)
    exchanges = BEST if request.param == "best" else ()
    return small_study(tmp_path_factory.mktemp("tested"), *exchanges)


@pytest.fixture
def study(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "small")
    return tmp_path / "small"


def test_every_run_keeps_the_weights_that_were_tested(whole: Path) -> None:
    choice = state_of(whole).created["confirm"]["weights"]
    epochs = [trial.tested["epoch"] for trial in confirmed(whole) if trial.tested]
    assert (min(epochs) < 3) == (choice == "best")
    for trial in confirmed(whole):
        assert trial.tested is not None
        path = weights_of(whole, trial)
        assert [each.name for each in sorted(path.parent.glob("*.pt"))] == [path.name]
        content = load_checkpoint(path, trial.fingerprint)
        assert sha256_of_weights(content["model"]) == trial.tested["weights"]
        values = [report.metrics["val_accuracy"] for report in trial.reports]
        best = 1 + values.index(max(values))
        assert content["epoch"] == trial.tested["epoch"] == (3 if choice == "last" else best)
    assert audit(whole, tracking=False) == []


def test_search_trials_keep_their_best_weights(whole: Path) -> None:
    for trial in state_of(whole).of_phase("search"):
        names = [each.name[:5] for each in trial_folder(whole, trial.number).glob("*.pt")]
        assert names == (["best-"] if trial.status == "completed" else [])
        assert trial.tested is None


def test_report_and_registry_say_which_weights_were_tested(whole: Path) -> None:
    state = state_of(whole)
    summary = summarise(state)
    assert summary.design.keeps_tested
    assert summary.design.weights == state.created["confirm"]["weights"]
    best = best_confirmed(state)
    assert best is not None
    trial, values = best
    assert summary.headline is not None
    assert trial.arm == summary.headline.label
    assert trial.tested is not None
    epoch = trial.tested["epoch"]
    assert which_weights(trial) == f"the weights that were tested, those of epoch {epoch}"
    assert trial.of_kept_weights("val_accuracy") == max(values)
    assert trial.of_kept_weights("val_accuracy") == next(
        report.metrics["val_accuracy"] for report in trial.reports if report.epoch == epoch
    )


def write_test_images(folder: Path) -> Any:
    """Write the test images of the digits as PNG files, in their order; returns the right class of each."""
    images, labels = load_splits(Digits()).test[:]
    for number, image in enumerate(images):
        pixels = ((image[0] + 1) / 2 * 255).round().to(torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{number:03}.png")
    return labels.numpy().astype(str)


def answers(study: Path, trial: Trial, images: Tensor) -> Any:
    """The classes that the kept weights of a trial give to images, by karat itself."""
    config = TrialConfig.from_sections(trial.config)
    model = build_model(config.model, config.attention, seed=0, **config.data_shape())
    model.load_state_dict(load_checkpoint(weights_of(study, trial), trial.fingerprint)["model"])
    with torch.no_grad():
        return model.eval()(images).argmax(1).numpy().astype(str)


def check_answers(names: list[str], labels: Any, study: Path, trial: Trial) -> None:
    """What a stranger's process answered to the PNG files is what karat answers, but for rounding.

    A PNG has 256 levels, the data set 17. Classes of a barely trained model can be so close that this
    shows, so the answers to the files are compared with karat's to the same rounded images, and
    karat's to the images themselves with what was tested.
    """
    tested = evaluation_of(trial)
    assert tested is not None
    images, _ = load_splits(Digits()).test[:]
    assert ((answers(study, trial, images) == labels) == tested.bits()).mean() > 0.99
    rounded = ((images + 1) / 2 * 255).round() / 255 * 2 - 1
    assert np.count_nonzero(np.array(names) != answers(study, trial, rounded)) <= 1


STRANGER = """\
import sys, json
from pathlib import Path
import mlflow, numpy, torch
from PIL import Image
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pytorch.load_model(sys.argv[2]).eval()
classes = mlflow.models.get_model_info(sys.argv[2]).metadata["classes"]
images = [numpy.array(Image.open(path)) for path in sorted(Path(sys.argv[3]).glob("*.png"))]
names = [classes[model(torch.from_numpy(each)[None, None]).argmax()] for each in images]
print(json.dumps([names, sorted({"karat", "timm"} & {name.split(".")[0] for name in sys.modules})]))
"""


@pytest.mark.slow
def test_registered_model_gives_a_strangers_script_the_tested_answers(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sync(study)
    client = open_client(tracking_uri(study))
    [version] = client.search_model_versions(f"name = '{study.name}'")
    trial = state_of(study).trials[int(version.tags["karat.trial"])]
    tested = evaluation_of(trial)
    assert tested is not None
    assert f"the weights that were tested, those of epoch {tested.epoch}" in version.description
    [kept, _] = sorted(
        client.list_artifacts(version.run_id, "checkpoints"), key=lambda f: -f.file_size
    )
    assert Path(kept.path).name == weights_of(study, trial).name
    assert "Preprocessing is inside: shorter edge scaled to 8 px" in version.description
    assert json.loads(version.tags["karat.classes"]) == list("0123456789")

    labels = write_test_images(tmp_path)
    done = subprocess.run(
        (sys.executable, "-c", STRANGER, client.tracking_uri, f"models:/{study.name}/1", tmp_path),
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    names, loaded = json.loads(done.stdout.splitlines()[-1])
    assert loaded == []
    check_answers(names, labels, study, trial)


@pytest.mark.slow
def test_registered_model_answers_a_strangers_json(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `mlflow models serve` does with a request; the images are nested lists of numbers."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sync(study)
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import scoring_server

    mlflow.set_tracking_uri(tracking_uri(study))
    try:
        model = mlflow.pyfunc.load_model(f"models:/{study.name}/1")
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    schema = model.metadata.get_input_schema()
    images, _ = load_splits(Digits()).test[:3]
    pixels = ((images + 1) / 2 * 255).round()

    def ask(values: torch.Tensor) -> Any:
        text = json.dumps({"inputs": values.tolist()})
        answer = scoring_server.invocations(text, "application/json", model, schema)
        return json.loads(answer.response)["predictions"]

    told = ask(pixels.int())
    assert np.shape(told) == (3, 10)
    np.testing.assert_allclose(np.sum(told, 1), 1, rtol=1e-5)
    for same in (pixels, pixels / 255):
        np.testing.assert_allclose(ask(same), told, atol=1e-5)
    assert np.shape(ask(torch.nn.functional.interpolate(pixels, scale_factor=4))) == (3, 10)
    # The server answers these with status 400 and what the exception says as JSON.
    with pytest.raises(MlflowException) as refused:
        ask(images)  # normalised already
    assert "these look normalised already" in refused.value.serialize_as_json()
    with pytest.raises(MlflowException, match="does not match expected shape"):
        ask(pixels[0])  # no batch


@pytest.mark.slow
def test_exported_script_gives_the_tested_answers_in_a_process_of_its_own(
    whole: Path, tmp_path: Path
) -> None:
    state = state_of(whole)
    best = best_confirmed(state)
    assert best is not None
    assert main(["export", str(whole), "--out", str(tmp_path / "model")]) == 0
    labels = write_test_images(tmp_path)
    done = subprocess.run(
        (sys.executable, tmp_path / "model/load.py", *sorted(tmp_path.glob("*.png"))),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    names = [line.rpartition(": ")[2].split()[0] for line in done.stdout.splitlines()]
    check_answers(names, labels, whole, best[0])


def test_test_value_changed_in_the_journal_is_named(study: Path) -> None:
    trial = confirmed(study)[0]
    changed = {"test_accuracy": 0.99}
    change_report(study, trial.number, lambda d: {**d, "metrics": {**d["metrics"], **changed}})
    [line] = audit(study, tracking=False)
    assert f"trial {trial.number}: test_accuracy recorded 0.99, but image by image" in line


def test_test_values_where_none_belong_are_named(study: Path) -> None:
    trial = confirmed(study)[0]

    def earlier(event: Any) -> dict[str, Any]:
        data = dict(event.data)
        if event.kind == "reported" and (data["trial"], data["epoch"]) == (trial.number, 1):
            data["metrics"] = {**data["metrics"], "test_accuracy": 0.5}
        return data

    rewrite(study, earlier)
    [line] = audit(study, tracking=False)
    assert "epoch 1 of 3 has test_accuracy, but only a confirmation run is tested, once" in line


def test_lost_record_of_the_test_evaluation_is_named(study: Path) -> None:
    trial = confirmed(study)[0]
    change_report(study, trial.number, lambda d: {k: v for k, v in d.items() if k != "tested"})
    found = audit(study, tracking=False)
    assert any("no test evaluation image by image" in line for line in found), found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correct": "AAAA"}, "cannot be read: 3 bytes of bits for 359 test images"),
        ({"epoch": 7}, "weights of epoch 7 were tested, but the trial has 3"),
        ({"labels": 3}, "labels of the test evaluation is missing or has a wrong type"),
    ],
)
def test_damaged_record_of_the_test_evaluation_is_named(
    study: Path, change: dict[str, Any], message: str
) -> None:
    trial = confirmed(study)[0]
    change_report(study, trial.number, lambda d: {**d, "tested": {**d["tested"], **change}})
    found = audit(study, tracking=False)
    assert any(message in line for line in found), found


def test_other_weights_with_a_right_manifest_are_named(study: Path) -> None:
    trial = confirmed(study)[0]
    path = weights_of(study, trial)
    content = load_checkpoint(path)
    content["model"]["head.bias"] += 1.0
    save_checkpoint(path.parent, path.stem, content, trial.fingerprint)
    [line] = audit(study, tracking=False)
    assert f"trial {trial.number}: {path}: has other weights than those that were tested" in line


def test_lost_weights_are_named(study: Path) -> None:
    trial = confirmed(study)[0]
    weights_of(study, trial).unlink()
    [line] = audit(study, tracking=False)
    assert "there is no checkpoint of its tested weights" in line


def test_choice_of_weights_cannot_change_within_a_study(write_space: Callable[..., Path]) -> None:
    space = load_space(write_space())
    source = {**space.source, "confirm": {**space.source["confirm"], "weights": "best"}}
    with pytest.raises(InputError, match=r"confirm\.weights from last to best"):
        larger_space(space, source, "here")
    with pytest.raises(InputError, match=r"confirm\.weights = 'bets'.*did you mean 'best'"):
        load_space(write_space(("seeds: 2}", "seeds: 2, weights: bets}")))


def test_plan_counts_the_weights_that_running_trials_keep() -> None:
    plan = ArmPlan(parameters=100, epochs=1, epoch_s=1.0, memory="", is_probed=False)
    run = Run(search_epochs=8, confirm_epochs=8, slot_s=1.0, wall_s=1.0, completed=4, confirmed=4)
    # 400 bytes of weights each: 8 ended trials, and 2 that run.
    assert disk_bytes({"a": plan}, [run], 2) == 400 * (8 + 2 * (3 * 3 + 3))
    assert disk_bytes({"a": plan}, [run], 2, "best") == 400 * (8 + 2 * (3 * 4 + 1))
    averaged = dataclasses.replace(plan, is_averaged=True)
    assert disk_bytes({"a": averaged}, [run], 2) == 400 * (8 + 2 * (3 * 4 + 3))
    assert disk_bytes({"a": plan, "b": averaged}, [run], 2) == 400 * (8 + 2 * (3 * 3.5 + 3))
