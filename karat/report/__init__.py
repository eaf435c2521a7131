"""What a study's journal says: numbers, then verdicts, tables and figures."""

from karat.system.lazy_import import exports

_FROM = {
    "Summary": "facts.summary",
    "render_terminal": "writer",
    "summarise": "facts.summary",
    "write_report": "writer",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
