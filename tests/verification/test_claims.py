"""Claims in a file are compared with the reports of their studies; errors name file and line."""

import re
from pathlib import Path

import pytest

from karat.cli.main import main
from karat.errors import InputError
from karat.report.facts.summary import summarise
from karat.verification.claims import check_claims, read_claims
from tests import journals
from tests.conftest import ROOT
from tests.studies import state_of, told

ARM = "fourier grid_size=3 blockwise"
CLAIM = f"""\
claims:
  - study: studies/fourier-grid
    arm: {ARM}
    reference: softmax
    verdict: better
    difference: [0.2, 0.3]
"""


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    """A file with one claim that holds, beside the study that it is about."""
    plan = journals.Plan(sharings=("blockwise",))
    journals.write(tmp_path / "studies" / "fourier-grid", journals.study(plan))
    path = tmp_path / "claims.yaml"
    path.write_text(CLAIM)
    return path


def test_claim_that_holds_is_counted(claims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--claims", str(claims)]) == 0
    assert capsys.readouterr().out == f"{claims}: 1 of 1 claims hold\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("verdict: better", "verdict: equivalent", "verdict equivalent claimed, better found"),
        ("[0.2, 0.3]", "[0.3, 0.4]", "difference from 0.3 to 0.4 claimed, 0.27"),
        (ARM, "fourier grid_size=4 blockwise", "the report has no arm 'fourier grid_size=4 block"),
        ("reference: softmax", f"reference: {ARM}", "the report compares it with 'softmax'"),
        (ARM, "softmax", "the first is a reference, which the report compares with nothing"),
    ],
)
def test_claim_that_does_not_hold_is_named(
    old: str, new: str, message: str, claims: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claims.write_text(CLAIM.replace(old, new))
    assert main(["verify", "--claims", str(claims)]) == 1
    finding, summary = capsys.readouterr().out.splitlines()
    assert finding.startswith(f"{claims}:2: ")
    assert message in finding
    assert summary == f"{claims}: 0 of 1 claims hold"


def test_claim_about_a_study_that_is_not_complete_does_not_hold(claims: Path) -> None:
    folder = claims.parent / "studies" / "young"
    journals.write(folder, journals.study(journals.Plan(until="confirming")))
    claims.write_text(CLAIM.replace("studies/fourier-grid", "studies/young"))
    [finding] = check_claims(claims).findings
    assert "the study is not complete, so its report has no verdict" in finding


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", "", "must contain the key `claims`, with a list of claims"),
        ("claim: []", 1, "unknown key 'claim'. did you mean 'claims'?"),
        ("claims: []", 1, "must be a list of claims"),
        ("claims: [3]", 1, "claim 1 = 3: must contain the keys study, arm, reference, verdict"),
        (CLAIM.replace("    verdict: better\n", ""), 2, "verdict is missing"),
        (
            CLAIM.replace("verdict:", "verdikt:"),
            5,
            "unknown key 'verdikt'. did you mean 'verdict'?",
        ),
        (
            CLAIM.replace("better", "bettr"),
            5,
            "verdict = 'bettr': must be one of these. did you mean",
        ),
        (CLAIM.replace("[0.2, 0.3]", "[0.2]"), 6, "must be two numbers, from and to"),
        (CLAIM.replace("[0.2, 0.3]", "[0.2, true]"), 6, "must be two numbers, from and to"),
        (CLAIM.replace("[0.2, 0.3]", "[0.4, 0.3]"), 6, "must not be above the second"),
        (CLAIM.replace(ARM, "[1]"), 3, "arm = [1]: must be text"),
        (CLAIM + CLAIM.partition("\n")[2], 7, "about the same study and arms as a claim before"),
        (CLAIM.replace("studies/", "nowhere/"), 2, "not a study (there is no journal.jsonl in it)"),
    ],
)
def test_wrong_file_is_refused_with_its_line(
    text: str, line: int | str, message: str, claims: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claims.write_text(text)
    assert main(["verify", "--claims", str(claims)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {claims}:{line}: " if line else f"error: {claims}: ")
    assert message in said


def test_study_and_claims_are_verified_in_one_command(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = next(arm.comparison for arm in summarise(state_of(whole)).arms if arm.comparison)
    path = tmp_path / "claims.yaml"
    path.write_text(
        f"claims: [{{study: {whole}, arm: {found.arm}, reference: {found.against}, "
        f"verdict: {found.verdict}, difference: [-1, 1]}}]"
    )
    assert main(["verify", str(whole), "--claims", str(path)]) == 0
    lines = told(capsys)
    assert "4 verified to the last bit" in lines[0]
    assert lines[-1].endswith("1 of 1 claims hold")


def test_nothing_to_verify_is_wrong_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"]) == 2
    assert "name a study's folder, or a file of claims with --claims" in capsys.readouterr().err


def test_claims_of_the_readme_are_those_of_its_table() -> None:
    table = (ROOT / "README.md").read_text()
    for claim in read_claims(ROOT / "docs" / "claims.yaml"):
        [row] = re.findall(rf"^ *{re.escape(claim.arm)} .*$", table, re.MULTILINE)
        low, high = (100 * value for value in (claim.low, claim.high))
        assert f"({low:+.2f} to {high:+.2f})" in row
        assert f" {claim.verdict} " in row


def test_missing_file_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_claims(tmp_path / "none.yaml")
