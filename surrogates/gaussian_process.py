"""A Gaussian process whose kernel learns how alike the options of a choice are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import minimize

from nas.choices import Option
from nas.pareto import non_dominated
from nas.space import FloatArray, IntArray, SearchSpace
from nas.strategy import Prediction

_SQRT5 = math.sqrt(5)
_JITTER = 1e-6  # on the diagonal, so that equal rows leave a matrix that float64 can factor
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
        space: Space of the architectures.
        dimensions: Dimensions of an option's point.
        restarts: Starting points of the optimisation; the best is kept.
        iterations: Iterations of L-BFGS, at most, for each starting point.
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
        # Costs that are constant but for rounding would otherwise become noise of the size of real differences.
        self._scale[self._scale < 1e-12 * np.maximum(np.abs(self._center), 1.0)] = 1.0
        standard = (costs - self._center) / self._scale
        encodings = self.space.encode(indices)
        # Drawn once for all costs, so that the order of the costs changes nothing.
        starts = [self._layout.start(rng) for _ in range(self.restarts)]
        self._posteriors = []
        for column in range(costs.shape[1]):
            kernel = _fit_kernel(
                self._layout, encodings[fitted], standard[fitted, column], starts, self.iterations
            )
            self._posteriors.append(_Posterior(kernel, encodings[kept], standard[kept, column]))

    def predict(self, indices: IntArray) -> Prediction:
        """Predict the costs of ``(n, num_choices)`` positions."""
        encodings = self.space.encode(indices)
        columns = [posterior.marginal(encodings) for posterior in self._posteriors]
        mean = np.stack([mean for mean, _ in columns], axis=1)
        std = np.maximum(np.stack([std for _, std in columns], axis=1), _MIN_STD)
        return Prediction(mean * self._scale + self._center, std * self._scale)

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n, m)`` joint draws of the costs."""
        encodings = self.space.encode(indices)
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
            # With the type, because 1 and True are equal and mean different things.
            key = tuple((type(option), option) for option in choice.options)
            if key not in points:
                points[key] = num_points
                means.append(_prior_points(choice.options, dimensions))
                num_points += len(choice.options)
            rows += range(points[key], points[key] + len(choice.options))
        self.num_choices = len(space.choices)
        self.dimensions = dimensions
        self.row = np.array(rows)
        self.column = np.repeat(np.arange(self.num_choices), space.num_options)
        self.means = np.concatenate(means)
        is_ordered = np.abs(self.means).sum(axis=1) > 0
        # Numbers are trusted to lie in their order; of words nothing is known, so their points may go further.
        self.deviations = np.where(is_ordered, 0.5, 1.0)[:, None]
        self.typical = math.log(1 / self.num_choices)  # relevance at which distances don't grow with choices

    def start(self, rng: np.random.Generator) -> FloatArray:
        relevances = np.full(self.num_choices, self.typical)
        points = 0.7 * rng.standard_normal(self.means.size)
        return np.concatenate([relevances, [math.log(_NOISE), 0.0], points])

    def bounds(self) -> list[tuple[float, float]]:
        return [
            *[(self.typical - 8.0, self.typical + 5.0)] * self.num_choices,
            (math.log(1e-4), 0.0),
            (-4.0, 4.0),
            *[(-4.0, 4.0)] * self.means.size,
        ]

    def negative_log_prior(self, vector: FloatArray) -> tuple[float, FloatArray]:
        """Return it and its gradient."""
        unlikely, width = vector.copy(), np.ones(len(vector))
        unlikely[: self.num_choices] -= self.typical
        unlikely[self.num_choices] -= math.log(_NOISE)
        width[self.num_choices] = 1.5
        unlikely /= width
        return 0.5 * float(unlikely @ unlikely), unlikely / width


def _prior_points(options: tuple[Option, ...], dimensions: int) -> FloatArray:
    """Return where options are expected, ``(num_options, dimensions)``: numbers on a line, others at 0."""
    points = np.zeros((len(options), dimensions))
    if len(options) > 1 and all(isinstance(o, int | float) and not isinstance(o, bool) for o in options):
        points[np.argsort(np.array(options)), 0] = np.linspace(-1.0, 1.0, len(options))
    return points


