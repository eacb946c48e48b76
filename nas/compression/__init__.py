"""What makes networks smaller and faster: passes, and the pipeline that they stand in."""

from typing import TYPE_CHECKING

from nas.lazy import imported_on_demand

if TYPE_CHECKING:
    from nas.compression.fine_tune import FineTune
    from nas.compression.int8 import Int8
    from nas.compression.pipeline import CompressionPass, Lab, Model, Pipeline
else:
    __getattr__ = imported_on_demand(
        __name__,
        {
            "nas.compression.fine_tune": "FineTune",
            "nas.compression.int8": "Int8",
            "nas.compression.pipeline": "CompressionPass Lab Model Pipeline",
        },
    )

__all__ = ["CompressionPass", "FineTune", "Int8", "Lab", "Model", "Pipeline"]
