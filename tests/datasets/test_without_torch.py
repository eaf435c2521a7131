"""What a plan asks a data set needs neither torch nor torchvision, which take seconds to import."""

import subprocess
import sys
from pathlib import Path

import pytest

ASKED = """
import sys
from karat.datasets import make_dataset
from karat.errors import DataError

name, root = sys.argv[1:]
download = {"download": True} if name.startswith("cifar") or name == "svhn" else {}
try:
    data = make_dataset({"name": name, "root": root, **download})
    data.preprocessing(), data.info(), data.class_names()
    assert data.awaits_download()
except DataError as error:
    assert not download, error
assert not {"torch", "torchvision"} & set(sys.modules)
"""


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "imagenet1k", "image_folder"])
def test_a_data_set_that_is_not_here_is_planned_without_torch(tmp_path: Path, name: str) -> None:
    root = str(tmp_path / "none")
    done = subprocess.run(
        [sys.executable, "-c", ASKED, name, root], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
