"""Modules that a worker process of Ray loads; a probe loads them too, to measure the same memory."""

PRELOAD = ("karat.training.preload.on_import", "karat.execution.trainable")
