"""The benchmark itself, on models that take no time: what it prints is complete and consistent."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.attention import SWEEPS, main
from benchmarks.attention_operators import mechanisms, operators
from benchmarks.attention_subjects import Compared, Setting, implementations, make_model
from karat.attention.base_activations import BASE_ACTIVATIONS
from karat.attention.bases import BASES
from karat.attention.mechanisms import MECHANISMS

SMALL = ["--model", "vit_micro", "--image-size", "8", "--patch-size", "4", "--rank", "2"]
QUICK = [*SMALL, "--batch-size", "2", "--rounds", "1"]


def measured(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert main([*QUICK, "--json", *more]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("part", ["model", "operator"])
def test_every_implementation_is_compared_with_softmax(
    part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = measured(capsys, "--part", part)
    assert data["machine"]
    assert data["setting"]["tokens"] == 5
    by_name = {result["implementation"]: result for result in data["results"]}
    names = {"softmax-sdpa", "softmax-eager", "recompute", "reference"}
    assert set(by_name) - {"triton"} == names | ({"formula"} if part == "operator" else set())
    softmax = by_name["softmax-sdpa"]
    for key in ("step_time_ratio", "saved_bytes_ratio", "inference_time_ratio"):
        assert softmax[key] == 1.0
    for result in by_name.values():
        assert result["saved_bytes_ratio"] == result["saved_bytes"] / softmax["saved_bytes"]
        low, high = result["step_quartiles_ms"]
        assert 0 < low <= result["step_ms"] <= high
        assert result["peak_bytes"] > 0


def test_operators_are_every_basis_base_activation_order_and_projection() -> None:
    settings = list(operators(2).values())
    for key, names in {
        "basis": set(BASES),
        "base_activation": set(BASE_ACTIVATIONS) - {"zero"},
        "operator_order": {"phi_w", "phi_phi"},
        "projection": {"simplex", "softmax"},
    }.items():
        assert {each[key] for each in settings if key in each} == names
    with_base = {each["basis"] for each in settings if "base_activation" in each}
    assert with_base == set(BASES)
    assert set(mechanisms(2)) == set(MECHANISMS) - {"softmax", "karat"}


@pytest.mark.parametrize("compare", ["operators", "mechanisms"])
def test_every_operator_and_mechanism_runs_in_a_model(compare: Compared) -> None:
    setting = Setting(compare=compare, model="vit_micro", image_size=8, patch_size=4, rank=2)
    for name in implementations(setting)[0]:
        make_model(setting, name)(torch.zeros(1, 3, 8, 8))


def test_operators_are_compared_with_softmax_without_and_with_dropout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {name: operators(2)[name] for name in ("rational", "fourier 3, dropout")}
    monkeypatch.setattr("benchmarks.attention_subjects.operators", lambda rank: known)
    data = measured(capsys, "--compare", "operators")
    names = [result["implementation"] for result in data["results"]]
    assert names == ["softmax-sdpa", "softmax-sdpa, dropout", *known]


def test_formula_keeps_what_the_kernels_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    data = measured(capsys, "--part", "operator", "--image-size", "32")  # 65 tokens
    kept = {result["implementation"]: result["saved_bytes"] for result in data["results"]}
    assert kept["recompute"] < kept["formula"] / 9
    assert kept["recompute"] < kept["softmax-sdpa"]


@pytest.mark.slow
def test_table_data_and_figure_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [
        Setting(part="operator", model="vit_tiny", image_size=32, patch_size=patch, batch_size=1)
        for patch in (8, 4)
    ]
    monkeypatch.setitem(SWEEPS, "short", lambda: settings)
    monkeypatch.setattr("benchmarks.attention_plot.TOKENS", 17)
    assert main(["--sweep", "short", "--rounds", "1", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "attention.json", "attention.md", "attention.png",
    }  # fmt: skip
    assert len(json.loads((tmp_path / "attention.json").read_text())["sweep"]) == 2
    assert "formula / step" in capsys.readouterr().out


def test_the_short_sweep_compares_every_operator() -> None:
    assert any(each.compare == "operators" for each in SWEEPS["short"]())


def test_sweeps_hold_the_settings_that_are_claimed() -> None:
    for sweep in SWEEPS.values():
        alone = {(s.tokens, s.grid_size) for s in sweep() if s.part == "operator"}
        assert alone == {(n, g) for n in (17, 65, 197) for g in (1, 3, 5, 11)}
    sizes = {s.model for s in SWEEPS["full"]()}
    assert sizes == {"vit_tiny", "vit_small", "vit_base"}


def test_kernel_that_cannot_run_here_is_named_with_its_limit() -> None:
    _, refusals = implementations(Setting(model="vit_micro", image_size=8, patch_size=4, rank=2))
    assert any("triton" in refusal for refusal in refusals)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--model", "vit_huge"], "vit_huge"),
        (["--patch-size", "3"], "does not divide"),
        (["--rank", "99"], "attention.rank = 99 is above the 5 tokens"),
    ],
)
def test_wrong_setting_is_refused_with_the_rule(
    wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, *wrong]) == 2
    assert message in capsys.readouterr().err
