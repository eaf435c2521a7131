"""Runs functions as Ray tasks on this machine, for work that is no training."""
