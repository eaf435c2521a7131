"""What MLflow shows of a study's results: its answer, and what analyses found."""
