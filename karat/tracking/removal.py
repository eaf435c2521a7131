"""Finds what MLflow has of a study, and deletes it there, for `karat delete`.

MLflow's client marks as deleted; `mlflow gc` on MLflow's machine frees the space. A deleted experiment keeps
its name, and a new study of that name would restore it with all its old runs: so it is renamed first.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from karat.journal.layout import mlflow_files
from karat.tracking.client import asking, has_no_database, is_database, tracking_uri
from karat.tracking.runs import UID_TAG, is_deleted

_MOST_ANSWERS = 1000  # of one request


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What MLflow has of a study.

    Args:
        uri: of MLflow.
        name: of the experiment and of the registered model.
        experiment: id; None if there is none, or only a deleted one.
        runs: ids of the study's runs that are not deleted.
        models: ids of the models logged in these runs.
        versions: of the registered model, those of the study.
        is_shared: whether the experiment has runs of other studies too, such as one put aside by `--fresh`.
        is_model_shared: whether the registered model has versions of other studies too.
        files: folders of artifacts, if MLflow stores them beside the study.
    """

    uri: str
    name: str
    experiment: str | None
    runs: tuple[str, ...]
    models: tuple[str, ...]
    versions: tuple[str, ...]
    is_shared: bool
    is_model_shared: bool
    files: tuple[Path, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to delete."""
        return not (self.runs or self.versions or self.files)


def find_remains(folder: Path, name: str, uid: str | None) -> Remains:
    """What MLflow has of a study; changes nothing.

    Args:
        folder: of the study, which may be gone: STORAGE/ANY.
        name: of the study.
        uid: of the study; None for every study of that name.

    Raises:
        TrackingError: MLflow does not answer.
    """
    uri = tracking_uri(folder)
    if has_no_database(folder, uri):
        return Remains(
            uri=uri, name=name, experiment=None, runs=(), models=(), versions=(), is_shared=False,
            is_model_shared=False, files=(),
        )  # fmt: skip
    with asking(uri, "could not be read; nothing was deleted") as client:
        from mlflow.entities import ViewType

        experiment = client.get_experiment_by_name(name)
        inside = [] if experiment is None else [experiment.experiment_id]
        runs = _pages(client.search_runs, inside, run_view_type=ViewType.ALL)
        ours = {run.info.run_id: run for run in runs if _is_of(run.data.tags, uid)}
        models = [
            each.model_id
            for each in _pages(client.search_logged_models, inside)
            if each.source_run_id in ours
        ]
        versions = list(client.search_model_versions(f"name = '{name}'"))
        own = tuple(str(each.version) for each in versions if _is_of(each.tags, uid))
    is_active = experiment is not None and experiment.lifecycle_stage != "deleted"
    is_shared = len(ours) < len(runs)
    stored = mlflow_files(folder.absolute().with_name(name)) if is_database(uri) else None
    return Remains(
        uri=uri,
        name=name,
        experiment=inside[0] if is_active else None,
        runs=tuple(key for key, run in ours.items() if not is_deleted(run)),
        models=tuple(models),
        versions=own,
        is_shared=is_shared,
        is_model_shared=len(own) < len(versions),
        files=_files(stored, [*ours, *models], is_shared),
    )


def delete_remains(remains: Remains) -> None:
    """Delete from MLflow: first the versions of the model, then its runs, the experiment last.

    Its files are left. After an error the call can be repeated with what `find_remains` then finds.

    Raises:
        TrackingError: MLflow does not answer; the message says what is deleted already.
    """
    done: list[str] = []
    with asking(remains.uri, "failed", done) as client:
        for version in remains.versions:
            client.delete_model_version(remains.name, version)
            done.append(f"version {version} of the model")
        if remains.versions and not remains.is_model_shared:
            client.delete_registered_model(remains.name)
        for model in remains.models:
            client.delete_logged_model(model)
        for count, run in enumerate(remains.runs, 1):
            client.delete_run(run)
            done[len(remains.versions) :] = [f"{count} of {len(remains.runs)} runs"]
        if remains.experiment is not None and not remains.is_shared:
            client.rename_experiment(remains.experiment, _aside(remains))
            client.delete_experiment(remains.experiment)


def _aside(remains: Remains) -> str:
    return f"{remains.name} (deleted {time.strftime('%Y-%m-%d %H:%M:%S')}, {remains.experiment})"


def _is_of(tags: dict[str, str], uid: str | None) -> bool:
    """Whether tags are of the study with this uid; without one, of any study of karat."""
    return UID_TAG in tags if uid is None else tags.get(UID_TAG) == uid


def _files(stored: Path | None, ids: list[str], is_shared: bool) -> tuple[Path, ...]:
    if stored is None or not stored.is_dir():
        return ()
    if not is_shared:
        return (stored,)
    places = [place for each in ids for place in (stored / each, stored / "models" / each)]
    return tuple(place for place in places if place.is_dir())


def _pages(search: Any, experiments: list[str], **more: Any) -> list[Any]:
    """Everything that a search of MLflow's client finds, page by page."""
    found: list[Any] = []
    token: str | None = None if experiments else ""
    while token != "":
        page = search(experiments, max_results=_MOST_ANSWERS, page_token=token, **more)
        found += page
        token = page.token or ""
    return found
