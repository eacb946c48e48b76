"""Data: three seeded, stratified splits and augmentation."""

from nas.data.digits import Digits
from nas.data.splits import split_images

__all__ = ["Digits", "split_images"]
