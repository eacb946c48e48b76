"""A Gaussian process whose kernel learns how alike the options of a choice are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from nas.choices import Option
from nas.pareto import non_dominated
from nas.protocols import Prediction
from nas.space import FloatArray, IntArray, SearchSpace

_SQRT5 = math.sqrt(5)
_JITTER = 1e-6
_NOISE = 1e-2  # prior median of the noise variance, of a standardised cost
_MIN_STD = 1e-3  # of a standardised cost


@final
@dataclass
class GaussianProcess:
    """One Gaussian process per cost (Rasmussen 2006, algorithm 2.1), Matérn 5/2 on learned embeddings.

    An option is a point in a small Euclidean space, an architecture is its options' points side by side,
    each stretched by its choice's relevance; likeness falls with distance. Choices with the same options
    share their points: a kernel of 3 differs from one of 5 in much the same way in every stage, so what one
    choice teaches the others need not learn again. (Latent variables for categorical inputs: Zhang 2020.)
    Options that are numbers start on a line, in their order. A choice that doesn't matter lies at the origin.

    Points, relevances, noise and scale maximise the posterior density under weak priors, by L-BFGS.

    Args:
        space: Of the architectures.
        dimensions: Of an option's point.
        restarts: Starting points of the optimisation; the best is kept.
        iterations: Of L-BFGS, at most, for each starting point.
        max_fitted: The kernel is fitted to so many trials at most; cubic in time.
        max_points: Predictions rest on so many trials at most: those nearest to the front, and random ones.
    """

    space: SearchSpace
    dimensions: int = 3
    restarts: int = 2
    iterations: int = 40
    max_fitted: int = 256
    max_points: int = 768

    def __post_init__(self) -> None:
        self._layout = _Layout(self.space, self.dimensions)

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        """Learn from ``(n, num_choices)`` positions and ``(n, m)`` costs, n >= 2; forgets earlier data."""
        kept = _informative(costs, self.max_points, rng)
        fitted = kept[_informative(costs[kept], self.max_fitted, rng)]
        self._center, self._scale = costs[kept].mean(axis=0), costs[kept].std(axis=0)
        self._scale[self._scale < 1e-12 * np.maximum(np.abs(self._center), 1.0)] = 1.0
        standard = torch.from_numpy((costs - self._center) / self._scale)
        encodings = torch.from_numpy(self.space.encode(indices))
        starts = [self._layout.start(rng) for _ in range(self.restarts)]
        self._posteriors = []
        for column in range(costs.shape[1]):
            kernel = _fitted_kernel(
                self._layout, encodings[fitted], standard[fitted, column], starts, self.iterations
            )
            self._posteriors.append(_Posterior(kernel, encodings[kept], standard[kept, column]))

    def predict(self, indices: IntArray) -> Prediction:
        """Predict the costs of ``(n, num_choices)`` positions."""
        encodings = torch.from_numpy(self.space.encode(indices))
        columns = [posterior.marginal(encodings) for posterior in self._posteriors]
        mean = np.stack([mean for mean, _ in columns], axis=1)
        std = np.maximum(np.stack([std for _, std in columns], axis=1), _MIN_STD)
        return Prediction(mean * self._scale + self._center, std * self._scale)

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n, m)`` joint draws of the costs."""
        encodings = torch.from_numpy(self.space.encode(indices))
        draws = [posterior.joint(encodings, count, rng) for posterior in self._posteriors]
        costs: FloatArray = np.stack(draws, axis=2) * self._scale + self._center
        return costs


@final
class _Layout:
    """Where the numbers of a kernel lie in the vector that is optimised.

    The vector holds, one after the other: log relevance of each choice, log noise, log variance, and the
    options' points in units of their prior's deviations.
    """

    def __init__(self, space: SearchSpace, dimensions: int) -> None:
        points: dict[tuple[tuple[type, Option], ...], int] = {}
        means: list[FloatArray] = []
        rows: list[int] = []
        num_points = 0
        for choice in space.choices:
            key = tuple((type(option), option) for option in choice.options)
            if key not in points:
                points[key] = num_points
                means.append(_prior_points(choice.options, dimensions))
                num_points += len(choice.options)
            rows += range(points[key], points[key] + len(choice.options))
        self.num_choices = len(space.choices)
        self.dimensions = dimensions
        self.row = torch.tensor(rows)
        self.column = torch.from_numpy(np.repeat(np.arange(self.num_choices), space.num_options))
        self.means = torch.from_numpy(np.concatenate(means))
        is_ordered = self.means.abs().sum(dim=1) > 0
        self.deviations = torch.where(is_ordered, 0.5, 1.0).double()[:, None]
        self.typical = math.log(1 / self.num_choices)  # relevance at which distances don't grow with choices

    def start(self, rng: np.random.Generator) -> FloatArray:
        relevances = np.full(self.num_choices, self.typical)
        points = 0.7 * rng.standard_normal(self.means.numel())
        return np.concatenate([relevances, [math.log(_NOISE), 0.0], points])

    def bounds(self) -> list[tuple[float, float]]:
        return [
            *[(self.typical - 8.0, self.typical + 5.0)] * self.num_choices,
            (math.log(1e-4), 0.0),
            (-4.0, 4.0),
            *[(-4.0, 4.0)] * self.means.numel(),
        ]

    def negative_log_prior(self, vector: Tensor) -> Tensor:
        relevances, noise, variance, points = vector.split([self.num_choices, 1, 1, self.means.numel()])
        unlikely = [relevances - self.typical, (noise - math.log(_NOISE)) / 1.5, variance, points]
        return 0.5 * torch.cat(unlikely).square().sum()


