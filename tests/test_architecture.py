"""Guards for the architecture: layers, import cycles, and which package loads which."""

import ast
import functools
import graphlib
import importlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Packages and modules may import those in the lines above theirs, but not others in the same line.
# In the first line they may import each other, since everything else uses them.
LAYERS = (
    (
        *(
            "constraints",
            "errors",
            "causes",
            "seeds",
            "settings",
            "advice",
            "catalog",
            "parameters",
            "terminal",
            "system",
        ),
        "tested",
        "prior",
        "goals",
    ),
    ("attention", "datasets", "designs", "samplers", "schedulers", "statistics"),
    ("models",),
    ("training",),
    ("space",),
    ("journal",),
    ("planning", "report"),
    ("tracking", "analyses"),
    ("study",),
    ("forecast", "verification"),
    ("execution",),
    ("jobs",),
    ("reference",),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# The operators, models and trials must be usable without loading these heavy packages.
LIGHT, HEAVY = ("karat.attention", "karat.models", "karat.training"), ("ray", "optuna", "mlflow")
MOST_FILES, MOST_LEVELS, MOST_LINES = 15, 15, 400
# Modules with a study's facts (numbers, names and codes), and modules that show them.
FACTS_IN = "karat.report.facts"
WORDS = {
    *(
        f"karat.report.{name}"
        for name in (
            "formatting",
            "wording",
            "answer",
            "narrative",
            "sections",
            "search_text",
            "shortlist_text",
            "design_text",
            "certainty",
            "document",
        )
    ),
    *("karat.report.writer", "karat.journal.wording"),
}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for top in ("karat", "jobs")
    for path in sorted((ROOT / top).rglob("*.py"))
}
SHOWN = tuple(f"karat.report.{name}" for name in ("figures", "parts", "views"))
WORDS |= {name for name in FILES if name.startswith(SHOWN)}
FACTS = [name for name in FILES if name.startswith(f"{FACTS_IN}.")]


def package_of(module: str) -> str | None:
    """The package in LAYERS that contains a module; None for `karat` itself."""
    top, *below = module.split(".")
    if top == "jobs":
        return "jobs"
    return below[0] if below and below[0] != "__main__" else None


def imported(module: str, *, at_once: bool = False) -> set[str]:
    """Modules of this repository that a module imports, also in functions, for types, as a string.

    Args:
        at_once: only those that are loaded when the module is loaded.
    """
    tree = ast.parse(FILES[module].read_text())
    found: set[str] = set()
    for node in _at_once(tree.body) if at_once else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in FILES:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & FILES.keys()) or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & FILES.keys()
        elif isinstance(node, ast.Constant) and not at_once and "." in str(node.value):
            found |= {str(node.value)} & FILES.keys()
    return found - {module}


