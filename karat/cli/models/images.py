"""Images that a user names, read as the data sets of image files read theirs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from karat.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"}


def image_files(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Each file, and what is wrong with it if that is known without reading it; else an empty text.

    A folder stands for the image files in it and below it, by their endings, sorted.
    """
    for path in paths:
        if not path.is_dir():
            yield path, ""
            continue
        found = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES)
        yield from ((each, "") for each in found)
        if not found:
            yield path, f"a folder without images ({', '.join(sorted(SUFFIXES))})"


def read_pixels(path: Path, channels: int) -> "Tensor":
    """One image: float32 (1, channels, height, width), pixels from 0 to 1.

    Args:
        path: of the file.
        channels: 1 for grey values, 3 for colours; an image is converted.

    Raises:
        DataError: it is no image that can be read; the message does not name the file.
    """
    from PIL import Image, UnidentifiedImageError
    from torchvision.transforms.functional import pil_to_tensor

    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if channels not in modes:
        raise DataError(f"the model takes images of {channels} channels, which no file here has")
    try:
        with Image.open(path) as image:
            if image.mode == "F" or image.mode.startswith("I"):
                # Pillow would cut them off at 255.
                raise DataError("has more than 8 bits a pixel; save it with 8")
            pixels = pil_to_tensor(image.convert(modes[channels]))
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError("not an image that can be read") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"not a readable image ({said})") from error
    tensor: Tensor = pixels.float()[None] / 255
    return tensor
