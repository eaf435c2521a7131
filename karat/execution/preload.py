"""What Ray brings into the process of a trial: a probe loads it too, so that it measures the same."""

PRELOAD = ("karat.execution.tune_adapters",)
