"""The attention operator: from scores to attention weights or output; no model, no training."""

from karat.system.lazy_import import exports

_FROM = {
    "AttentionConfig": "config",
    "BASE_ACTIVATIONS": "base_activations",
    "HeadParts": "heads",
    "MECHANISMS": "mechanisms",
    "Mechanism": "mechanisms",
    "Operator": "operator",
    "OperatorConfig": "operator_config",
    "PROJECTIONS": "projections",
    "SOFTMAX": "names",
    "Units": "units",
    "make_operator": "heads",
    "scaled_scores": "operator",
    "settings_of": "names",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
