"""How much each component of a latency matters, and what measured latencies then tell of others."""

from __future__ import annotations

from typing import final

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from nas.devices.latency_components import PRIORS, Components
from nas.space import FloatArray

_BOUND = 3.0  # standard deviations of the logarithm that a share may lie from its prior median
_NUM_PROPOSED = 128
"""Draws from the approximation, each of which is weighed by a factorisation."""
_NUM_DRAWS = 16
"""Draws that are kept. Each prediction is a mean over them, and costs as much as so many models."""


@final
class Posterior:
    """What is known of f with certain shares.

    Args:
        blocks: Blocks of the measured architectures.
        residuals: ``(n,)`` of these.
        drawn: Variances of the components and of the noise.
    """

    def __init__(self, blocks: list[FloatArray], residuals: FloatArray, drawn: FloatArray) -> None:
        self._shares, self._noise = drawn[:-1], float(drawn[-1])
        self._measured = Components.weigh(blocks, self._shares)
        covariance = self._measured @ self._measured.T + self._noise * np.eye(len(residuals))
        self._inverse = np.linalg.inv(covariance)
        self._solved = self._inverse @ residuals

    def leave_one_out(self) -> tuple[FloatArray, FloatArray]:
        """Return by how much each residual is off from what the others predict, and the variance of that."""
        variances = 1 / np.diag(self._inverse)
        return self._solved * variances, variances

    def at(self, blocks: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance of f in a measurement, ``(n,)`` each."""
        features = Components.weigh(blocks, self._shares)
        cross = features @ self._measured.T
        explained = np.einsum("nm,nm->n", cross @ self._inverse, cross)
        variance = np.maximum(np.square(features).sum(axis=1) - explained, 0.0) + self._noise
        return cross @ self._solved, variance


def mix_moments(moments: list[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance of an even mixture of distributions with these means and variances."""
    means, variances = (np.stack(values) for values in zip(*moments, strict=True))
    return means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0)


def draw_shares(blocks: list[FloatArray], residuals: FloatArray, components: Components) -> FloatArray:
    """Return ``(s, components + 1)`` variances of the components, and of the noise, drawn from their posterior.

    From a normal distribution around the densest point (Laplace), corrected by importance.
    """
    density = _Density(blocks, residuals, components)
    reach = _BOUND * density.deviation
    bounds = np.stack([density.centre - reach, density.centre + reach])
    found = minimize(
        density.at, density.centre, jac=True, method="L-BFGS-B", bounds=bounds.T, options={"maxiter": 80}
    )
    values, vectors = np.linalg.eigh(density.curvature(found.x))
    factor = vectors / np.sqrt(np.maximum(values, 1 / density.deviation.max() ** 2))
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((_NUM_PROPOSED, len(factor)))
    proposed = np.clip(found.x + normal @ factor.T, *bounds)
    logs = np.array([-density.at(one)[0] for one in proposed]) + 0.5 * np.square(normal).sum(axis=1)
    weights = np.exp(logs - logs.max())
    steps = (np.arange(_NUM_DRAWS) + 0.5) / _NUM_DRAWS
    chosen = np.searchsorted(np.cumsum(weights / weights.sum())[:-1], steps)
    draws: FloatArray = np.exp(proposed[chosen])
    return draws


@final
class _Density:
    """Minus the log posterior density of the logarithms of all shares and of the noise."""

    def __init__(self, blocks: list[FloatArray], residuals: FloatArray, components: Components) -> None:
        priors = [PRIORS[name] for name in (*components.names, "noise")]
        self.centre = np.array([2 * np.log(share) for share, _ in priors])
        self.deviation = np.array([2 * spread for _, spread in priors])
        self._grams = np.stack([block @ block.T for block in blocks])
        self._residuals = residuals

    def at(self, logs: FloatArray) -> tuple[float, FloatArray]:
        """Return value and gradient."""
        shares, identity = np.exp(logs), np.eye(len(self._residuals))
        covariance = np.tensordot(shares[:-1], self._grams, 1) + (shares[-1] + 1e-9) * identity
        factor = cho_factor(covariance, lower=True)
        inverse = cho_solve(factor, identity)
        solved = inverse @ self._residuals
        away = (logs - self.centre) / self.deviation
        value = 0.5 * self._residuals @ solved + np.log(np.diag(factor[0])).sum() + 0.5 * away @ away
        slack = inverse - np.outer(solved, solved)
        slopes = np.append(np.einsum("ij,kij->k", slack, self._grams), np.trace(slack))
        return float(value), 0.5 * shares * slopes + away / self.deviation

    def curvature(self, logs: FloatArray) -> FloatArray:
        """Return the Hessian, from differences of gradients."""
        steps = 0.05 * np.eye(len(logs))
        rows = [(self.at(logs + step)[1] - self.at(logs - step)[1]) / 0.1 for step in steps]
        hessian = np.stack(rows)
        return (hessian + hessian.T) / 2
