"""The journal's benchmark drives every report, and prints what it says it does."""

import json
import re

import pytest

from benchmarks.journal import main, text_of

SIZE = ["--trials", "20", "--epochs", "3", "--metrics", "5"]


@pytest.mark.slow
def test_every_figure_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SIZE, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["trials"], data["epochs"], data["metrics"]) == (20, 3, 5)
    for step in ("report", "next trial"):
        ms = data["ms"][step]
        assert 0 < ms["without fsync"]["median"] <= ms["with fsync"]["median"]
    assert list(data["memory_mib"]) == ["2", "4", "8", "12", "16", "20"]
    assert data["fold_s"] > 0
    assert data["study_reopened_s"] > 0
    text = text_of(data)
    assert "20 trials x 3 epochs x 5 metrics" in text
    assert text.count("| report |") == text.count("| next trial |") == 2
    reports = re.findall(r"^\| report \|.*\| (\d): (kept|BROKEN) \|$", text, re.MULTILINE)
    assert [bound for bound, _ in reports] == ["5", "1"]


def test_bound_that_is_broken_is_shown() -> None:
    ms = {"median": 5.1, "mean": 5.2, "p99": 9.0}
    data = {
        "machine": "one",
        "trials": 1,
        "epochs": 1,
        "metrics": 1,
        "file_mib": 1.0,
        "ms": {"report": {"with fsync": ms}},
        "memory_mib": {},
        "fold_s": 4.9,
        "study_reopened_s": 9.0,
        "memory_of_reopened_mib": 1.0,
    }
    assert "| report | with fsync | 5.100 | 5.200 | 9.000 | 5: BROKEN |" in text_of(data)
    assert "folded in 4.90 s (bound 5 s: kept)" in text_of(data)
