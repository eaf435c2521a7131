"""Claims about studies, as a page or a paper makes them, against what the studies' reports say.

    claims:
      - study: ../studies/fourier-grid      # folder of the study, from this file's own
        arm: fourier grid_size=3 blockwise  # as the report calls it
        reference: softmax                  # the arm that it is compared with
        verdict: better                     # better, worse, equivalent or inconclusive
        difference: [0.19, 0.41]            # from, to: of the mean, in the metric's unit (accuracy: 0 to 1)

Every key is required.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, get_args

from karat.errors import InputError, nearest, shorten
from karat.journal.journal import read_events
from karat.journal.layout import JOURNAL
from karat.journal.state import StudyState
from karat.report.facts.summary import Summary, summarise
from karat.space.yaml_reader import Document, Path_, read_yaml
from karat.statistics.comparison import Verdict

KEYS = ("study", "arm", "reference", "verdict", "difference")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim; `place` is its file and line.

    Args:
        study: folder of the study.
        arm, reference: labels of the arms that are compared.
        verdict: of the comparison.
        low, high: range of the difference of means, in the metric's unit.
    """

    place: str
    study: Path
    arm: str
    reference: str
    verdict: Verdict
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the check of a file says: `findings`, one line each, and one line of `summary`."""

    findings: list[str]
    summary: str


def check_claims(path: Path) -> Checked:
    """Compare every claim of a file with the report of its study.

    Raises:
        InputError: the file is not as above, or names a folder that is no study; with file and line.
        JournalError: the journal of a study is damaged.
    """
    claims = read_claims(path)
    summaries: dict[Path, Summary] = {}
    for claim in claims:
        if claim.study not in summaries:
            summaries[claim.study] = _summary(claim)
    findings, hold = [], 0
    for claim in claims:
        found = list(_contradictions(claim, summaries[claim.study]))
        hold += not found
        name = f"{claim.place}: {claim.arm} against {claim.reference}"
        findings += [f"{name}: {text}" for text in found]
    return Checked(findings=findings, summary=f"{path}: {hold} of {len(claims)} claims hold")


def read_claims(path: Path) -> list[Claim]:
    """The claims of a file.

    Raises:
        InputError: what is wrong, with file and line, and what would be right.
    """
    return list(_Reader(read_yaml(path), path).claims())


class _Reader:
    """Reads the data of a file of claims."""

    def __init__(self, document: Document, path: Path) -> None:
        self._document, self._path = document, path

    def claims(self) -> Iterator[Claim]:
        data = self._document.data
        if not isinstance(data, dict):
            self._fail((), "must contain the key `claims`, with a list of claims")
        self._known(data, ("claims",), ())
        entries = data.get("claims")
        if not isinstance(entries, list) or not entries:
            self._fail(("claims",), "must be a list of claims")
        seen: set[tuple[object, ...]] = set()
        for number, entry in enumerate(entries):
            claim = self._claim(entry, ("claims", number))
            key = claim.study, claim.arm, claim.reference
            if key in seen:
                self._fail(("claims", number), "is about the same study and arms as a claim before")
            seen.add(key)
            yield claim

    def _claim(self, entry: Any, path: Path_) -> Claim:
        if not isinstance(entry, dict):
            self._fail(path, f"must contain the keys {', '.join(KEYS)}", entry)
        self._known(entry, KEYS, path)
        for key in KEYS:
            if key not in entry:
                self._fail(path, f"{key} is missing")
        study, arm, reference = (self._text(entry, key, path) for key in KEYS[:3])
        verdict = entry["verdict"]
        if verdict not in get_args(Verdict):
            rule = f"must be one of these. {nearest(verdict, get_args(Verdict))}"
            self._fail((*path, "verdict"), rule, verdict)
        low, high = self._range(entry["difference"], (*path, "difference"))
        return Claim(
            place=self._place(path),
            study=self._path.parent / study,
            arm=arm,
            reference=reference,
            verdict=verdict,
            low=low,
            high=high,
        )

    def _text(self, entry: Mapping[str, Any], key: str, path: Path_) -> str:
        value = entry[key]
        if not isinstance(value, str) or not value:
            self._fail((*path, key), "must be text", value)
        return value

    def _range(self, value: Any, path: Path_) -> tuple[float, float]:
        is_pair = isinstance(value, list) and len(value) == 2
        if not is_pair or any(type(each) not in (int, float) for each in value):
            self._fail(path, "must be two numbers, from and to, as in [0.19, 0.41]", value)
        if value[0] > value[1]:
            self._fail(path, "the first number must not be above the second", value)
        return float(value[0]), float(value[1])

    def _known(self, values: Mapping[str, Any], known: tuple[str, ...], path: Path_) -> None:
        for key in values:
            if key not in known:
                self._fail((*path, key), f"unknown key {key!r}. {nearest(key, known)}")

    def _place(self, path: Path_) -> str:
        line = self._document.lines.get(path)
        return f"{self._path}:{line}" if line else str(self._path)

    def _fail(self, path: Path_, rule: str, value: object = ...) -> NoReturn:
        last = path[-1] if path else "the file"
        name = f"claim {last + 1}" if isinstance(last, int) else last
        shown = "" if value is ... else f"{name} = {shorten(value)}: "
        raise InputError(f"{self._place(path)}: {shown}{rule}")


def _summary(claim: Claim) -> Summary:
    path = claim.study / JOURNAL
    if not path.is_file():
        raise InputError(f"{claim.place}: {claim.study}: not a study (there is no {JOURNAL} in it)")
    return summarise(StudyState.of(read_events(path)))


def _contradictions(claim: Claim, summary: Summary) -> Iterator[str]:
    """What the report says otherwise."""
    if not summary.is_final:
        yield "the study is not complete, so its report has no verdict"
        return
    arms = {arm.label: arm for arm in summary.arms}
    for label in (claim.arm, claim.reference):
        if label not in arms:
            yield f"the report has no arm {label!r}. {nearest(label, arms)}"
            return
    found = arms[claim.arm].comparison
    if found is None:
        yield "the first is a reference, which the report compares with nothing"
        return
    if found.against != claim.reference:
        yield f"the report compares it with {found.against!r}"
        return
    if found.verdict != claim.verdict:
        yield f"verdict {claim.verdict} claimed, {found.verdict} found"
    if found.difference is None or not claim.low <= found.difference <= claim.high:
        yield f"difference from {claim.low:g} to {claim.high:g} claimed, {_number(found.difference)} found"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
