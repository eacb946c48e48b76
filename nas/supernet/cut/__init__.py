"""Modules that exist, cut to fewer channels."""

from nas.supernet.cut.kernels import has_room, kernel_axes, kernel_sides, why_uncropped
from nas.supernet.cut.layer import Cut, cut_in_place
from nas.supernet.cut.places import (
    FEATURES,
    IN,
    OUT,
    Place,
    axis_name,
    channel_dims,
    list_tensors,
    loses_groups,
    why_whole,
)
from nas.supernet.cut.sizes import keeps_known_sizes
from nas.supernet.cut.spans import Axis, Several, Span, copy_containers, total

__all__ = [
    "FEATURES",
    "IN",
    "OUT",
    "Axis",
    "Cut",
    "Place",
    "Several",
    "Span",
    "axis_name",
    "channel_dims",
    "copy_containers",
    "cut_in_place",
    "has_room",
    "keeps_known_sizes",
    "kernel_axes",
    "kernel_sides",
    "list_tensors",
    "loses_groups",
    "total",
    "why_uncropped",
    "why_whole",
]
