"""Where latency is measured: one file per kind of device."""

from typing import TYPE_CHECKING

from nas.lazy import imported_on_demand

if TYPE_CHECKING:
    from nas.devices.device import Device, Session, Timings
    from nas.devices.onnx_runtime import OnnxRuntime
else:
    __getattr__ = imported_on_demand(
        __name__,
        {
            "nas.devices.device": "Device Session Timings",
            "nas.devices.onnx_runtime": "OnnxRuntime",
        },
    )

__all__ = ["Device", "OnnxRuntime", "Session", "Timings"]
