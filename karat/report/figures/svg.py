"""SVG as text: every function returns escaped markup, and takes text as it is.

Only presentation attributes are used: a `style` would need `unsafe-inline` in a page's content
security policy. Coordinates are in CSS pixels, rounded to a tenth.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NewType

Svg = NewType("Svg", str)
Point = tuple[float, float]
FONT, SIZE, SMALL = "system-ui, sans-serif", 12, 11
INK, SOFT, GRID = "#1b1f23", "#57606a", "#dfe3e8"
# XML has no place for these, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Widths of characters in DejaVu Sans, one of the widest fonts in use, in shares of the font's size.
_WIDTHS = {
    mark: width
    for marks, width in (
        ("ijl'|", 0.28), (" .,:;I!", 0.33), ("ftr()[]/-", 0.41), ("scz_J?", 0.55), ("w&", 0.82),
        ("+=±<>~←→↑↓", 0.84), ("mM%", 0.97), ("W@…", 1.0),
    )
    for mark in marks
}  # fmt: skip


def document(name: str, width: float, height: float, *children: Svg) -> str:
    """A whole drawing on white, called `name`; it scales with the page that it stands in."""
    return element(
        "svg",
        title(name),
        element("rect", width=width, height=height, fill="#fff"),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        role="img",
        font_family=FONT,
        font_size=SIZE,
        fill=INK,
    )


def element(tag: str, *children: Svg, **attributes: str | float | None) -> Svg:
    """An element; `_` in names of attributes stands for `-`, and those that are None are left out."""
    told = "".join(
        f' {name.replace("_", "-")}="{_value(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    inside = "".join(children)
    return Svg(f"<{tag}{told}>{inside}</{tag}>" if inside else f"<{tag}{told}/>")


def group(*children: Svg, **attributes: str | float | None) -> Svg:
    """Elements that share attributes; nothing if there are none."""
    return element("g", *children, **attributes) if any(children) else Svg("")


def title(content: str) -> Svg:
    """What is read aloud, and shown where the pointer is."""
    return Svg(f"<title>{escaped(content)}</title>")


def text(x: float, y: float, content: str, **attributes: str | float | None) -> Svg:
    """One line of text; `y` is its base line."""
    return element("text", Svg(escaped(content)), x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: str | float | None) -> Svg:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def box(
    x: float, y: float, width: float, height: float, *children: Svg, **more: str | float | None
) -> Svg:
    """A rectangle."""
    return element("rect", *children, x=x, y=y, width=width, height=height, **more)


def path(points: Iterable[Sequence[Point]], *children: Svg, **more: str | float | None) -> Svg:
    """Lines through points, several of which may be apart from each other."""
    drawn = "".join(
        "M" + "L".join(f"{number(x)} {number(y)}" for x, y in each) for each in points if each
    )
    return element("path", *children, d=drawn, **{"fill": "none", **more})


def number(value: float) -> str:
    """A coordinate, as short as it can be."""
    short = f"{value:.1f}".removesuffix(".0")
    return "0" if short == "-0" else short


def escaped(content: str) -> str:
    """Text that stands in an element or an attribute and is shown as it is."""
    content = _FORBIDDEN.sub("\ufffd", content)
    for mark, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        content = content.replace(mark, code)
    return content


def width_of(content: str, size: float = SIZE) -> float:
    """About how wide a text is, rather too much than too little: fonts differ from reader to reader."""
    return size * sum(map(_share, content))


def fitted(content: str, width: float, size: float = SIZE) -> str:
    """The text, or as much of its beginning and end as fits into a width."""
    if width_of(content, size) <= width:
        return content
    for kept in range(len(content) - 1, 1, -1):
        head = (2 * kept + 2) // 3
        short = f"{content[:head].rstrip()}…{content[len(content) - (kept - head) :].lstrip()}"
        if width_of(short, size) <= width:
            return short
    return "…"


def column_for(names: Iterable[str], most: float) -> float:
    """How wide a column of names has to be, and at most is."""
    return min(most, max(map(width_of, names), default=0.0) + 14)


def row_name(x: float, y: float, content: str, width: float) -> Svg:
    """A name centred on `y`, on two lines where it does not fit into one."""
    if width_of(content) <= width:
        return text(x, y + 4, content)
    spaces = [place for place, mark in enumerate(content) if mark == " "]
    fits = [place for place in spaces if width_of(content[:place], SMALL) <= width]
    at = fits[-1] if fits else len(fitted(content, width, SMALL).partition("…")[0])
    parts = content[:at], fitted(content[at:].lstrip(), width, SMALL)
    lines = (text(x, y + shift, part) for part, shift in zip(parts, (-2, 10), strict=True))
    return group(*lines, font_size=SMALL)


def _share(mark: str) -> float:
    if mark > "\u2e7f":  # Chinese, Japanese, Korean
        return 1.05
    return _WIDTHS.get(mark, 0.73 if mark.isupper() else 0.63)


def _value(value: str | float) -> str:
    return escaped(value) if isinstance(value, str) else number(value)
