"""From an existing module to one with elastic layers."""

from nas.supernet.convert.convert import elastic_module
from nas.supernet.convert.report import Converted, Report, Row

__all__ = ["Converted", "Report", "Row", "elastic_module"]
