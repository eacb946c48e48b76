"""A latency model of a study's networks on a device, from few measured ones that it chooses itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from importlib import import_module

import numpy as np
import torch

from nas.checks import failing_as
from nas.devices.device import Device
from nas.devices.latency_model import LatencyModel
from nas.devices.latency_profile import LEAST_MEASUREMENTS, HeldOutAt, LatencyProfile
from nas.errors import StudyError
from nas.evaluation import LatencyMs
from nas.runner.measuring import calibrate_objective
from nas.runner.preparation import Prepared, prepare
from nas.runner.sparing import make_counts, measure_untrained
from nas.search.patience import wait_for_device
from nas.space import IntArray
from nas.study import Study

_NUM_CANDIDATES = 1000
"""Random architectures, from which those to measure are picked. Chosen: many times as many as anybody measures."""
_GROWTH = 2
"""A round measures as many as were measured before, so the model that chooses is fitted a few times only."""


def profile_device(
    study: Study, objective: LatencyMs, measurements: int, say: Callable[[str], None]
) -> LatencyProfile:
    """Measure some of a study's networks, untrained, and return what the latency of all others follows from.

    Args:
        study: Nothing of it is trained.
        objective: Measures; its device and batch are profiled.
        measurements: How many networks, from 10.
        say: Is told after every round how far predictions are off.

    Raises:
        NasError: as :func:`nas.runner.preparation.prepare`, or a number of measurements that is too small.
    """
    if measurements < LEAST_MEASUREMENTS:
        raise StudyError(
            f"a profile is to be made of {measurements} measurements: {LEAST_MEASUREMENTS} or more are needed, fewer "
            "predict too little."
        )
    weights = None if callable(study.weights) else study.weights  # they change no latency
    prepared = prepare(dataclasses.replace(study, weights=weights), torch.device("cpu"))
    space = prepared.problem.space
    known = wait_for_device(partial(calibrate_objective, objective), f"the calibration of {objective.name!r}")
    candidates = _candidates(prepared)
    model = LatencyModel(space, make_counts(prepared))
    chosen = np.zeros(0, dtype=np.int64)
    latencies, held_out = [], []
    wanted = min(LEAST_MEASUREMENTS, len(candidates))
    while len(chosen) < min(measurements, len(candidates)):
        left = np.setdiff1d(np.arange(len(candidates)), chosen)
        new = left[model.choose(candidates[left], wanted - len(chosen), candidates[chosen])]
        chosen = np.concatenate([chosen, new])
        latencies += measure_untrained(prepared, objective, space.from_indices(candidates[new]), known)
        found = model.fit(candidates[chosen], np.array([latency.value for latency in latencies]))
        held_out.append(HeldOutAt(len(chosen), found.error, found.coverage))
        say(str(held_out[-1]))
        wanted = min(_GROWTH * wanted, measurements, len(candidates))
    return LatencyProfile(
        study=study.name,
        space=space.describe(),
        device=latencies[0].device,
        architectures=tuple(dict(a) for a in space.from_indices(candidates[chosen])),
        latencies=tuple(latencies),
        held_out=tuple(held_out),
    )


def _candidates(prepared: Prepared) -> IntArray:
    """Return different architectures that meet the hard limits."""
    problem = prepared.problem
    rng = np.random.default_rng(prepared.study.seed)
    drawn = np.unique(problem.space.sample_indices(_NUM_CANDIDATES, rng), axis=0)
    feasible: IntArray = drawn[problem.infeasibility(drawn) == 0]
    if len(feasible) < 2:
        raise StudyError(
            f"of {len(drawn)} random architectures {len(feasible)} meet the constraints of study "
            f"{prepared.study.name!r}: a profile needs two or more; loosen them."
        )
    return feasible


def latency_to_profile(study: Study, device: str | None, objective: str | None) -> LatencyMs:
    """Return what measures: a latency of the study's, on its own device or another one.

    Args:
        study: Holds latencies, or none where a device is given.
        device: ``MODULE:EXPRESSION`` of another device, such as ``nas.devices:OpenVino(threads=2)``.
        objective: Which, where the study has several.

    Raises:
        StudyError: it isn't clear which, or there is no such device.
    """
    own = {o.name: o for o in study.objectives if isinstance(o, LatencyMs)}
    if objective is not None and objective not in own:
        raise StudyError(
            f"study {study.name!r} has no latency {objective!r}: it has {sorted(own) or 'none'}."
        )
    if len(own) > 1 and objective is None:
        raise StudyError(
            f"study {study.name!r} has the latencies {sorted(own)}: say which to profile with --objective."
        )
    if not own and device is None:
        raise StudyError(f"study {study.name!r} has no latency among its objectives: give a --device.")
    chosen = own[objective] if objective is not None else next(iter(own.values()), LatencyMs())
    return chosen if device is None else dataclasses.replace(chosen, device=device_of(device))


def device_of(text: str) -> Device:
    """Return the device that an expression in a module makes.

    Raises:
        StudyError: there is no such module, or it makes no device.
    """
    module, _, expression = text.partition(":")
    advice = "give MODULE:EXPRESSION, such as 'nas.devices:OpenVino(threads=2)'"
    with failing_as(StudyError, f"the device {text!r} can't be made", advice):
        made = import_module(module)
        # The expression is the user's own, as a study file is; names are looked up in the module, on demand too.
        names = {name: getattr(made, name) for name in {*dir(made), *getattr(made, "__all__", ())}}
        found = eval(expression, names)
    if isinstance(found, type) or not isinstance(found, Device):
        raise StudyError(f"{text!r} is {found!r}, which is no device: {advice}.")
    return found