@final
class _Kernel:
    """A Matérn 5/2 kernel, and the variance of the noise."""

    def __init__(self, layout: _Layout, vector: FloatArray) -> None:
        self._layout = layout
        ends = [layout.num_choices, layout.num_choices + 1, layout.num_choices + 2]
        relevances, noise, variance, points = np.split(vector, ends)
        self.noise, self.variance = math.exp(noise[0]), math.exp(variance[0])
        self._embedded = layout.means + layout.deviations * points.reshape(layout.means.shape)
        self._stretch = np.exp(0.5 * relevances)[layout.column, None]
        blocks = np.zeros((len(layout.row), layout.num_choices, layout.dimensions))
        blocks[np.arange(len(layout.row)), layout.column] = self._embedded[layout.row] * self._stretch
        self._embedding = blocks.reshape(len(layout.row), -1)

    def embed(self, encodings: FloatArray) -> FloatArray:
        embedded: FloatArray = encodings @ self._embedding
        return embedded

    def __call__(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Return ``(n, k)`` covariances of ``(n, d)`` and ``(k, d)`` embedded architectures."""
        return self.with_slopes(left, right)[0]

    def with_slopes(self, left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the covariances, and their derivatives by the squared distances."""
        squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
        # The difference of large sums may come out a little below 0.
        np.maximum(squares, 0.0, out=squares)
        steps = np.sqrt(5 * squares)
        falling = np.exp(-steps)
        falling *= self.variance
        steps += 1.0
        slopes = steps * falling
        covariances: FloatArray = slopes + 5 / 3 * squares * falling
        slopes *= -5 / 6
        return covariances, slopes

    def gradient(self, encodings: FloatArray, by_embedded: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return derivatives by the log relevances and by the points, given those by ``(n, d)`` embedded ones."""
        layout = self._layout
        by_block = (encodings.T @ by_embedded).reshape(len(layout.row), layout.num_choices, -1)
        by_stretched = by_block[np.arange(len(layout.row)), layout.column] * self._stretch
        along = 0.5 * (by_stretched * self._embedded[layout.row]).sum(axis=1)
        by_points = np.zeros_like(layout.means)
        np.add.at(by_points, layout.row, by_stretched)
        by_relevance = np.zeros(layout.num_choices)
        np.add.at(by_relevance, layout.column, along)
        return by_relevance, (by_points * layout.deviations).ravel()


def _fit_kernel(
    layout: _Layout, encodings: FloatArray, targets: FloatArray, starts: list[FloatArray], iterations: int
) -> _Kernel:
    """Return the kernel of largest posterior density that L-BFGS finds from ``starts``."""

    def value_and_gradient(vector: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = _negative_log_likelihood(layout, vector, encodings, targets)
        unlikely, slope = layout.negative_log_prior(vector)
        return value + unlikely, gradient + slope

    options = {"maxiter": iterations}
    found: list[Any] = [
        minimize(value_and_gradient, x, jac=True, method="L-BFGS-B", bounds=layout.bounds(), options=options)
        for x in starts
    ]
    best = min(found, key=lambda result: float(result.fun))
    return _Kernel(layout, best.x)


def _negative_log_likelihood(
    layout: _Layout, vector: FloatArray, encodings: FloatArray, targets: FloatArray
) -> tuple[float, FloatArray]:
    """Return it, but for a constant, and its gradient (Rasmussen 2006, equations 5.8 and 5.9)."""
    kernel = _Kernel(layout, vector)
    embedded = kernel.embed(encodings)
    covariance, slopes = kernel.with_slopes(embedded, embedded)
    factor, inverse = _factor_and_inverse(covariance, kernel.noise)
    weights = inverse @ targets
    value = 0.5 * float(targets @ weights) + float(np.log(factor.diagonal()).sum())
    # The derivative of the likelihood by each covariance, from which those by all parameters follow.
    by_covariance = 0.5 * (inverse - weights[:, None] * weights)
    by_noise = kernel.noise * by_covariance.trace()
    by_variance = np.vdot(by_covariance, covariance)
    by_covariance *= slopes
    by_embedded = 4 * (by_covariance.sum(axis=1)[:, None] * embedded - by_covariance @ embedded)
    by_relevance, by_points = kernel.gradient(encodings, by_embedded)
    return value, np.concatenate([by_relevance, [by_noise, by_variance], by_points])


def _factor_and_inverse(covariance: FloatArray, noise: float) -> tuple[FloatArray, FloatArray]:
    """Return the lower Cholesky factor of a covariance with noise, and that matrix's inverse."""
    factor = _factor(covariance, noise)
    # LAPACK's inverse from the factor takes a third of the work of solving for the identity.
    lower, _ = lapack.dpotri(factor, lower=1)
    lower = np.tril(lower)
    return factor, lower + np.tril(lower, -1).T


def _factor(covariance: FloatArray, noise: float) -> FloatArray:
    noisy = covariance.copy()
    noisy.flat[:: len(noisy) + 1] += noise + _JITTER
    return np.asarray(np.linalg.cholesky(noisy), dtype=np.float64)


@final
class _Posterior:
    """A Gaussian process that has seen ``(n,)`` targets."""

    def __init__(self, kernel: _Kernel, encodings: FloatArray, targets: FloatArray) -> None:
        self._kernel = kernel
        self._known = kernel.embed(encodings)
        self._factor = _factor(kernel(self._known, self._known), kernel.noise)
        self._weights = cho_solve((self._factor, True), targets)

    def marginal(self, encodings: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation, each ``(n,)``."""
        cross = self._kernel(self._kernel.embed(encodings), self._known)
        explained = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        variance = self._kernel.variance - (explained**2).sum(axis=0)
        return cross @ self._weights, np.sqrt(np.maximum(variance, 0.0))

    def joint(self, encodings: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Return ``(count, n)`` draws."""
        embedded = self._kernel.embed(encodings)
        cross = self._kernel(embedded, self._known)
        explained = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        covariance = self._kernel(embedded, embedded) - explained.T @ explained
        # Unlike a Cholesky factor, eigenvectors don't mind a matrix that is singular but for rounding.
        values, vectors = np.linalg.eigh(covariance)
        factor = vectors * np.sqrt(np.maximum(values, 0.0))
        drawn: FloatArray = (
            (cross @ self._weights)[:, None] + factor @ rng.standard_normal((len(factor), count))
        ).T
        return drawn


def _informative(costs: FloatArray, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return up to ``count`` rows, in order: half from the first fronts, half at random from the rest."""
    rest = np.arange(len(costs))
    if len(costs) <= count:
        return rest
    chosen: list[NDArray[np.int64]] = []
    # The front is what is searched, but a model of the front alone wouldn't know how bad the rest is.
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
