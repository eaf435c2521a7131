"""`karat report`: of one study into its folder, of several into one file."""

from pathlib import Path

import pytest

from karat.cli.main import main
from tests import journals
from tests.journals import Plan


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    for name, plan in {"one": Plan(until="searching"), "two": Plan(until="created")}.items():
        journals.write(tmp_path / "studies" / name, journals.study(plan))
    return tmp_path / "studies"


def report(*arguments: str) -> int:
    return main(["report", *arguments])


def test_one_study_gets_page_markdown_figures_and_tables(storage: Path) -> None:
    assert report("one", "--storage", str(storage)) == 0
    folder = storage / "one"
    assert {path.name for path in folder.glob("report.*")} == {"report.html", "report.md"}
    assert {"arms.csv", "pairs.csv", "trials.csv", "table.tex"} <= {
        path.name for path in (folder / "report").iterdir()
    }


def test_several_studies_make_one_page_and_nothing_else(storage: Path, tmp_path: Path) -> None:
    before = sorted(storage.rglob("*"))
    file = tmp_path / "both.html"
    assert report("one", "two", "--storage", str(storage), "--out", str(file)) == 0
    assert sorted(storage.rglob("*")) == before
    page = file.read_text()
    assert page.count("<article") == 2
    assert '"studies":[{"schema":1,' in page
    assert "script-src 'sha256-" in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["one", "two"], "name its file with --out FILE.html"),
        (["one", "one", "--out", "x.html"], "a study is named twice"),
        (["one", "--out", "journal.jsonl"], "name a file that ends in .html"),
        (["one", "--out", "no/such/folder.html"], "in a folder that exists"),
        (["one", "tow", "--out", "x.html"], "two"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    arguments: list[str],
    told: str,
    storage: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(storage.parent)
    before = sorted(storage.parent.rglob("*"))
    assert report(*arguments) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert sorted(storage.parent.rglob("*")) == before
