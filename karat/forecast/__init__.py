"""Forecasts: memory and time of a trial, and the plan of a study simulated on a virtual clock."""

from karat.system.lazy_import import exports

_FROM = {
    "Predictions": "predictions",
    "Run": "schedule",
    "Simulated": "simulator",
    "run_plan": "schedule",
    "simulate": "simulator",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
