"""Fixtures and constants for several tests: a small search space, and the path of the repository."""

import os

# Must be set before torch is imported. Tests run in parallel on few cores; the threads of OpenMP
# wait actively for each other, which would take most of the time for models as small as these.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray gives its workers the lowest priority but four: beside other tests they would hardly run.
os.environ.setdefault("RAY_worker_niceness", "0")

import gc
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from filelock import FileLock

from karat.journal import lock
from karat.space.reader import load_space
from karat.space.space import Space
from karat.study.question import Stated
from karat.system.process.collector import collect_rarely
from karat.tracking.client import open_client, prepare_mlflow
from tests.launched import ROOT, launch

__all__ = ["ROOT", "launch"]  # which is a fixture

SMALL = """\
study: small
question: Is it better?
data: {name: digits}
model: {name: vit_micro, patch_size: 4, embed_dim: 12, depth: 1, num_heads: 2}
attention: {rank: 4}
training: {recipe: quick, epochs: 4, batch_size: 128}
reference: {attention.basis: softmax}
factors:
  attention.basis: [softmax, fourier]
  attention.grid_size: {values: [1, 2], when: {attention.basis: fourier}}
tuned:
  training.learning_rate: {low: 1e-3, high: 1e-2, log: true}
search: {sampler: tpe, trials: 6}
early_stopping: {scheduler: asha, grace_epochs: 1, reduction_factor: 3}
confirm: {by: attention.grid_size, seeds: 2}
"""

collect_rarely()  # thousands of tests, and all that they import, were looked at over and over


def pytest_collection_finish(session: pytest.Session) -> None:
    """Check that pytest-xdist knows every group; tests of an unknown one would run in parallel."""
    if hasattr(session.config, "workerinput") and session.config.getoption("loadgroup", False):
        for item in session.items:
            grouped = item.get_closest_marker("xdist_group") is not None
            assert not grouped or "@" in item.nodeid, f"{item.nodeid} is in no group"
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that of two processes none waits for the other's last one."""
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("cluster", "slow"))))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With `CLUSTER=1`, a test of a cluster that is skipped fails with the reason."""
    report = yield
    asked = os.environ.get("CLUSTER") and item.get_closest_marker("cluster")
    if asked and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"CLUSTER=1, but this cannot run: {reason}"
    return report


@pytest.fixture(autouse=True)
def no_other_lock_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take locks without waiting for a rival: no two tests take the same lock."""
    monkeypatch.setattr(lock, "SETTLE_S", 0.0)


@pytest.fixture
def write_space(tmp_path: Path) -> Callable[..., Path]:
    """Writes the small space with parts of its text replaced, and returns its path."""

    def write(*exchanges: tuple[str, str], text: str = SMALL) -> Path:
        for old, new in exchanges:
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / "space.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def without_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audits of `tests.journals`, whose arms follow from no search space."""
    monkeypatch.setattr("karat.study.audit.compare_question", lambda *_: Stated())


@pytest.fixture
def small_space(write_space: Callable[..., Path]) -> Space:
    return load_space(write_space())


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take seconds to create: once for all processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "empty-mlflow.db"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            made = path.with_suffix(".made")
            prepare_mlflow()
            open_client(f"sqlite:///{made}").search_experiments()
            made.rename(path)
    return path
