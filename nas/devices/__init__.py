"""Where latency is measured: one file per kind of device."""

from typing import TYPE_CHECKING

from nas.lazy import import_on_demand

if TYPE_CHECKING:
    from nas.devices.device import Device, Session, Timings
    from nas.devices.energy import EnergyCounter, Rapl
    from nas.devices.latency_model import LatencyModel, LatencyPrediction
    from nas.devices.local import LocalRuntime, LocalSession, turn_of_this_process
    from nas.devices.machine import processor_name
    from nas.devices.mnn import Mnn
    from nas.devices.onnx_runtime import OnnxRuntime
    from nas.devices.openvino import OpenVino
    from nas.devices.pool import Pool
    from nas.devices.remote import Remote
else:
    __getattr__ = import_on_demand(
        __name__,
        {
            "nas.devices.device": "Device Session Timings",
            "nas.devices.energy": "EnergyCounter Rapl",
            "nas.devices.latency_model": "LatencyModel LatencyPrediction",
            "nas.devices.local": "LocalRuntime LocalSession turn_of_this_process",
            "nas.devices.machine": "processor_name",
            "nas.devices.mnn": "Mnn",
            "nas.devices.onnx_runtime": "OnnxRuntime",
            "nas.devices.openvino": "OpenVino",
            "nas.devices.pool": "Pool",
            "nas.devices.remote": "Remote",
        },
    )

__all__ = [
    "Device",
    "EnergyCounter",
    "LatencyModel",
    "LatencyPrediction",
    "LocalRuntime",
    "LocalSession",
    "Mnn",
    "OnnxRuntime",
    "OpenVino",
    "Pool",
    "Rapl",
    "Remote",
    "Session",
    "Timings",
    "processor_name",
    "turn_of_this_process",
]
