"""Importing this module loads what most tests need in a process of their own."""

import importlib

from karat.system.process.collector import imports_kept

STUDIES = ("tests.faults.inline", "tests.spawned_rank")
# What a study loads only once it trains, and each of its processes would load again.
TRAINING = (
    "karat.attention.kernels.recompute",
    "karat.attention.kernels.reference",
    "karat.attention.mechanisms.karat",
    "karat.datasets.digits",
    "karat.samplers.tpe",
    "karat.schedulers.asha",
    "karat.training.testing.final",
    "karat.training.trainer",
    "timm.optim",
    "timm.scheduler",
    "torch.utils.serialization.config",
    "torchvision.transforms.v2",
)

with imports_kept():  # nor does a fork of this process look at any of it again
    for name in (*STUDIES, *TRAINING):
        importlib.import_module(name)
