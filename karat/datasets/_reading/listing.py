"""The image files of one part of a data set, class by class, and what lies there and is not read."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Of one image each; all can be opened by Pillow, `.avif` if it was built so.
ENDINGS = frozenset(
    {
        *(".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg"),
        *(".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif"),
        *(".tiff", ".webp"),
    }
)
_SILENT = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})  # of file managers, not of the user


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a part holds.

    Args:
        classes: folder names, ascending; the label of a class is its place.
        files: of each class, in the order in which they are read.
        left_out: what is not read and why, as sentences.
    """

    classes: tuple[str, ...]
    files: tuple[tuple[Path, ...], ...]
    left_out: tuple[str, ...]


@dataclass
class _Seen:
    files: list[Path] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)
    hidden: list[str] = field(default_factory=list)


def is_image(name: str) -> bool:
    """Whether a file with this name is read."""
    return not is_hidden(name) and os.path.splitext(name)[1].lower() in ENDINGS


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one of a program, as `.ipynb_checkpoints` is, and not of the user."""
    return name.startswith(".") or name in ("__MACOSX", "__pycache__")


def class_names(part: Path) -> list[str]:
    """The names of the class folders of a part, ascending; hidden ones are none."""
    entries = (entry for entry in part.iterdir() if entry.is_dir())
    return sorted(entry.name for entry in entries if not is_hidden(entry.name))


def files_of(class_folder: Path) -> list[Path]:
    """The image files of one class, in the order in which they are read."""
    return _walk(class_folder).files


def listing_of(part: Path) -> Listing:
    """List a part: `<class>/**` below it, links to folders included."""
    told: list[str] = []
    names = class_names(part)
    hidden = sorted(e.name for e in part.iterdir() if e.is_dir() and is_hidden(e.name))
    told += [f"{part.name}: {name} is hidden, so it is no class" for name in hidden]
    loose = sum(entry.is_file() and is_image(entry.name) for entry in part.iterdir())
    if loose:
        told.append(f"{part.name}: {_files(loose)} not read (in no class folder)")
    files = []
    for name in names:
        seen = _walk(part / name)
        files.append(tuple(seen.files))
        told += _told(f"{part.name}/{name}", seen)
    return Listing(classes=tuple(names), files=tuple(files), left_out=tuple(told))


def _walk(folder: Path) -> _Seen:
    """In the order of torchvision's `make_dataset`."""
    seen = _Seen()
    for parent, folders, names in sorted(_folders(folder)):
        seen.hidden += [f"{name}/" for name in folders if is_hidden(name)]
        for name in sorted(names):
            if is_image(name):
                seen.files.append(Path(parent, name))
            elif is_hidden(name):
                seen.hidden += [] if name in _SILENT else [name]
            elif name not in _SILENT:
                seen.endings[os.path.splitext(name)[1].lower() or "no ending"] += 1
    return seen


def _folders(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        yield parent, list(folders), names
        folders[:] = [name for name in folders if not is_hidden(name)]


def _told(place: str, seen: _Seen) -> Iterator[str]:
    if seen.endings:
        endings = ", ".join(sorted(seen.endings))
        yield f"{place}: {_files(seen.endings.total())} not read ({endings})"
    if seen.hidden:
        shown = ", ".join(seen.hidden[:3]) + (", ..." if len(seen.hidden) > 3 else "")
        yield f"{place}: {len(seen.hidden)} hidden not read ({shown})"


def _files(count: int) -> str:
    return f"{count:,} file{'s are' if count != 1 else ' is'}"
