"""Modules that exist, cut to fewer channels."""

from nas.supernet.cut.layer import Cut, cut_in_place
from nas.supernet.cut.parts import Axis, Part, total, unshared
from nas.supernet.cut.places import (
    FEATURES,
    IN,
    OUT,
    Place,
    axis_name,
    channel_dims,
    held_tensors,
    loses_groups,
    why_whole,
)

__all__ = [
    "FEATURES",
    "IN",
    "OUT",
    "Axis",
    "Cut",
    "Part",
    "Place",
    "axis_name",
    "channel_dims",
    "cut_in_place",
    "held_tensors",
    "loses_groups",
    "total",
    "unshared",
    "why_whole",
]
