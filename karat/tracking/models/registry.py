"""The model of a study's answer, in MLflow's model registry.

It takes images as they are read and gives the probabilities of classes (`karat.models.classifier`). It is
an exported program inside a module of torch (`karat_model.py`, which MLflow stores beside it): `mlflow.pytorch.load_model`
loads it without karat or timm. Its signature has -1 for what may differ, and the example is larger than 1 there,
since the exporter treats a dimension of size 1 as a constant.
"""

import contextlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from karat.datasets import Preprocessing
from karat.errors import KaratError
from karat.journal.state import StudyState
from karat.journal.trial import Trial
from karat.tracking.models.tested_model import KeptModel, best_confirmed, kept_model, which_weights
from karat.tracking.runs import FINGERPRINT_TAG, TAG_LENGTH, TRIAL_TAG, UID_TAG

REQUIREMENTS = ("torch", "torchvision", "timm")
_EXAMPLE_SIZE = (5, 7)  # the exporter must not take height and width for the same
_MOST_NAMED = 20  # classes in the description
log = logging.getLogger(__name__)


def register_best(
    client: Any, uri: str, state: StudyState, folder: Path, runs: Mapping[int, str]
) -> None:
    """Register the model of `best_confirmed` under the study's name, once for each such trial.

    A model that cannot be built or exported is logged as an error; the sync continues.

    Args:
        client: an `MlflowClient`.
        uri: of the tracking server.
        state: of a completed study.
        folder: of the study.
        runs: trial number to id of the MLflow run, without deleted runs.

    Raises:
        MlflowException, SQLAlchemyError, OSError: MLflow failed; the call may be repeated.
    """
    name, uid = state.created["name"], state.created["uid"]
    best = best_confirmed(state)
    if best is None:
        return
    trial, values = best
    known = client.search_model_versions(f"name = '{name}' and tags.`{UID_TAG}` = '{uid}'")
    if any(_is_of(trial, each.tags) for each in known):
        return
    if trial.number not in runs:
        log.warning("the model of trial %d is not registered: its run was deleted", trial.number)
        return
    try:
        kept = kept_model(folder, state, trial)
        run_id = runs[trial.number]
        model_id = _logged_model(client, run_id) or _log_model(client, uri, kept, run_id)
    except (KaratError, RuntimeError) as error:  # torch.export raises RuntimeError
        log.error("the model of trial %d is not registered: %s", trial.number, error)
        return
    with _fluent(uri):  # an SQL registry ignores the client's URI here
        _create_version(client, state, kept, values, run_id, model_id)


def _is_of(trial: Trial, tags: Mapping[str, str]) -> bool:
    """Whether a model version has the tags of this trial; karat did not always write the fingerprint."""
    ours = trial.fingerprint
    return tags.get(TRIAL_TAG) == str(trial.number) and tags.get(FINGERPRINT_TAG, ours) == ours


def _logged_model(client: Any, run_id: str) -> str | None:
    """Id of a complete model that an earlier, unfinished attempt logged in the run; None if none."""
    outputs = client.get_run(run_id).outputs
    for output in outputs.model_outputs if outputs else ():
        model = client.get_logged_model(output.model_id)
        if model.status == "READY":
            return str(model.model_id)
    return None


