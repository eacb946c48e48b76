"""Weight-sharing networks: elastic layers, the supernet, its training and its recalibration."""

from nas.supernet.recalibrate import recalibrate
from nas.supernet.supernet import Supernet

__all__ = ["Supernet", "recalibrate"]
