"""Collects what a check sees of each image file, and says what makes a class or a set worthless."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from karat.datasets._reading.decode import Decoded, decode
from karat.errors import DataError

_LEAST_OF_16_BITS = 16384  # a set whose brightest pixel is below that uses less than 14 of 16 bits
_MOST_SCALED_UP = 4
_MOST_SCALED_PIXELS = 100_000_000
_FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), ("JPEG", "MPO")),
    **dict.fromkeys((".tif", ".tiff"), ("TIFF",)),
    **{f".{name}": (name.upper(),) for name in ("png", "bmp", "gif", "webp", "avif")},
}  # fmt: skip
_TOLD = {
    "turned": "turned by the EXIF orientation",
    "16 bits": "with 16 bits a channel, of which the upper 8 are used",
    "over white": "with transparent pixels, put over white",
    "first frame": "with several frames, of which the first is used",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one file: its share in the fingerprint, its pixels' hash, and how it was read.

    Only `mark` is known of a file that was not decoded.
    """

    mark: str
    pixels: bytes = b""
    decoded: tuple[str, str, tuple[int, int], int | None, tuple[str, ...]] | None = None


def look_at(path: Path) -> Look:
    """Decode a file.

    Raises:
        DataError: it cannot be read without loss.
    """
    found: Decoded = decode(path)
    pixels = hashlib.blake2b(repr(found.size).encode(), digest_size=16)
    pixels.update(found.image.tobytes())
    mark = hashlib.sha256(path.read_bytes()).hexdigest()
    # What earlier versions read otherwise: data of theirs is not the same data any more.
    changes = [each for each in found.changes if each != "first frame"]
    if changes and (found.mode, changes) != ("RGB;16", ["16 bits"]):
        mark = "\0".join((mark, *changes))
    return Look(
        mark, pixels.digest(), (found.mode, found.format, found.size, found.most, found.changes)
    )


@dataclass
class Survey:
    """All that was seen; images are added part by part.

    Args:
        root: of the data set, for messages.
        edge: to which the shorter edge of an image is scaled, in pixels.
    """

    root: Path
    edge: int
    modes: Counter[str] = field(default_factory=Counter)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    most: int = -1
    _first: dict[str, dict[bytes, str]] = field(default_factory=dict)  # part to pixels to file
    _of_class: dict[str, Counter[bytes]] = field(default_factory=lambda: defaultdict(Counter))
    _changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    _misnamed: Counter[str] = field(default_factory=Counter)
    _twice: list[tuple[str, str]] = field(default_factory=list)  # one image, two classes
    _known: list[tuple[str, str]] = field(default_factory=list)  # in test, in train
    _small: list[str] = field(default_factory=list)
    _tests: int = 0

    def add(self, part: str, file: Path, look: Look, *, is_test: bool) -> None:
        """One file.

        Raises:
            DataError: scaled to the edge it would have more pixels than can be held.
        """
        if look.decoded is None:
            return
        mode, form, size, most, changes = look.decoded
        place, shown = file.parent.name, str(file.relative_to(self.root))
        longer, shorter = max(size), min(size)
        if longer * self.edge**2 > shorter * _MOST_SCALED_PIXELS:
            raise DataError(
                f"{file}: has {size[0]:,} x {size[1]:,} pixels; with a shorter edge of {self.edge} pixels it would have "
                f"{longer * self.edge // shorter:,} x {self.edge}. Cut it, or remove it"
            )
        if shorter * _MOST_SCALED_UP < self.edge:
            self._small.append(shown)
        self.modes[mode] += 1
        self.sizes.add(size)
        if most is not None:
            self.most = max(self.most, most)
        for change in changes:
            self._changes[f"{part}/{place}", change] += 1
        ending = file.suffix.lower()
        if form not in _FORMATS.get(ending, (form,)):
            self._misnamed[f"{ending} is {form}"] += 1
        self._of_class[f"{part}/{place}"][look.pixels] += 1
        self._compare(part, shown, look.pixels, is_test=is_test)

    def _compare(self, part: str, shown: str, pixels: bytes, *, is_test: bool) -> None:
        first = self._first.setdefault(part, {})
        before = first.setdefault(pixels, shown)
        if Path(before).parts[1:2] != Path(shown).parts[1:2]:
            self._twice.append((before, shown))
        if is_test:
            self._tests += 1
            for other, known in self._first.items():
                if other != part and pixels in known:
                    self._known.append((shown, known[pixels]))

    def extremes(self) -> tuple[tuple[int, int], ...]:
        """The smallest and the largest size; one if all are the same."""
        by_area = sorted(self.sizes, key=lambda size: (size[0] * size[1], size))
        return tuple(dict.fromkeys((by_area[0], by_area[-1]))) if by_area else ()

    def refuse(self) -> None:
        """Refuse what cannot be learned from.

        Raises:
            DataError: says what, and what to do.
        """
        if 0 <= self.most < _LEAST_OF_16_BITS:
            raise DataError(
                f"{self.root}: pixels have 16 bits, but none is above {self.most:,} of 65,535, so that images "
                "would be nearly black; spread them over 0 to 65,535, or save them with 8 bits"
            )
        if sum(map(len, self._of_class.values())) > 1:
            kinds = set().union(*self._of_class.values())
            if len(kinds) == 1:
                raise DataError(f"{self.root}: all images are the same; nothing can be learned")

    def changed(self) -> tuple[str, ...]:
        """What was done to images beside scaling, by class."""
        return tuple(
            f"{place}: {count:,} image{'s' * (count != 1)} {_TOLD[change]}"
            for (place, change), count in sorted(self._changes.items())
        )

    def warnings(self) -> Iterator[str]:
        """What makes a class or the set of little worth."""
        for place, kinds in self._of_class.items():
            if len(kinds) == 1 and kinds.total() > 1:
                yield f"{place}: all {kinds.total():,} images are the same"
        if self._known:
            mine, theirs = self._known[0]
            yield (
                f"{len(self._known):,} of {self._tests:,} test images are also among the training images ({mine} is "
                f"{theirs}), so they do not show what a model does with new ones"
            )
        if self._twice:
            yield _listed(
                f"{len(self._twice):,} time{'s' * (len(self._twice) != 1)} one image is in two classes",
                [f"{one} is {other}" for one, other in self._twice],
            )
        if self._small:
            yield _listed(
                f"{len(self._small):,} image{'s are' if len(self._small) != 1 else ' is'} scaled up more than "
                f"{_MOST_SCALED_UP} times",
                self._small,
            )
        for kind, count in sorted(self._misnamed.items()):
            yield f"{count:,} file{'s' * (count != 1)} named otherwise than what is in them ({kind})"


def _listed(text: str, names: Sequence[str]) -> str:
    return f"{text} ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"
