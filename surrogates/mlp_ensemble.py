"""An ensemble of small multi-layer perceptrons, trained together as one batched matrix product."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas.space import FloatArray, IntArray, SearchSpace
from nas.strategy import Prediction
from surrogates.ensemble import combine_members, joint_draws

Float32Array = NDArray[np.float32]

_MIN_STD = 1e-3  # of a standardised cost


@final
@dataclass
class MlpEnsemble:
    """Bootstrapped perceptrons with one hidden layer (Lakshminarayanan 2017; Breiman 1996).

    The response surface of Smithson 2016, several times: members see different bootstrap samples, so
    where data is thin they disagree. The predicted standard deviation is that disagreement: how far the
    mean may be off, not how much one measurement scatters, because a search gains nothing from noise.

    Args:
        space: Space of the architectures.
        num_members: Networks in the ensemble.
        hidden: Units in the hidden layer.
        steps: Full-batch AdamW steps per fit.
        learning_rate: The highest one; decays to 0 as a cosine.
        weight_decay: Weight decay of AdamW.
    """

    space: SearchSpace
    num_members: int = 10
    hidden: int = 48
    steps: int = 200
    learning_rate: float = 0.02
    weight_decay: float = 0.05

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        """Learn from ``(n, num_choices)`` positions and ``(n, m)`` costs, n >= 2; forgets earlier data."""
        self._center, self._scale = costs.mean(axis=0), costs.std(axis=0)
        self._scale[self._scale < 1e-12] = 1.0
        inputs = self.space.encode(indices).astype(np.float32)
        targets = ((costs - self._center) / self._scale).astype(np.float32)
        picks = rng.integers(0, len(costs), size=(self.num_members, len(costs)))
        weights = np.stack([np.bincount(p, minlength=len(costs)) for p in picks], axis=1)[:, :, None]
        weights = (2 / targets.size * weights).astype(np.float32)
        self._networks = _Networks(self.num_members, inputs.shape[1], self.hidden, targets.shape[1], rng)
        descent = _AdamW(self._networks.parameters, self.weight_decay)
        for step in range(self.steps):
            rate = self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2
            descent.step(self._networks.gradient(inputs, targets, weights), rate)

    def predict(self, indices: IntArray) -> Prediction:
        """Predict the costs of ``(n, num_choices)`` positions."""
        return combine_members(self._members(indices), _MIN_STD * self._scale)

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n, m)`` joint normal draws with the members' covariance."""
        return joint_draws(self._members(indices), count, rng)

    def _members(self, indices: IntArray) -> FloatArray:
        """Return each member's prediction, ``(num_members, n, m)``."""
        standard = self._networks(self.space.encode(indices).astype(np.float32)).transpose(1, 0, 2)
        members: FloatArray = standard.astype(np.float64) * self._scale + self._center
        return members


@final
class _Networks:
    """Perceptrons with a linear skip, side by side in few matrix products: an optimizer of torch's takes longer.

    Args:
        num_members: How many.
        num_inputs: Number of inputs of each.
        hidden: Units of each.
        num_outputs: Number of outputs of each.
        rng: Draws the first weights.
    """

    def __init__(
        self, num_members: int, num_inputs: int, hidden: int, num_outputs: int, rng: np.random.Generator
    ) -> None:
        self._shapes = (
            (num_inputs + 1, num_members, hidden + num_outputs),  # to both layers; the last row is the biases
            (num_members, hidden, num_outputs),
        )
        self._hidden = hidden
        self.parameters = np.zeros(sum(math.prod(shape) for shape in self._shapes), dtype=np.float32)
        first, second = self._parts(self.parameters)
        first[:-1] = rng.standard_normal((num_inputs, *first.shape[1:])) / np.sqrt(num_inputs)
        second[:] = rng.standard_normal(second.shape) / np.sqrt(hidden)

    def __call__(self, inputs: Float32Array) -> Float32Array:
        """Return ``(n, num_members, m)`` outputs for ``(n, d)`` inputs."""
        return self._forward(_with_one(inputs))[1]

    def gradient(self, inputs: Float32Array, targets: Float32Array, weights: Float32Array) -> Float32Array:
        """Return the derivatives of half the weighted sum of squared errors.

        Args:
            inputs: ``(n, d)``.
            targets: ``(n, m)``.
            weights: ``(n, num_members, 1)``.
        """
        inputs = _with_one(inputs)
        _, second = self._parts(self.parameters)
        hidden, outputs, both = self._forward(inputs)
        by_output = weights * (outputs - targets[:, None])
        by_second = hidden.transpose(1, 2, 0) @ by_output.transpose(1, 0, 2)
        by_hidden, both[:, :, self._hidden :] = both[:, :, : self._hidden], by_output
        np.matmul(by_output.transpose(1, 0, 2), second.transpose(0, 2, 1), out=by_hidden.transpose(1, 0, 2))
        hidden *= hidden
        by_hidden *= np.subtract(1, hidden, out=hidden)
        by_first = inputs.T @ both.reshape(len(inputs), -1)
        return np.concatenate([by_first.ravel(), by_second.ravel()])

    def _forward(self, inputs: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Return hidden units, outputs, and what both layers get from the inputs, of which nothing is needed again."""
        first, second = self._parts(self.parameters)
        both = (inputs @ first.reshape(len(first), -1)).reshape(len(inputs), *first.shape[1:])
        hidden = np.tanh(both[:, :, : self._hidden])
        through = (hidden.transpose(1, 0, 2) @ second).transpose(1, 0, 2)
        return hidden, both[:, :, self._hidden :] + through, both

    def _parts(self, vector: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Return views of a vector as the weights of the first and the second layer."""
        size = math.prod(self._shapes[0])
        return vector[:size].reshape(self._shapes[0]), vector[size:].reshape(self._shapes[1])


def _with_one(inputs: Float32Array) -> Float32Array:
    return np.concatenate([inputs, np.ones_like(inputs[:, :1])], axis=1)


@final
class _AdamW:
    """Loshchilov 2019 with its usual constants, on one vector, in place; gradients too."""

    def __init__(self, parameters: Float32Array, weight_decay: float) -> None:
        self._parameters, self._weight_decay = parameters, weight_decay
        self._mean, self._square = np.zeros_like(parameters), np.zeros_like(parameters)
        self._count = 0

    def step(self, gradient: Float32Array, rate: float) -> None:
        self._count += 1
        self._mean += 0.1 * (gradient - self._mean)
        gradient *= gradient
        gradient -= self._square
        gradient *= 0.001
        self._square += gradient
        bias = math.sqrt(1 - 0.999**self._count)
        change = np.sqrt(self._square, out=gradient)
        change += bias * 1e-8
        np.divide(self._mean, change, out=change)
        change *= rate * bias / (1 - 0.9**self._count)
        self._parameters *= 1 - rate * self._weight_decay
        self._parameters -= change
