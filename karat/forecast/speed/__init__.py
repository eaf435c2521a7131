"""Seconds of an epoch from a table of measured costs and the speed of this machine, without torch."""
