"""With `CLUSTER=1`, a test of a cluster that cannot run fails."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TESTS = """\
import pytest

@pytest.mark.cluster
@pytest.mark.skipif(True, reason="no Slurm: slurmd wants root")
def test_by_mark(): pass

@pytest.mark.cluster
def test_by_itself(): pytest.skip("no PostgreSQL")

@pytest.mark.skipif(True, reason="no GPU")
def test_of_no_cluster(): pass

@pytest.mark.cluster
def test_that_runs(): pass
"""


def run(folder: Path, cluster: str | None) -> str:
    (folder / "test_them.py").write_text(TESTS)
    arguments = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-rsfE"]
    arguments += [
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        str(folder / "tmp"),
    ]
    given = {k: v for k, v in os.environ.items() if k != "CLUSTER" and "PYTEST" not in k}
    if cluster is not None:
        given["CLUSTER"] = cluster
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, str(folder / "test_them.py")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=given,
        check=False,
    ).stdout


def outcomes(said: str) -> dict[str, int]:
    return {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|skipped|failed|error)", said)}


def test_skipped_cluster_test_fails_with_cluster_set(tmp_path: Path) -> None:
    said = run(tmp_path, "1")
    assert outcomes(said) == {"passed": 1, "skipped": 1, "failed": 1, "error": 1}
    assert "CLUSTER=1, but this cannot run: Skipped: no Slurm: slurmd wants root" in said
    assert "CLUSTER=1, but this cannot run: Skipped: no PostgreSQL" in said


@pytest.mark.parametrize("cluster", [None, ""])
@pytest.mark.slow
def test_cluster_tests_are_skipped_without_the_variable(
    tmp_path: Path, cluster: str | None
) -> None:
    assert outcomes(run(tmp_path, cluster)) == {"passed": 1, "skipped": 3}
