"""What a data set holds, as its check has found it: for the plan, the journal and the report."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What was read, what was left out, and what a reader of the result must know.

    Args:
        fingerprint: sha256 that changes when the data changes.
        images: split (`train`, `val`, `test`) to class to number of images.
        sizes: width and height in pixels, smallest and largest by area; empty where images are not all looked at.
        modes: Pillow's name of what a pixel is, to number of images; `RGB;16` has 16 bits a channel.
        changed: what was done to images beside scaling, as sentences.
        left_out: what lies there and is not read, and why, as sentences.
        warnings: what makes a class or the set of little worth, as sentences.
    """

    fingerprint: str
    images: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    sizes: tuple[tuple[int, int], ...] = ()
    modes: Mapping[str, int] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """For the journal; without the fingerprint, which has a place of its own, and what is empty."""
        found = {key: value for key, value in asdict(self).items() if value}
        del found["fingerprint"]
        return found


def lines_of(contents: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs (what, text) that say what a data set holds.

    Args:
        contents: of `Contents.plain`, as a journal has it.
    """
    told = [(part, _counts(dict(classes))) for part, classes in contents.get("images", {}).items()]
    if sizes := contents.get("sizes"):
        told.append(("sizes", " to ".join(f"{w:,} x {h:,}" for w, h in sizes) + " px"))
    if modes := contents.get("modes"):
        shown = (f"{count:,} {mode}" for mode, count in Counter(modes).most_common())
        told.append(("modes", ", ".join(shown)))
    for name, what in (("changed", "changed"), ("left_out", "left out"), ("warnings", "warning")):
        told += [(what, text) for text in contents.get(name, ())]
    return told


def _counts(classes: Mapping[str, int]) -> str:
    """`1,100 images (cat: 500, dog: 600)`; of many classes the fewest and the most."""
    total = f"{sum(classes.values()):,} images"
    if len(set(classes.values())) == 1:
        return f"{total}: {next(iter(classes.values())):,} in each of {len(classes)} classes"
    if len(classes) <= 10:
        return f"{total} ({', '.join(f'{name}: {count:,}' for name, count in classes.items())})"
    least, most = min(classes, key=classes.__getitem__), max(classes, key=classes.__getitem__)
    return (
        f"{total} in {len(classes)} classes: {classes[least]:,} {least} to {classes[most]:,} {most}"
    )
