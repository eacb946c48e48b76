"""An ensemble of small multi-layer perceptrons, trained together as one batched matrix product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from nas.protocols import Prediction
from nas.space import FloatArray, IntArray, SearchSpace
from surrogates.ensemble import agreed, joint_draws

_MIN_STD = 1e-3  # of a standardised cost


@final
@dataclass
class MlpEnsemble:
    """Bootstrapped perceptrons with one hidden layer (Lakshminarayanan 2017; Breiman 1996).

    The response surface of Smithson 2016, several times: members see different bootstrap samples, so
    where data is thin they disagree. The predicted standard deviation is that disagreement: how far the
    mean may be off, not how much one measurement scatters, because a search gains nothing from noise.

    Args:
        space: Of the architectures.
        num_members: Networks in the ensemble.
        hidden: Units in the hidden layer.
        steps: Full-batch AdamW steps per fit.
        learning_rate: The highest one; decays to 0 as a cosine.
        weight_decay: Of AdamW.
    """

    space: SearchSpace
    num_members: int = 10
    hidden: int = 48
    steps: int = 200
    learning_rate: float = 0.02
    weight_decay: float = 0.05

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        """Learn from ``(n, num_choices)`` positions and ``(n, m)`` costs, n >= 2; forgets earlier data."""
        encodings = self.space.encode(indices)
        self._center, self._scale = costs.mean(axis=0), costs.std(axis=0)
        self._scale[self._scale < 1e-12] = 1.0
        inputs = torch.from_numpy(encodings).float()
        targets = torch.from_numpy((costs - self._center) / self._scale).float()
        picks = rng.integers(0, len(costs), size=(self.num_members, len(costs)))
        weights = torch.from_numpy(np.stack([np.bincount(p, minlength=len(costs)) for p in picks])).float()
        self._parameters = self._initial(encodings.shape[1], costs.shape[1], rng)
        optimizer = torch.optim.AdamW(self._parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _ in range(self.steps):
            optimizer.zero_grad()
            residuals = self._forward(inputs) - targets
            loss = (weights[..., None] * residuals**2).sum(dim=0).mean()
            loss.backward()
            optimizer.step()
            schedule.step()

    def predict(self, indices: IntArray) -> Prediction:
        """Predict the costs of ``(n, num_choices)`` positions."""
        return agreed(self._members(indices), _MIN_STD * self._scale)

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n, m)`` joint normal draws with the members' covariance."""
        return joint_draws(self._members(indices), count, rng)

    def _members(self, indices: IntArray) -> FloatArray:
        """Return each member's prediction, ``(num_members, n, m)``."""
        with torch.no_grad():
            standard = self._forward(torch.from_numpy(self.space.encode(indices)).float())
        members: FloatArray = standard.numpy().astype(np.float64) * self._scale + self._center
        return members

    def _initial(self, num_inputs: int, num_outputs: int, rng: np.random.Generator) -> list[Tensor]:
        def weights(fan_in: int, fan_out: int) -> Tensor:
            values = rng.standard_normal((self.num_members, fan_in, fan_out)) / np.sqrt(fan_in)
            return torch.from_numpy(values).float().requires_grad_()

        def biases(size: int) -> Tensor:
            return torch.zeros(self.num_members, 1, size, requires_grad=True)

        return [
            weights(num_inputs, self.hidden),
            biases(self.hidden),
            weights(self.hidden, num_outputs),
            biases(num_outputs),
            weights(num_inputs, num_outputs),
        ]

    def _forward(self, inputs: Tensor) -> Tensor:
        """Return ``(num_members, n, m)`` standardised costs: a perceptron plus a linear skip."""
        first, first_bias, second, second_bias, skip = self._parameters
        inputs = inputs.expand(self.num_members, *inputs.shape)
        hidden = torch.tanh(inputs @ first + first_bias)
        return hidden @ second + second_bias + inputs @ skip