def _log_model(client: Any, uri: str, kept: KeptModel, run_id: str) -> str:
    """Log the model of a trial in its run; returns MLflow's id of the model.

    `mlflow.pytorch.log_model` calls `Model.log` but has no `run_id`, and opening the run with
    `start_run` would set it to RUNNING and change its end time. The model is created first, since
    `Model.log` would create it in MLflow's default experiment.
    """
    import torch
    from mlflow import pytorch
    from mlflow.models import Model

    from karat.models.classifier import ImageClassifier
    from karat.tracking.models.exporting import MODULE, exported

    steps, model = kept.preprocessing, kept.model
    if steps is not None:
        model = ImageClassifier(model, steps)
    run = client.get_run(run_id)
    made = client.create_logged_model(
        run.info.experiment_id, name="model", source_run_id=run_id, params=run.data.params
    )
    with (
        _fluent(uri),
        warnings.catch_warnings(),
        _silent("mlflow.pytorch"),
        _private_copy(MODULE) as module,
    ):
        warnings.simplefilter("ignore")
        Model.log(
            artifact_path=None,
            flavor=pytorch,
            model_id=made.model_id,
            run_id=run_id,
            step=kept.epoch,
            metadata={"classes": list(kept.classes), "input": _input_of(steps)},
            pytorch_model=exported(
                model, torch.from_numpy(_example(kept)), is_any_size=steps is not None
            ),
            serialization_format="pickle",
            code_paths=[str(module)],
            signature=_signature(kept),
            input_example=_example(kept),
            pip_requirements=[f"{each}=={_version(each)}" for each in REQUIREMENTS],
        )
    return str(made.model_id)


@contextlib.contextmanager
def _private_copy(file: Path) -> Iterator[Path]:
    """A copy that only the user can read: MLflow gives its own copy the mode of the original."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        copy.touch(0o600)
        copy.write_bytes(file.read_bytes())
        yield copy


def _signature(kept: KeptModel) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    edge = kept.size if kept.preprocessing is None else -1
    kind = np.dtype("float32")
    return ModelSignature(
        inputs=Schema([TensorSpec(kind, (-1, kept.channels, edge, edge))]),
        outputs=Schema([TensorSpec(kind, (-1, len(kept.classes)))]),
    )


def _example(kept: KeptModel) -> Any:
    """Two black images: small, since MLflow stores the example twice, as text."""
    import numpy as np

    size = (kept.size, kept.size) if kept.preprocessing is None else _EXAMPLE_SIZE
    return np.zeros((2, kept.channels, *size), dtype=np.float32)


def _input_of(steps: Preprocessing | None) -> str:
    """What the registered model takes, in words."""
    if steps is None:
        return "normalised images, as the data set gives them; gives logits"
    return (
        "images of any size, (images, channels, height, width), pixels from 0 to 1 or from 0 to 255; gives the "
        f"probability of each class. Preprocessing is inside: {steps}"
    )


def _create_version(
    client: Any,
    state: StudyState,
    kept: KeptModel,
    values: list[float],
    run_id: str,
    model_id: str,
) -> None:
    name, metric = state.created["name"], state.created["metric"]
    trial, classes = kept.trial, kept.classes
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=state.created["question"])
    made = client.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=run_id,
        model_id=model_id,
        tags={
            UID_TAG: state.created["uid"],
            TRIAL_TAG: str(trial.number),
            FINGERPRINT_TAG: trial.fingerprint,
            "karat.arm": trial.arm,
            **_tag_of(classes),
        },
        description=(
            f"{trial.arm}: mean {metric} {fmean(values):.4f} over {len(values)} seeds; "
            f"this is seed {trial.seed_index} (trial {trial.number}), with {which_weights(trial)}.\n\n"
            f"Input: {_input_of(kept.preprocessing)}. It is ready to predict, and cannot be trained.\n\n"
            f"Classes, in the order of the output: {_named(classes)}."
        ),
    )
    versions = json.dumps([{"name": name, "version": made.version}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": versions})


def _tag_of(classes: Sequence[str]) -> dict[str, str]:
    """The names of the classes as a tag of the version, where MLflow can store them."""
    text = json.dumps(classes)
    return {"karat.classes": text} if len(text) <= TAG_LENGTH else {}


def _named(classes: Sequence[str]) -> str:
    more = len(classes) - _MOST_NAMED
    return ", ".join(classes[:_MOST_NAMED]) + (
        f" and {more} more (`metadata` of the model)" if more > 0 else ""
    )


def _version(package: str) -> str:
    """The version without its local part (`+cu130`), which package indexes do not have."""
    return version(package).partition("+")[0]


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """No warnings of a logger: MLflow warns of pickle at each model."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _fluent(uri: str) -> Iterator[None]:
    """Set MLflow's global tracking URI for a call that takes none; restored afterwards."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before
