"""What happens when a converted model loads weights."""
