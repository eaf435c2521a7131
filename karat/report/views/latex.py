"""The results of a study as LaTeX tables, to be read by `\\input` in a document with the package booktabs."""

from collections.abc import Iterator, Sequence

from karat.report.facts.confirmed import ConfirmedArm
from karat.report.facts.summary import Summary
from karat.report.formatting import Units, in_unit, interval_text, p_text, spread_text
from karat.report.tables import Column, Table, table_of
from karat.report.wording import marked_verdict_text, n_text, reference_text
from karat.statistics.comparison import Comparison

_ESCAPED = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
}


def latex_tables(summary: Summary) -> str:
    """The confirmed arms, then their pairs; a comment alone where nothing was confirmed."""
    lines = [
        f"% Results of the study {_comment(summary.name)}, written by karat report.",
        r"% Needs \usepackage{booktabs} and \usepackage[T1]{fontenc}; read it by \input.",
    ]
    if not summary.arms:
        return "\n".join([*lines, "% No arm has been confirmed yet.", ""])
    lines += _float(_arms(summary), _caption(summary), f"tab:{_label(summary.name)}")
    if summary.pairs and summary.is_final:
        caption = "The confirmed arms against each other, with Holm's correction over the pairs."
        lines += ["", *_float(_pairs(summary), caption, f"tab:{_label(summary.name)}-pairs")]
    return "\n".join([*lines, ""])


def escape(text: str) -> str:
    """Text as LaTeX shows it as it is; characters that fonts of LaTeX may lack as their code point."""
    return "".join(map(_escape, " ".join(text.split())))


def _escape(mark: str) -> str:
    if mark in _ESCAPED:
        return _ESCAPED[mark]
    return mark if mark.isascii() or mark in _LATIN else f"[U+{ord(mark):04X}]"


_LATIN = {chr(code) for code in range(0xC0, 0x180)} - set("×÷ĸŉĿŀŦŧſ")


def _comment(text: str) -> str:
    return " ".join(text.split())


def _label(text: str) -> str:
    return "".join(mark if mark.isascii() and mark.isalnum() else "-" for mark in text)


def _arms(summary: Summary) -> Table:
    units = Units(summary.metric)

    def label(arm: ConfirmedArm) -> str:
        return arm.label + (" (reference)" if arm.is_reference else "")

    return table_of(
        summary.arms,
        ("arm", "text", label),
        ("parameters", "number", lambda arm: f"{arm.parameters:,}" if arm.parameters else "-"),
        (f"test{in_unit(units.unit)}", "number", lambda arm: spread_text(arm.test, units)),
        (
            f"difference{in_unit(units.step)}",
            "range",
            lambda arm: interval_text(arm.comparison, units),
        ),
        ("p", "number", lambda arm: p_text(arm.comparison if summary.is_final else None)),
        ("verdict", "text", lambda arm: marked_verdict_text(arm, summary)),
    )


def _pairs(summary: Summary) -> Table:
    units = Units(summary.metric)
    columns: list[Column[Comparison]] = [
        ("arm", "text", lambda pair: pair.arm),
        ("against", "text", lambda pair: pair.against),
        (f"difference{in_unit(units.step)}", "range", lambda pair: interval_text(pair, units)),
        ("p", "number", p_text),
        ("verdict", "text", lambda pair: pair.verdict),
    ]
    return table_of(summary.pairs, *columns)


def _caption(summary: Summary) -> str:
    rule, units = summary.rule, Units(summary.metric)
    share = f"{100 * (1 - rule.alpha):g} %"
    least = f"{units.number(rule.smallest_difference)}{units.step}"
    n = n_text(rule.tunings if rule.tunings > 1 else summary.seeds, rule)
    seeds = f"at least {n}" if rule.looks else n
    state = "" if summary.is_final else " Not all runs have ended: there is no verdict yet."
    return (
        f"{summary.question} Test {summary.metric.noun}, mean ± standard deviation over {seeds}; paired difference to "
        f"{reference_text(summary)} with its {share} interval; p of the paired t test with Holm's correction. "
        f"Equivalent: the interval is within {least} of zero.{state}"
    )


def _float(table: Table, caption: str, label: str) -> Iterator[str]:
    columns = "".join("r" if kind == "number" else "l" for kind in table.kinds)
    yield r"\begin{table}"
    yield r"\centering\footnotesize\setlength{\tabcolsep}{3pt}"
    yield rf"\caption{{{escape(caption)}}}"
    yield rf"\label{{{label}}}"
    yield rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}"
    yield r"\toprule"
    yield _row(table.columns)
    yield r"\midrule"
    for row in table.rows:
        yield _row([_signed(cell) for cell in row])
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"


def _signed(cell: str) -> str:
    """Numbers with a minus sign in place of a hyphen."""
    words = [
        f"−{word[1:]}" if word[:1] == "-" and word[1:2].isdigit() else word
        for word in cell.split(" ")
    ]
    words = [
        f"(−{word[2:]}" if word[:2] == "(-" and word[2:3].isdigit() else word for word in words
    ]
    return " ".join(words)
