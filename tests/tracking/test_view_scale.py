"""The MLflow view of many trials: requests and function calls by trial, and what it writes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.large_journal import CONFIG, LargeStudy, write
from benchmarks.large_study import view
from benchmarks.made_up_mlflow import MadeUpMlflow
from karat.journal.layout import JOURNAL
from karat.tracking.record import Record
from karat.tracking.trial_run import config_text
from tests.costs import calls_of

SMALL, LARGE = (LargeStudy(trials=count, epochs=3, arms=3, seeds=1) for count in (50, 500))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[LargeStudy, Path]:
    found = {}
    for size in (SMALL, LARGE):
        found[size] = tmp_path_factory.mktemp("studies") / str(size.trials)
        write(found[size], size)
    return found


def trials_of(size: LargeStudy) -> int:
    return size.trials + size.arms * size.seeds


def calls_of_view(folder: Path, steps: int) -> tuple[int, MadeUpMlflow]:
    clients: list[MadeUpMlflow] = []
    view(folder, steps)  # imports MLflow and fills caches
    return calls_of(lambda: clients.append(view(folder, steps))), clients[0]


@pytest.mark.parametrize("steps", [1, 10])
def test_trial_is_as_many_calls_and_requests_however_many_there_are(
    folders: dict[LargeStudy, Path], steps: int
) -> None:
    calls, requests = {}, {}
    for size, folder in folders.items():
        count, client = calls_of_view(folder, steps)
        calls[size] = count / trials_of(size)
        requests[size] = client.requests.total() / trials_of(size)
        assert client.requests["create_run"] == trials_of(size) + 1
    assert calls[LARGE] < 1.1 * calls[SMALL]
    assert requests[LARGE] < 1.1 * requests[SMALL]


def test_report_is_few_calls(folders: dict[LargeStudy, Path], tmp_path: Path) -> None:
    longer = LargeStudy(trials=SMALL.trials, epochs=23, arms=3, seeds=1)
    write(tmp_path, longer)
    short, _ = calls_of_view(folders[SMALL], 1)
    long, _ = calls_of_view(tmp_path, 1)
    reports = 20 * trials_of(SMALL)
    assert (long - short) / reports < 1.5 * 81  # measured, with the fold; 5 metrics in each


def test_record_keeps_no_copy_of_the_reports_of_the_state(folders: dict[LargeStudy, Path]) -> None:
    record = Record(folders[SMALL] / JOURNAL)
    record.read()
    assert record.count(7) == SMALL.epochs
    assert record.steps(7) == {1, 2, 3}
    assert not record._reports


class Configured:
    """Stands for a trial with this configuration."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        {"training": {"rates": [1e-5, None, True], "name": "yes", "text": "a: b\nü", "none": {}}},
    ],
)
def test_configuration_is_written_as_pyyaml_writes_it(config: dict[str, Any]) -> None:
    text = config_text(Configured(config))  # type: ignore[arg-type]
    assert text == yaml.safe_dump(config, sort_keys=False)
    assert yaml.safe_load(text) == config
