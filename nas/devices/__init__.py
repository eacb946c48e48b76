"""Where latency is measured: one file per kind of device."""

from typing import TYPE_CHECKING

from nas.lazy import imported_on_demand

if TYPE_CHECKING:
    from nas.devices.device import Device, Session, Timings
    from nas.devices.mnn import Mnn
    from nas.devices.onnx_runtime import OnnxRuntime
    from nas.devices.openvino import OpenVino
else:
    __getattr__ = imported_on_demand(
        __name__,
        {
            "nas.devices.device": "Device Session Timings",
            "nas.devices.mnn": "Mnn",
            "nas.devices.onnx_runtime": "OnnxRuntime",
            "nas.devices.openvino": "OpenVino",
        },
    )

__all__ = ["Device", "Mnn", "OnnxRuntime", "OpenVino", "Session", "Timings"]
