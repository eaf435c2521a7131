"""A folder of plug-ins is a mapping; errors name the wrong file."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from karat.catalog import Catalog
from karat.errors import PluginError, SettingError

BASE = """\
from karat.catalog import Catalog


class Shape:
    pass


SHAPES = Catalog(Shape, "draw.shape")
"""
PLUGIN = "from shapes_of_test import Shape\n\n\nclass {}(Shape):\n    pass\n"


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Catalog]]:
    """Creates a family of plug-ins from a mapping of file name to text."""
    folder = tmp_path / "shapes_of_test"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def make(**files: str) -> Catalog:
        (folder / "__init__.py").write_text(BASE)
        for name, text in files.items():
            path = folder / f"{name}.py"
            path.write_text(text)
        module: ModuleType = importlib.import_module("shapes_of_test")
        catalog: Catalog = module.SHAPES
        return catalog

    yield make
    for name in [name for name in sys.modules if name.startswith("shapes_of_test")]:
        del sys.modules[name]


def test_plugin_is_found_by_its_file_name(family: Callable[..., Catalog]) -> None:
    shapes = family(circle=PLUGIN.format("Circle"), _shared="", square=PLUGIN.format("Square"))
    assert list(shapes) == ["circle", "square"]
    assert shapes["circle"].__name__ == "Circle"


def test_unknown_plugin_lists_the_known_ones_nearest_first(
    family: Callable[..., Catalog],
) -> None:
    shapes = family(circle=PLUGIN.format("Circle"), square=PLUGIN.format("Square"))
    with pytest.raises(SettingError, match=r"draw.shape.*mean 'circle'\? Known: circle, square"):
        shapes["cirle"]


def test_error_of_a_plugin_that_fails_to_import_is_not_hidden(
    family: Callable[..., Catalog],
) -> None:
    shapes = family(circle="import no_such_package_of_test", square=PLUGIN.format("Square"))
    with pytest.raises(ModuleNotFoundError, match="no_such_package_of_test"):
        shapes["circle"]
    assert shapes["square"].__name__ == "Square"


@pytest.mark.parametrize(
    ("text", "defines"),
    [
        ("", "none"),
        (PLUGIN.format("Circle") + "\n\nclass Disc(Shape):\n    pass\n", "Circle, Disc"),
    ],
)
def test_file_without_exactly_one_plugin_is_refused(
    family: Callable[..., Catalog], text: str, defines: str
) -> None:
    with pytest.raises(PluginError, match=rf"circle.py: must define one .*Shape.*{defines}"):
        family(circle=text)["circle"]


def test_two_plugins_of_one_name_are_refused(
    family: Callable[..., Catalog], tmp_path: Path
) -> None:
    shapes = family(circle=PLUGIN.format("Circle"))
    package = tmp_path / "shapes_of_test" / "circle"
    package.mkdir()
    (package / "__init__.py").write_text(PLUGIN.format("Other"))
    with pytest.raises(PluginError, match="have the same name, circle: rename one"):
        shapes["circle"]
