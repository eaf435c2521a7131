"""From an image file to 8-bit RGB, without losing what the file shows.

Pillow's `convert("RGB")` cuts 16-bit and float pixels at 255, so that they become white, shows the colours that a
transparent pixel hides, and leaves out the orientation that a camera has written.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from karat.errors import DataError

ADVICE = "replace or remove it"  # for who begins a study
MOST_PIXELS = 2 * 89_478_485  # above that Pillow refuses, since a small file may take all memory
_ORIENTATION = 0x0112  # of EXIF
_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """An image as training gets it, and what its file had.

    Args:
        image: RGB, 8 bits a channel, turned as EXIF says.
        mode: of the file, by Pillow's name; `RGB;16` for 16 bits a channel.
        format: of the content, whatever the file's ending is: `JPEG`.
        size: width and height, in pixels.
        most: greatest value of a grey image with 16 bits, 0 to 65535; None for others.
        changes: what was done beside a plain conversion: `turned`, `16 bits`, `over white`, `first frame`.
    """

    image: Image.Image
    mode: str
    format: str
    size: tuple[int, int]
    most: int | None
    changes: tuple[str, ...]


def read_image(path: str | Path) -> Image.Image:
    """An image as 8-bit RGB, as `decode` reads it; for torchvision's `loader`."""
    return decode(path).image


def decode(path: str | Path) -> Decoded:
    """Read an image.

    Grey images with 16 bits are divided by 257, so that 65535 is white; transparent ones are put over white; of
    several frames the first is taken.

    Raises:
        DataError: the file is no image, is truncated or too large, or has pixels whose range is not known.
    """
    try:
        with Image.open(path) as file:
            return _decode(file, path)
    except _UNREADABLE as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a readable image ({error}); {ADVICE}") from error


def _decode(file: Image.Image, path: str | Path) -> Decoded:
    if file.width * file.height > MOST_PIXELS:
        raise DataError(
            f"{path}: has {file.width:,} x {file.height:,} pixels, more than {MOST_PIXELS:,}; "
            "scale it down or cut it"
        )
    changes, most, mode = [], None, file.mode
    if _has_16_bits(file):
        mode = f"{file.mode};16"
        changes.append("16 bits")
    if (
        getattr(file, "is_animated", False) and file.format != "MPO"
    ):  # a camera's, the first is the image
        changes.append("first frame")
    file.load()
    turned = file.getexif().get(_ORIENTATION, 1) not in (0, 1)
    image: Image.Image = file
    if turned:
        image = ImageOps.exif_transpose(file)
        changes.append("turned")
    if mode.startswith("I;16") or (mode == "I" and file.format == "PPM"):
        image, most = _of_16_bits(image)
        changes.append("16 bits")
    elif mode in ("I", "F"):
        raise DataError(
            f"{path}: its pixels are numbers whose range is not known (mode {mode}), so that none can be called "
            "white; save it with 8 or 16 bits a channel"
        )
    elif mode in _ALPHA or "transparency" in file.info:
        image, is_opaque = _over_white(image)
        if not is_opaque:
            changes.append("over white")
    return Decoded(
        image=image.convert("RGB"),
        mode=mode,
        format=file.format or "",
        size=image.size,
        most=most,
        changes=tuple(changes),
    )


def _has_16_bits(file: Image.Image) -> bool:
    """Whether each channel of a colour image has 16 bits in the file, of which Pillow keeps the upper 8."""
    tiles: Any = getattr(file, "tile", ())
    return file.mode in ("RGB", "RGBA", "LA") and any("16" in _raw_mode(tile[3]) for tile in tiles)


def _raw_mode(arguments: Any) -> str:
    """Of a tile's arguments, which are a tuple that begins with it, or it alone."""
    if isinstance(arguments, tuple) and len(arguments) > 0:
        arguments = arguments[0]
    return arguments if isinstance(arguments, str) else ""


def _of_16_bits(image: Image.Image) -> tuple[Image.Image, int]:
    pixels = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((pixels + 128) // 257).astype(np.uint8)), int(pixels.max())


def _over_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image over white, and whether no pixel of it is transparent: then it is not changed."""
    layers = image.convert("RGBA")
    if layers.getchannel("A").getextrema() == (255, 255):
        return image, True
    white = Image.new("RGBA", layers.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layers), False
