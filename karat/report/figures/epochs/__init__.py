"""Figures of values by epoch; one file each, as the others."""
