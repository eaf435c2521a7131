"""Commands on the model that a study ends with: `export`, `evaluate` and `predict`."""
