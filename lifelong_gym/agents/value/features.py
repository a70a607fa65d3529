"""Features of observations and actions, and the linear algebra of regressions on them: dense, or one-hot."""

from __future__ import annotations

from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt

from lifelong_gym.numerics.arrays import FloatArray

Arrays = dict[str, npt.NDArray[Any]]
ROUNDING = 1e-9


class Features(Protocol):
    """What regressions are on: of ``n_obs`` observations and ``n_actions`` actions.

    Weights have the shape ``weights``, Gram matrices, ``I`` plus a sum of outer products, the shape ``gram``.
    """

    name: str
    phi: FloatArray
    n_obs: int
    n_actions: int
    weights: tuple[int, ...]
    gram: tuple[int, ...]

    def identity(self) -> FloatArray:
        """The Gram matrix of no samples."""

    def solve(self, gram: FloatArray, sums: FloatArray) -> FloatArray:
        """Ridge regression; ``sums`` have the shape of weights, and perhaps one more axis."""

    def widths(self, gram: FloatArray) -> FloatArray:
        """The norm of each feature vector under the Gram matrix's inverse, shape (n_obs, n_actions)."""

    def values(self, weights: FloatArray) -> FloatArray:
        """Shape (n_obs, n_actions)."""

    def apart(self, grams: tuple[FloatArray, FloatArray], difference: FloatArray) -> tuple[float, float]:
        """How far two regressions are from each other, and how many weights both could know.

        Args:
            grams: of both.
            difference: of their solutions, weights by one more axis.

        Returns:
            The squared difference in units of its variance, and the number of weights.
        """

    def pack(self, gram: FloatArray, following: FloatArray) -> Arrays:
        """Gram matrices of all steps, and sums by what was observed next, without what is 0 or told twice."""

    def unpack(self, packed: Arrays) -> tuple[FloatArray, FloatArray]:
        """The inverse of `pack`."""


@final
class DenseFeatures:
    """Given vectors.

    Args:
        phi: shape (n_obs, n_actions, d), each of Euclidean norm at most 1.

    Raises:
        ValueError: another shape, or norms above 1.
    """

    name = "dense"

    def __init__(self, phi: npt.ArrayLike) -> None:
        """See the class."""
        self.phi = np.ascontiguousarray(phi, np.float64)
        if self.phi.ndim != 3 or not np.isfinite(self.phi).all():
            raise ValueError(f"`features` must be finite, (n_obs, n_actions, d). Received shape {self.phi.shape}")
        largest = float(np.linalg.norm(self.phi, axis=-1).max())
        if largest > 1.0 + ROUNDING:
            raise ValueError(f"`features` must have norms of at most 1. Received {largest:.6g}")
        self.n_obs, self.n_actions, d = self.phi.shape
        self.weights: tuple[int, ...] = (d,)
        self.gram: tuple[int, ...] = (d, d)

    def identity(self) -> FloatArray:
        """See `Features`."""
        return np.eye(self.gram[0])

    def solve(self, gram: FloatArray, sums: FloatArray) -> FloatArray:
        """By Cholesky."""
        from scipy.linalg import cho_factor, cho_solve

        solution: FloatArray = cho_solve(cho_factor(gram), sums)
        return solution

    def widths(self, gram: FloatArray) -> FloatArray:
        """See `Features`."""
        flat = self.phi.reshape(-1, len(gram)).T
        squared = (flat * self.solve(gram, flat)).sum(axis=0)
        return np.sqrt(np.maximum(squared, 0.0)).reshape(self.n_obs, self.n_actions)

    def values(self, weights: FloatArray) -> FloatArray:
        """See `Features`."""
        product: FloatArray = self.phi @ weights
        return product

    def apart(self, grams: tuple[FloatArray, FloatArray], difference: FloatArray) -> tuple[float, float]:
        """See `Features`."""
        covariance = np.linalg.inv(grams[0]) + np.linalg.inv(grams[1])
        return float((difference * self.solve(covariance, difference)).sum()), float(len(covariance))

    def pack(self, gram: FloatArray, following: FloatArray) -> Arrays:
        """Half of each symmetric matrix, and the columns of observations that came up."""
        step, column = np.nonzero(following.any(axis=1))
        return {
            "gram": gram[:, *np.triu_indices(gram.shape[1])],
            "next": step * self.n_obs + column,
            "following": following[step, :, column],
        }

    def unpack(self, packed: Arrays) -> tuple[FloatArray, FloatArray]:
        """See `Features`."""
        horizon, d = len(packed["gram"]), self.weights[0]
        gram, following = np.zeros((horizon, d, d)), np.zeros((horizon, d, self.n_obs))
        rows, columns = np.triu_indices(d)
        gram[:, rows, columns] = gram[:, columns, rows] = packed["gram"]
        step, column = np.divmod(packed["next"], self.n_obs)
        following[step, :, column] = packed["following"]
        return gram, following


@final
class OneHotFeatures:
    """A feature for every observation and action; Gram matrices are diagonal, and of the shape of weights.

    Args:
        n_obs: number of observations.
        n_actions: of actions.
    """

    name = "tabular"

    def __init__(self, n_obs: int, n_actions: int) -> None:
        """See the class."""
        self.phi = np.zeros((0, 0, 0))
        self.n_obs, self.n_actions = n_obs, n_actions
        self.weights: tuple[int, ...] = (n_obs, n_actions)
        self.gram: tuple[int, ...] = (n_obs, n_actions)

    def identity(self) -> FloatArray:
        """See `Features`."""
        return np.ones(self.gram)

    def solve(self, gram: FloatArray, sums: FloatArray) -> FloatArray:
        """See `Features`."""
        return sums / gram.reshape(gram.shape + (1,) * (sums.ndim - gram.ndim))

    def widths(self, gram: FloatArray) -> FloatArray:
        """See `Features`."""
        return np.asarray(gram**-0.5, np.float64)

    def values(self, weights: FloatArray) -> FloatArray:
        """See `Features`."""
        return weights

    def apart(self, grams: tuple[FloatArray, FloatArray], difference: FloatArray) -> tuple[float, float]:
        """See `Features`."""
        weight = 1.0 / (1.0 / grams[0] + 1.0 / grams[1])
        known = (grams[0] > 1.0) & (grams[1] > 1.0)
        squared = (difference**2).sum(axis=-1) * weight
        return float(squared[known].sum()), float(np.count_nonzero(known))

    def pack(self, gram: FloatArray, following: FloatArray) -> Arrays:
        """What isn't 0."""
        tried, came = np.flatnonzero(gram > 1.0), np.flatnonzero(following)
        shape = np.array([len(gram)])
        return {
            "horizon": shape,
            "tried": tried,
            "gram": gram.flat[tried],
            "next": came,
            "following": following.flat[came],
        }

    def unpack(self, packed: Arrays) -> tuple[FloatArray, FloatArray]:
        """See `Features`."""
        horizon = int(packed["horizon"][0])
        gram, following = np.ones((horizon, *self.gram)), np.zeros((horizon, *self.gram, self.n_obs))
        gram.flat[packed["tried"]], following.flat[packed["next"]] = packed["gram"], packed["following"]
        return gram, following
