"""Figures of comparisons that a study makes beside those of its arms with their references."""
