"""Modules that Ray loads in a trial's process; a probe loads them too, to measure the same memory."""

PRELOAD = ("karat.execution.trainable", "karat.training.trainer")
