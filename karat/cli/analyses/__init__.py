"""The command that looks inside trained models."""
