"""Looks inside trained models: one analysis, one file in `karat.analyses.kinds`; numbers first, then pictures.

    found = karat.analyses.spectra(model, images)
    found.numbers()   # name to value
    found.plot()      # a matplotlib figure

`karat analyze STUDY` runs all of them on the trials of a study.
"""

from karat.system.lazy_import import exports

_FROM = {
    "attention_maps": "kinds.attention_maps",
    "closed_form_space": "attention.learned.closed_form",
    "functions": "kinds.functions",
    "loss_landscape": "kinds.loss_landscape",
    "optimizer_path": "kinds.optimizer_path",
    "similarity": "kinds.similarity",
    "spectra": "kinds.spectra",
    "weights": "kinds.weights",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
