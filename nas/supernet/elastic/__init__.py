"""Layers whose sizes may be choices. Import as ``from nas.supernet import elastic``.

Each layer owns the weights of its largest form and uses the leading slice, a view, of what is active
(Yu 2019; Cai 2020). Its size attributes hold the expressions a user wrote until the module is wrapped
in a :class:`nas.Supernet`; from then on they hold the integers of the active architecture.
"""

from nas.supernet.elastic.batch_norm import BatchNorm, BatchNorm1d, BatchNorm2d
from nas.supernet.elastic.convolution import Conv2d
from nas.supernet.elastic.layer import ElasticLayer
from nas.supernet.elastic.linear import Linear
from nas.supernet.elastic.repeat import Repeat, at_least

__all__ = [
    "BatchNorm",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "ElasticLayer",
    "Linear",
    "Repeat",
    "at_least",
]
