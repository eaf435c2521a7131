"""What MLflow shows of a study beside its answer: its data set, and the program that ran it.

Everything follows from the journal, but the user, who is the owner of the study's folder.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from karat.journal.state import StudyState

ANSWER_TAG, NOTE_TAG = "karat.answer", "mlflow.note.content"
VERDICT = "verdict"
BY_ARM = ("difference", "difference_low", "difference_high", "p_holm", VERDICT)
_DIGEST = 36  # the same of a data set's digest


def source_tags(state: StudyState, folder: Path) -> dict[str, str]:
    """The program, its commit and the user, as MLflow names them."""
    tags = {
        "mlflow.source.name": "karat",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _owner(folder),
    }
    environment = state.launches[-1].environment if state.launches else {}
    git = environment.get("git") or {}
    if git.get("commit"):
        tags["mlflow.source.git.commit"] = git["commit"]
        tags["karat.source_altered"] = str(bool(git.get("altered"))).lower()
    return tags


def is_of_answer(name: str) -> bool:
    """Whether a tag or a metric of a study's run is about the answer."""
    kind, slash, _ = name.partition("/")
    return name == ANSWER_TAG or (bool(slash) and (kind in BY_ARM or kind.startswith("test_")))


def dataset_input(created: Mapping[str, Any]) -> Any:
    """The data set of a study as MLflow logs it; None where trials have different ones."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = created.get("space", {}).get("data")
    if not isinstance(data, Mapping) or "name" not in data:
        return None
    known = created["data"]
    profile = {"classes": len(known.get("classes", ()))}
    dataset = Dataset(
        name=str(data["name"]),
        digest=str(known["fingerprint"])[:_DIGEST],
        source_type="local",
        source=json.dumps(data, default=str),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training, validation, test")])


def _owner(folder: Path) -> str:
    try:
        return folder.owner()
    except KeyError:  # a user without a name on this machine, as in a container
        return str(folder.stat().st_uid)
