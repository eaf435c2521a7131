"""Short trainings that measure time and memory of a step, each in a process of its own."""
