"""Runs analyses on the trials of a study: which, on what, kept where, and what is written of them."""
