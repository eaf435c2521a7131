"""Images that a user names, read as the data sets of image files read theirs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from karat.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


def image_files(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Each file, and what is wrong with it if that is known without reading it; else an empty text.

    A folder stands for the image files in it and below it, by their endings, sorted; hidden ones are left out.
    """
    from karat.datasets._reading.listing import ENDINGS, is_image

    for path in paths:
        if not path.is_dir():
            yield path, ""
            continue
        found = sorted(each for each in path.rglob("*") if is_image(each.name) and each.is_file())
        yield from ((each, "") for each in found)
        if not found:
            yield path, f"a folder without images ({', '.join(sorted(ENDINGS))})"


def read_pixels(path: Path, channels: int) -> "Tensor":
    """One image: float32 (1, channels, height, width), pixels from 0 to 1.

    Args:
        path: of the file.
        channels: 1 for grey values, 3 for colours; an image is converted.

    Raises:
        DataError: it is no image that can be read; the message does not name the file.
    """
    from torchvision.transforms.functional import pil_to_tensor

    from karat.datasets._reading.decode import read_image

    if channels not in (1, 3):
        raise DataError(f"the model takes images of {channels} channels, which no file here has")
    try:
        image = read_image(path)
    except DataError as error:
        raise DataError(str(error).removeprefix(f"{path}: ")) from error
    pixels = pil_to_tensor(image.convert("L") if channels == 1 else image)
    tensor: Tensor = pixels.float()[None] / 255
    return tensor
