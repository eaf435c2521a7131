"""LaTeX and CSV: what is in them, and that other programs can read them."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from karat.report.document import document
from karat.report.facts.summary import summarise
from karat.report.views.latex import escape, latex_tables
from karat.report.views.spreadsheets import spreadsheets
from tests import journals
from tests.journals import Plan

NASTY = r"50% of_{a}\&b #1 ~^ $x$ <|> ±é 注"
PLANS = {
    "usual": Plan(),
    "special characters": Plan(
        levels=(NASTY, "_b"), finals={None: 0.7, NASTY: 0.8, "_b": 0.9}, question=NASTY
    ),
    "unfinished": Plan(until="confirming"),
    "nothing confirmed": Plan(until="searching"),
}


def files_of(plan: Plan) -> dict[str, list[dict[str, str]]]:
    state = journals.study(plan).state
    found = spreadsheets(document(summarise(state), state))
    return {name: list(csv.DictReader(io.StringIO(text))) for name, text in found.items()}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_csv_has_a_row_for_each_arm_pair_and_trial(plan: Plan) -> None:
    state = journals.study(plan).state
    summary = summarise(state)
    files = files_of(plan)
    assert [row["arm"] for row in files["arms.csv"]] == [arm.label for arm in summary.arms]
    pairs = [(pair.arm, pair.against) for pair in summary.pairs if summary.is_final]
    assert [(row["arm"], row["against"]) for row in files["pairs.csv"]] == pairs
    assert [int(row["trial"]) for row in files["trials.csv"]] == list(state.trials)


def test_csv_has_full_precision() -> None:
    files, state = files_of(Plan()), journals.study(Plan()).state
    summary = summarise(state)
    for row, arm in zip(files["arms.csv"], summary.arms, strict=True):
        assert float(row["test_mean"]) == arm.test.mean
        assert row["is_reference"] == ("true" if arm.is_reference else "false")
        if arm.comparison is not None:
            assert float(row["difference"]) == arm.comparison.difference
            assert float(row["difference_p_holm"]) == arm.comparison.p_holm
            assert row["difference_verdict"] == arm.comparison.verdict
            assert json.loads(row["tuned"]) == [dict(arm.cells[0].tuned)]
    for row in files["trials.csv"]:
        trial = state.trials[int(row["trial"])]
        assert float(row["training.learning_rate"]) == trial.tuned["training.learning_rate"]
        assert row["attention.grid_size"] == str(trial.factors.get("attention.grid_size", ""))
    assert files["trials.csv"][0]["asked_at"] == "2024-05-01T08:00:00.300+00:00"


def test_latex_shows_text_as_it_is() -> None:
    assert escape("50 % a_b \\ {x} & #1") == r"50 \% a\_b \textbackslash{} \{x\} \& \#1"
    assert escape("é ± 注\n$") == r"é $\pm$ [U+6CE8] \$"


def test_latex_has_the_results_and_the_pairs() -> None:
    text = latex_tables(summarise(journals.study(Plan()).state))
    assert text.count(r"\begin{table}") == text.count(r"\toprule") == 2
    assert r"\label{tab:fourier-grid-pairs}" in text
    assert r"fourier grid\_size=3 blockwise & 47,400" in text
    assert "+27.20 (+26.55 to +27.85)" in text
    assert "$-$" in text  # a negative difference of a pair


def test_latex_gives_no_verdict_before_there_is_one() -> None:
    text = latex_tables(summarise(journals.study(Plan(until="confirming")).state))
    assert "there is no verdict yet" in text
    assert "& pending" in text
    assert "& better" not in text


COMMANDS = {
    *("begin", "end", "centering", "footnotesize", "setlength", "tabcolsep", "caption", "label"),
    *("toprule", "midrule", "bottomrule", "textbackslash", "textasciitilde", "textasciicircum"),
    *("textless", "textgreater", "textbar", "textquotedbl", "textasciigrave", "ldots"),
    *("pm", "times", "rightarrow", "leq", "geq"),  # in mathematics
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_latex_is_well_formed(plan: Plan) -> None:
    """What can be said of it without LaTeX, which few machines have."""
    lines = latex_tables(summarise(journals.study(plan).state)).splitlines()
    text = "\n".join(line for line in lines if not line.startswith("%"))
    assert set(re.findall(r"\\([A-Za-z]+)", text)) <= COMMANDS
    bare = re.sub(
        r"\\(\\|[&%$#_{}])", "", text
    )  # without the ends of rows and the characters shown
    assert bare.count("{") == bare.count("}")
    assert not re.search("[%#~^_]", bare.replace(r"\setlength{\tabcolsep}", ""))
    assert bare.count("$") % 2 == 0
    assert all(mark.isascii() or "À" <= mark <= "ſ" for mark in text)
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert sorted(opened) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    for part in text.split(r"\begin{tabular}")[1:]:
        columns = len(re.match(r"\{@\{\}([lr]+)@\{\}\}", part)[1])  # type: ignore[index]
        rows = re.findall(r"^(.*)\\\\$", part, re.MULTILINE)
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {columns - 1}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_latex_compiles(plan: Plan, tmp_path: Path) -> None:
    latex = shutil.which("pdflatex")
    if latex is None:
        pytest.skip("no LaTeX (apt-get install texlive-latex-base texlive-latex-recommended)")
    (tmp_path / "table.tex").write_text(latex_tables(summarise(journals.study(plan).state)))
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\usepackage[T1]{fontenc}"
        "\n\\begin{document}Text.\n\\input{table}\n\\end{document}\n"
    )
    done = subprocess.run(
        [latex, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
