"""How far MLflow lags behind a journal that grows by ten events per second.

    python -m benchmarks.view_lag --seconds 30

Starts a local MLflow server, and the view as a study starts it; writes a made-up journal, and polls
the server for the reports that it shows.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from karat.journal.journal import Journal
from tests import journals
from tests.conftest import ROOT
from tests.faults.mlflow_server import mlflow_server

EVENTS_A_SECOND = 10
TRIALS_AT_A_TIME = 4
LOOK_EVERY_S = 0.1
Place = tuple[int, int]  # trial and epoch


def events(plan: journals.Plan) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events of an endless series of trials, several at a time, in the order of a real driver."""
    arms = journals.arms_of(plan)
    asked = 0
    while True:
        script = journals.Script()
        trials = range(asked, asked + TRIALS_AT_A_TIME)
        asked += TRIALS_AT_A_TIME
        for number in trials:
            tuned = {"training.learning_rate": 0.004}
            journals.ask(script, number, "search", arms[number % len(arms)], tuned, 0)
        for epoch in range(1, journals.EPOCHS + 1):
            for number in trials:
                script.add(
                    "reported",
                    trial=number,
                    segment=0,
                    epoch=epoch,
                    metrics={"val_accuracy": 0.5, "val_loss": 0.5, "train_loss": 0.5},
                    seconds=0.4,
                )
        for number in trials:
            journals.end(script, number, "stopped", "early stopping")
        for event in script.events:
            yield event.kind, dict(event.data)


def write(folder: Path, seconds: float, written: dict[Place, float]) -> None:
    """Write the journal of a study for this time; `written` gets the time of each report."""
    plan = journals.Plan()
    with Journal.open(folder) as journal:
        journal.append("study_created", **journals.created(plan, journals.arms_of(plan)))
        journal.append("launched", slots=TRIALS_AT_A_TIME, environment={})
        begun = time.monotonic()
        for number, (kind, data) in enumerate(events(plan)):
            time.sleep(max(0, begun + number / EVENTS_A_SECOND - time.monotonic()))
            if time.monotonic() - begun > seconds:
                return
            journal.append(kind, **data)
            if kind == "reported":
                written[data["trial"], data["epoch"]] = time.monotonic()


def look(client: Any, name: str, shown: dict[Place, float]) -> None:
    """Add the reports that the server now shows for the first time to `shown`."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return
    for run in client.search_runs([experiment.experiment_id], max_results=1000):
        number, metrics = run.data.tags.get("karat.trial"), run.data.metrics
        if number is None or (int(number), journals.EPOCHS) in shown or not metrics:
            continue
        history = client.get_metric_history(run.info.run_id, "epoch_seconds")
        for point in history:
            shown.setdefault((int(number), point.step), time.monotonic())


def lags(folder: Path, uri: str, seconds: float) -> list[float]:
    """Seconds from the writing of each report until MLflow shows it."""
    from mlflow import MlflowClient

    written: dict[Place, float] = {}
    shown: dict[Place, float] = {}
    view = subprocess.Popen(
        [sys.executable, "-m", "karat", "sync", str(folder), "--follow"],
        stdin=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri},
    )
    assert view.stdin is not None
    writer = threading.Thread(target=write, args=(folder, seconds, written))
    client, name = MlflowClient(uri), journals.created(journals.Plan(), [])["name"]
    try:
        writer.start()
        while writer.is_alive() or len(shown) < len(written):
            look(client, name, shown)
            time.sleep(LOOK_EVERY_S)
    finally:
        view.stdin.close()
        view.wait(120)
    return [shown[place] - at for place, at in written.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30, help="how long the journal grows (30)")
    options = parser.parse_args()
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    with tempfile.TemporaryDirectory() as place, mlflow_server(Path(place)) as server:
        folder = Path(place) / "studies" / "fourier-grid"
        journals.write(folder, journals.Script())  # so that there is a study to follow
        found = lags(folder, server.uri, options.seconds)
    settled = found[len(found) // 5 :]  # the view needs seconds to import MLflow
    print(
        f"{len(found)} reports at {EVENTS_A_SECOND} events per second: lag "
        f"{statistics.median(settled):.1f} s (median), {max(settled):.1f} s at most; "
        f"{max(found):.1f} s while the view starts"
    )


if __name__ == "__main__":
    main()
