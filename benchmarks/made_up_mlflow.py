"""An MLflow client that answers at once: it stores what the view writes, and counts the requests."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class Page(list[Any]):
    """One page of runs; `token` of the next one is empty after the last."""

    token = ""


@dataclass(slots=True)
class _Run:
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    points: list[tuple[str, int]] = field(default_factory=list)  # names and steps of metrics


class MadeUpMlflow:
    """Has the methods of `mlflow.MlflowClient` that `karat.tracking.view.View` calls.

    `requests` counts the calls by method, `metrics` the values written.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.metrics = 0
        self._runs: dict[str, _Run] = {}

    def get_experiment_by_name(self, name: str) -> Any:
        self.requests["get_experiment_by_name"] += 1
        return SimpleNamespace(experiment_id="1", lifecycle_stage="active", name=name)

    def create_run(
        self, experiment: str, *, start_time: int, run_name: str, tags: Mapping[str, str]
    ) -> Any:
        self.requests["create_run"] += 1
        run_id = f"{experiment}-{len(self._runs)}-{run_name[:4]}"
        self._runs[run_id] = _Run(dict(tags))
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id, start_time=start_time))

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Any] = (),
        params: Sequence[Any] = (),
        tags: Sequence[Any] = (),
    ) -> None:
        self.requests["log_batch"] += 1
        self.metrics += len(metrics)
        run = self._runs[run_id]
        run.points += [(metric.key, metric.step) for metric in metrics]
        run.params |= {each.key: each.value for each in params}
        run.tags |= {each.key: each.value for each in tags}

    def get_run(self, run_id: str) -> Any:
        self.requests["get_run"] += 1
        return _shown(run_id, self._runs[run_id])

    def log_inputs(self, *_: object, **__: object) -> None:
        self.requests["log_inputs"] += 1

    def get_metric_history(self, run_id: str, key: str) -> list[Any]:
        self.requests["get_metric_history"] += 1
        points = self._runs[run_id].points
        return [SimpleNamespace(step=step) for name, step in points if name == key]

    def search_runs(self, *_: object, **__: object) -> Page:
        self.requests["search_runs"] += 1
        return Page(_shown(run_id, run) for run_id, run in self._runs.items())

    def search_model_versions(self, _: str) -> list[Any]:
        """Every best model is registered already: exporting one is not the view's own cost."""
        self.requests["search_model_versions"] += 1
        return [SimpleNamespace(tags=run.tags) for run in self._runs.values()]

    def log_text(self, *_: object) -> None:
        self.requests["log_text"] += 1

    def log_artifact(self, *_: object) -> None:
        self.requests["log_artifact"] += 1

    def set_tag(self, *_: object) -> None:
        self.requests["set_tag"] += 1

    def set_terminated(self, *_: object) -> None:
        self.requests["set_terminated"] += 1

    def update_run(self, *_: object, **__: object) -> None:
        self.requests["update_run"] += 1


def _shown(run_id: str, run: _Run) -> Any:
    info = SimpleNamespace(run_id=run_id, lifecycle_stage="active", status="RUNNING")
    metrics = {name: 0.0 for name, _ in run.points}
    data = SimpleNamespace(tags=run.tags, params=run.params, metrics=metrics)
    return SimpleNamespace(info=info, data=data)
