"""Modules that a worker process of Ray loads; a probe loads them too, to measure the same memory."""

from karat.training.preload import MODULES

PRELOAD = ("karat.execution.trainable", *MODULES)
