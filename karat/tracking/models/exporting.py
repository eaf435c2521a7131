"""Exports a model as a program that needs no code of karat, in a module that can be used as any other."""

import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

MODULE = Path(__file__).with_name("karat_model.py")


def exported(model: nn.Module, example_BCHW: Tensor, *, is_any_size: bool) -> nn.Module:
    """The model as an exported program, in the mode of evaluation.

    Args:
        model: takes images.
        example_BCHW: images, with at least 2 in each dimension that may differ.
        is_any_size: whether height and width may differ, and not only the number of images.

    Raises:
        RuntimeError: the model cannot be exported.
    """
    free = (0, 2, 3) if is_any_size else (0,)
    program = torch.export.export(
        model.eval().requires_grad_(False),
        (example_BCHW,),
        dynamic_shapes=[dict.fromkeys(free, torch.export.Dim.AUTO)],
    )
    stored = io.BytesIO()
    torch.export.save(program, stored)
    found: nn.Module = _module().RegisteredModel(stored.getvalue(), program)
    return found


def _module() -> ModuleType:
    """The file under the name by which it is imported where there is no karat, since a pickle holds that name."""
    name = MODULE.stem
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, MODULE)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
