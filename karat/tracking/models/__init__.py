"""The model that a study ends with, and how MLflow's model registry gets it."""
