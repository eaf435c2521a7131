"""What a device must have for the precision and the compilation that a space asks for."""

import importlib.util
import os
import shutil

import torch

from karat.errors import SettingError
from karat.training.steps.config import BF16, StepConfig

_BF16_SINCE = "Ampere (compute capability 8.0: A100, RTX 30) or later"


def check_device(training: StepConfig, device: torch.device) -> None:
    """Refuse settings that the device, or this machine's compilers, cannot do.

    On a CPU every processor has bfloat16; without AVX-512 or AMX instructions for it, it may be slower than float32.

    Raises:
        SettingError: names the setting, what is missing, and what to do.
    """
    is_gpu = device.type == "cuda"
    if training.precision == BF16 and is_gpu and not _has_bf16(device):
        name = torch.cuda.get_device_name(device)
        rule = f"{name} has no bfloat16, which needs {_BF16_SINCE}; use float32, or such a GPU"
        raise SettingError("training.precision", rule, BF16)
    if training.compile and (lacking := _lacks_for_compiling(is_gpu)):
        rule = f"torch.compile needs {lacking}, which this machine does not have: install it, or use false"
        raise SettingError("training.compile", rule, True)


def _has_bf16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _lacks_for_compiling(is_gpu: bool) -> str:
    """What torch's compiler needs and does not find; empty if it finds all."""
    if is_gpu:
        return "" if importlib.util.find_spec("triton") else "the package triton"
    compiler = os.environ.get("CXX", "g++")  # as torch looks for it
    return "" if shutil.which(compiler) else f"a C++ compiler ({compiler})"
