"""The facts of a study with several goals."""
