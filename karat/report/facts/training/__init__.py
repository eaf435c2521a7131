"""What was recorded of trainings beside their metrics."""
