"""Modules that Ray loads in a trial's process; a probe loads them too, to measure the same memory."""

from karat.training.preload import MODULES

PRELOAD = ("karat.execution.trainable", *MODULES)