def _prior_points(options: tuple[Option, ...], dimensions: int) -> FloatArray:
    """Return where options are expected, ``(num_options, dimensions)``: numbers on a line, others at 0."""
    points = np.zeros((len(options), dimensions))
    if len(options) > 1 and all(isinstance(o, int | float) and not isinstance(o, bool) for o in options):
        points[np.argsort(np.array(options)), 0] = np.linspace(-1.0, 1.0, len(options))
    return points


@final
class _Kernel:
    """A Matérn 5/2 kernel, and the variance of the noise."""

    def __init__(self, layout: _Layout, vector: Tensor) -> None:
        relevances, noise, variance, points = vector.split([layout.num_choices, 1, 1, layout.means.numel()])
        self.noise, self.variance = noise.exp(), variance.exp()
        embedded = layout.means + layout.deviations * points.reshape(layout.means.shape)
        blocks = torch.zeros(len(layout.row), layout.num_choices, layout.dimensions, dtype=torch.float64)
        stretched = embedded[layout.row] * (0.5 * relevances).exp()[layout.column, None]
        self._embedding = blocks.index_put((torch.arange(len(layout.row)), layout.column), stretched).flatten(
            1
        )

    def embed(self, encodings: Tensor) -> Tensor:
        embedded: Tensor = encodings @ self._embedding
        return embedded

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        """Return ``(n, k)`` covariances of ``(n, d)`` and ``(k, d)`` embedded architectures."""
        squares = (left**2).sum(dim=1)[:, None] + (right**2).sum(dim=1) - 2 * left @ right.T
        squares = squares.clamp_min(0)
        distance = (squares + 1e-12).sqrt()
        covariance: Tensor = self.variance * (1 + _SQRT5 * distance + 5 / 3 * squares)
        return covariance * torch.exp(-_SQRT5 * distance)


def _fitted_kernel(
    layout: _Layout, encodings: Tensor, targets: Tensor, starts: list[FloatArray], iterations: int
) -> _Kernel:
    """Return the kernel of largest posterior density that L-BFGS finds from ``starts``."""

    def loss(vector: Tensor) -> Tensor:
        posterior = _Posterior(_Kernel(layout, vector), encodings, targets)
        return posterior.negative_log_likelihood() + layout.negative_log_prior(vector)

    def value_and_gradient(values: FloatArray) -> tuple[float, FloatArray]:
        vector = torch.from_numpy(values).requires_grad_()
        result = loss(vector)
        (gradient,) = torch.autograd.grad(result, vector)
        return float(result.detach()), gradient.numpy()

    options = {"maxiter": iterations}
    found: list[Any] = [
        minimize(value_and_gradient, x, jac=True, method="L-BFGS-B", bounds=layout.bounds(), options=options)
        for x in starts
    ]
    best = min(found, key=lambda result: float(result.fun))
    return _Kernel(layout, torch.from_numpy(best.x))


@final
class _Posterior:
    """A Gaussian process that has seen ``(n,)`` targets."""

    def __init__(self, kernel: _Kernel, encodings: Tensor, targets: Tensor) -> None:
        self._kernel = kernel
        self._targets = targets
        self._known = kernel.embed(encodings)
        covariance = kernel(self._known, self._known)
        noise = (kernel.noise + _JITTER) * torch.eye(len(targets), dtype=torch.float64)
        self._factor = torch.linalg.cholesky(covariance + noise)
        self._weights = torch.cholesky_solve(targets[:, None], self._factor)[:, 0]

    def negative_log_likelihood(self) -> Tensor:
        loss: Tensor = 0.5 * self._targets @ self._weights + self._factor.diagonal().log().sum()
        return loss

    def marginal(self, encodings: Tensor) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation, each ``(n,)``."""
        cross = self._kernel(self._kernel.embed(encodings), self._known)
        explained = torch.linalg.solve_triangular(self._factor, cross.T, upper=False)
        variance = (self._kernel.variance - (explained**2).sum(dim=0)).clamp_min(0)
        return (cross @ self._weights).numpy(), variance.sqrt().numpy()

    def joint(self, encodings: Tensor, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n)`` draws."""
        embedded = self._kernel.embed(encodings)
        cross = self._kernel(embedded, self._known)
        explained = torch.linalg.solve_triangular(self._factor, cross.T, upper=False)
        covariance = self._kernel(embedded, embedded) - explained.T @ explained
        # Unlike a Cholesky factor, eigenvectors don't mind a matrix that is singular but for rounding.
        values, vectors = torch.linalg.eigh(covariance)
        factor = vectors * values.clamp_min(0).sqrt()
        noise = torch.from_numpy(rng.standard_normal((len(embedded), count)))
        drawn: FloatArray = ((cross @ self._weights)[:, None] + factor @ noise).T.numpy()
        return drawn


def _informative(costs: FloatArray, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return up to ``count`` rows, in order: half from the first fronts, half at random from the rest."""
    rest = np.arange(len(costs))
    if len(costs) <= count:
        return rest
    chosen: list[NDArray[np.int64]] = []
    wanted = count // 2
    while wanted > 0:
        front = non_dominated(costs[rest])
        layer = rest[front][:wanted]
        chosen.append(layer)
        wanted -= len(layer)
        rest = np.setdiff1d(rest, layer)
    num_random = count - count // 2
    chosen.append(rng.choice(rest, size=num_random, replace=False))
    return np.sort(np.concatenate(chosen))
