"""What runs of arms say, as pure functions of numbers: samples, and comparisons paired by seed."""

from karat.system.lazy_import import exports

_FROM = {
    "Comparison": "comparison",
    "Metric": "metric",
    "Rule": "comparison",
    "Sample": "samples",
    "compare": "comparison",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
