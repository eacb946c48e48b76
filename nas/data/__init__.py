"""Data: three seeded, stratified splits of images or texts, and augmentation."""

from nas.data.datasets import DatasetPair, TorchvisionData
from nas.data.digits import Digits
from nas.data.digits_cluttered import ClutteredDigits
from nas.data.digits_segmentation import DigitsSegmentation
from nas.data.image_folder import ImageFolder
from nas.data.masks import Masks
from nas.data.pairs import split_pairs
from nas.data.point_cloud_folder import PointCloudFolder
from nas.data.segmentation_folder import SegmentationFolder
from nas.data.splits import split_images
from nas.data.tensors import split_tensors
from nas.data.text import TextTable
from nas.data.unlabelled import FewLabels, add_unlabelled
from nas.data.views import RandomViews

__all__ = [
    "ClutteredDigits",
    "DatasetPair",
    "Digits",
    "DigitsSegmentation",
    "FewLabels",
    "ImageFolder",
    "Masks",
    "PointCloudFolder",
    "RandomViews",
    "SegmentationFolder",
    "TextTable",
    "TorchvisionData",
    "add_unlabelled",
    "split_images",
    "split_pairs",
    "split_tensors",
]