def _at_once(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that run when a module is loaded, without imports for types."""
    found = []
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found += [node, *_at_once(getattr(node, "body", []))] if _runs(node) else []
    return found


def _runs(node: ast.stmt) -> bool:
    return not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


@functools.cache
def all_imported() -> dict[str, set[str]]:
    """What each module imports; parsed once, and only by the process that runs these tests."""
    return {module: imported(module) for module in FILES}


@pytest.mark.parametrize("module", [name for name in FILES if package_of(name)])
def test_imports_point_one_way(module: str) -> None:
    own = package_of(module)
    assert own in LEVEL, f"put {own} into a layer"
    for other in all_imported()[module]:
        theirs = package_of(other)
        if theirs in (own, None):
            continue
        is_above = LEVEL[str(theirs)] < LEVEL[str(own)]
        assert is_above or LEVEL[str(own)] == 0, f"{module} must not import {other}"


def test_imports_have_no_cycle() -> None:
    graphlib.TopologicalSorter(all_imported()).prepare()


@pytest.mark.parametrize("module", FACTS)
def test_facts_import_no_words_and_no_figures(module: str) -> None:
    """The facts of a study do not depend on how they are shown."""
    tree = ast.parse(FILES[module].read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name.split(".")[0] for node in imports for alias in node.names}
    names |= {
        str(node.module).split(".")[0] for node in imports if isinstance(node, ast.ImportFrom)
    }
    assert not names & {"rich", "jinja2", "matplotlib"}
    assert not all_imported()[module] & WORDS


def test_words_for_codes_are_made_only_where_they_are_shown() -> None:
    """No module that decides sees the sentence for a code, and only the reader sees old sentences."""
    shown = {package_of(name) for name in FILES if "karat.journal.wording" in all_imported()[name]}
    assert shown <= {"report", "tracking", "cli"}
    read = {name for name in FILES if "karat.journal.old_events" in all_imported()[name]}
    assert read == {"karat.journal.lines"}


def test_import_chains_are_short() -> None:
    graph = {module: imported(module, at_once=True) for module in FILES}
    levels: dict[str, int] = {}
    for module in graphlib.TopologicalSorter(graph).static_order():
        levels[module] = 1 + max((levels[other] for other in graph[module]), default=0)
    deepest = max(levels, key=levels.__getitem__)
    assert levels[deepest] <= MOST_LEVELS, f"{deepest} is on level {levels[deepest]} of imports"


def test_folders_and_files_are_small() -> None:
    # Plug-ins are a list of equals, one file each, however long; what they share is counted.
    folders = Counter(path.parent for path in FILES.values() if not _is_plugin(path))
    full = {str(f.relative_to(ROOT)): n for f, n in folders.items() if n > MOST_FILES}
    assert not full, f"more than {MOST_FILES} files in a folder"
    long = {
        name: lines
        for name, path in FILES.items()
        if (lines := len(path.read_text().splitlines())) > MOST_LINES and ".kernels." not in name
    }
    assert not long, f"more than {MOST_LINES} lines"


def _is_plugin(path: Path) -> bool:
    """Whether a file is found by a catalogue, by its name."""
    package = path.parent / "__init__.py"
    has_catalog = package.is_file() and " = Catalog(" in package.read_text()
    return has_catalog and not path.name.startswith("_")


PACKAGES = sorted(
    name
    for name, path in FILES.items()
    if path.name == "__init__.py" and (name == "jobs" or package_of(name) == name.split(".", 1)[-1])
)


@pytest.mark.parametrize("package", PACKAGES)
def test_package_has_a_summary_and_exports_its_public_names(package: str) -> None:
    module = importlib.import_module(package)
    first, *_ = str(module.__doc__).splitlines()
    assert first.endswith("."), f"the docstring of {package} must begin with a sentence"
    inside = {name.rpartition(".")[2] for name in FILES if name.rpartition(".")[0] == package}
    assert len(set(module.__all__)) == len(module.__all__) > 0
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name not in inside, f"{package}.{name} is also a module, which would hide the name"


@pytest.mark.parametrize("package", PACKAGES)
def test_unknown_name_in_a_package_is_refused(package: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'no_such_name'"):
        getattr(importlib.import_module(package), "no_such_name")  # noqa: B009
    with pytest.raises(ImportError, match="no_such_name"):
        exec(f"from {package} import no_such_name")


def test_operators_models_and_training_load_without_the_engine() -> None:
    modules = [name for name in FILES if f"{name}.".startswith(tuple(f"{each}." for each in LIGHT))]
    code = (
        f"import sys, {', '.join(modules)}; "
        f"print(sorted(set({HEAVY!r}) & {{m.split('.')[0] for m in sys.modules}}))"
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
        "--measure",
        "--json",
        "--submit",
        "--cluster",
    }


def test_requirements_contain_no_addresses() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert "://" not in text
    assert "torch==" in text


def test_text_is_read_and_written_as_utf8_whatever_the_locale() -> None:
    # The rule is in ruff's preview, which as a whole changes others too.
    words = ["ruff", "check", "--preview", "--select", "PLW1514", "--output-format", "concise"]
    done = subprocess.run(
        [sys.executable, "-m", *words, "karat", "jobs", "benchmarks", "launch.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
