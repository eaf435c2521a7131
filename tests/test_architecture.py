"""Guards for the shape of the code: who may import whom, and what loads what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Each module may import from the groups before its own, and from its own.
LAYERS = [
    {
        "after_import",
        "disk",
        "errors",
        "faults",
        "interruption",
        "lazy",
        "names",
        "orders",
        "peak",
        "processes",
        "quiet",
        "redact",
    },
    {"scratch", "studylock"},
    {"autocast", "catalog", "settings", "seeds", "levels", "starts"},
    {
        "bases",
        "base_activations",
        "datasets",
        "checkpoint",
        "group",
        "recipes",
        "journal",
        "reports",
        "yamlfile",
        "links",
        "environment",
        "spending",
    },
    {"kernels", "batches"},
    {"attention_config", "projections"},
    {"state", "attention"},
    {"host_attention", "sites"},
    {"hosts"},
    {"model_config", "models", "timm_models", "carry"},
    {"trial_config"},
    {"costs", "training"},
    {"memory", "probe"},
    {"predictions"},
    {"clusters", "space", "statistics"},
    {"samplers", "schedulers"},
    {"door"},
    {"spacedata", "spacearms", "spacereferences"},
    {"plans", "spacefile"},
    {"budgets", "curves"},
    {"forecast"},
    {"extension"},
    {"decisions", "segments"},
    {"study", "plots", "phrases"},
    {"summary", "search_facts", "worker"},
    {"group_worker", "peers"},
    {"report_words", "report_pictures"},
    {"report_tables"},
    {
        "dashboard",
        "engine",
        "local_ray",
        "ray_peers",
        "trainable",
        "tune_adapters",
        "tracking",
        "mlflow_client",
        "mlflow_runs",
        "mlflow_view",
        "registry",
        "report",
        "progress",
        "dryrun",
        "costs_command",
        "placement",
        "replay",
    },
    {"audit"},
    {"doctor", "driver", "submission"},
    {"simulator"},
    {"simulate_command"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted((ROOT / "karat").rglob("*.py"))


def imported_from_karat(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("karat."):
            modules.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            modules |= {a.name.split(".")[1] for a in node.names if a.name.startswith("karat.")}
    return modules


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    own = path.relative_to(ROOT / "karat").with_suffix("").parts[0]
    if own == "__init__":
        return
    assert own in LEVEL, f"put {own} into a layer"
    for module in imported_from_karat(path):
        assert LEVEL[module] <= LEVEL[own], f"{path.name} must not import karat.{module}"


@pytest.mark.parametrize("module", ["karat.attention", "karat.models", "karat.training"])
def test_operator_models_and_training_load_without_the_engine(module: str) -> None:
    code = (
        f"import sys, {module}; "
        "print(sorted({'ray', 'optuna', 'mlflow'} & {m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_launch_only_wires() -> None:
    assert len((ROOT / "launch.py").read_text().splitlines()) < 80


def test_command_line_has_only_these_flags() -> None:
    done = subprocess.run(
        [sys.executable, "launch.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    flags = {
        word.strip(",[]") for word in done.stdout.split() if word.strip(",[]").startswith("--")
    }
    assert flags == {
        "--help",
        "--space",
        "--set",
        "--name",
        "--storage",
        "--fresh",
        "--extend",
        "--dry-run",
        "--submit",
        "--cluster",
    }


def test_requirements_hold_no_addresses() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert "://" not in text
    assert "torch==" in text
