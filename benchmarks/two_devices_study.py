"""A run of a minute over this machine and the device of an agent, for ``remote_device``.

``NAS_AGENT_URL`` names the agent, ``NAS_AGENT_TOKEN`` its token, and ``NAS_AGENT_SHORT_S`` for how long a candidate is
measured there.
"""

import dataclasses
import os

from nas import Accuracy, LatencyMs, Macs, Recipe, Study, Trust, Winners
from nas.devices import Remote
from studies.digits import study as digits

URL, SHORT_S = "NAS_AGENT_URL", "NAS_AGENT_SHORT_S"


def study() -> Study:
    """Return the digits study with little of everything."""
    device = Remote(os.environ.get(URL, "http://127.0.0.1:8710"))
    seconds = float(os.environ.get(SHORT_S, "0.04"))
    there = LatencyMs(device=device, name="latency_ms_there", short_seconds=seconds)
    return dataclasses.replace(
        digits(),
        name="two_devices",
        objectives=(Accuracy(), Macs(), LatencyMs(), there),
        recipe=Recipe(epochs=2),
        evaluations=16,
        winners=Winners(count=2, recipe=Recipe(epochs=1, learning_rate=1e-3), passes=()),
        trust=Trust(count=0),
    )
