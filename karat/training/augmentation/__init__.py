"""Augmentation of training images: batched torch functions, one file each, and their settings.

Which images are changed, and how, follows from (seed, epoch, index of the image) alone (`draws`), so that all arms
of a study see the same changes, whatever the number of workers and processes, the batch size and the device.

Pixels are float32 from 0 to 255, (images, channels, height, width), except where a file says otherwise.
"""

from karat.system.lazy_import import exports

_FROM = {
    "AugmentationConfig": "settings",
    "Augmentation": "pipeline",
    "Draws": "draws",
    "Mixing": "mixing",
}
__all__ = list(_FROM)
__getattr__ = exports(__name__, _FROM)
