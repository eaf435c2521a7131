"""What a training step of a model executes: its arithmetic, and its passes over memory."""
