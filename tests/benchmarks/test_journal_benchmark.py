"""The journal's benchmark drives every report, and prints what it says it does."""

import json

import pytest

from benchmarks.journal import main, text_of

SIZE = ["--trials", "20", "--epochs", "3", "--metrics", "5"]


def test_every_figure_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SIZE, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["trials"], data["epochs"], data["metrics"]) == (20, 3, 5)
    for step in ("report", "next trial"):
        ms = data["ms"][step]
        assert 0 < ms["without fsync"]["median"] <= ms["with fsync"]["median"]
    assert list(data["memory_mib"]) == ["2", "4", "8", "12", "16", "20"]
    assert 0 < data["fold_s"] < 5
    assert 0 < data["study_reopened_s"] < 5
    text = text_of(data)
    assert "20 trials x 3 epochs x 5 metrics" in text
    assert text.count("| report |") == text.count("| next trial |") == 2
