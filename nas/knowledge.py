"""What is known of architectures from elsewhere than the study that searches them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from nas.space import FloatArray, IntArray


@final
@dataclass(frozen=True)
class Knowledge:
    """Numbers that may tell how good architectures of a space are, for a search to believe as far as they prove right.

    An earlier study of the same space is such a source, and so is a cheap score of untrained networks.

    Args:
        name: For people to read, such as the earlier run's directory.
        indices: ``(n, num_choices)`` canonical positions of architectures, each once.
        values: ``(n,)`` finite, of any unit and either direction: only their order and spacing matter.
        objective: Name of the measured objective that they may tell of.
        are_costs: Whether lower values should be better, as those of an earlier study: the first proposals follow such
            sources, when nothing shows yet how right any is.
    """

    name: str
    indices: IntArray
    values: FloatArray
    objective: str
    are_costs: bool = False
