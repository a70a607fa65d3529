"""What averages are made of: products with mixing matrices, how fast these agree, and random pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from lifelong_gym.numerics.arrays import FloatArray, IntArray

PAIRING = 3  # stream of random numbers, beside those of `Faults`
BLOCK = 2**17  # numbers that are averaged at once: they stay in a processor's cache


def partners(n_nodes: int, round: int, seed: int) -> IntArray:
    """Whom each node is paired with in a round, shape (n_nodes,); of an odd number one is left with itself.

    It depends on nothing but the arguments; all matchings are equally likely.
    """
    key, counter = np.array([seed, PAIRING], np.uint64), np.array([0, 0, 0, round], np.uint64)
    order = np.random.Generator(np.random.Philox(key=key, counter=counter)).permutation(n_nodes)
    partner = np.arange(n_nodes)
    one, other = order[0 : n_nodes - 1 : 2], order[1::2]
    partner[one], partner[other] = other, one
    return partner


def mean_of_pairs(n_nodes: int) -> sparse.csr_array:
    """The expectation of the matrices by which random pairs average, shape (n_nodes, n_nodes)."""
    given = 1 / (2 * (n_nodes - 1 + n_nodes % 2)) if n_nodes > 1 else 0.0
    return sparse.csr_array(np.full((n_nodes, n_nodes), given) + np.eye(n_nodes) * (1 - n_nodes * given))


def second_singular_value(weights: sparse.csr_array) -> float:
    """Of a mixing matrix: by at least this factor a round shrinks the distance from the average; 0 of one node."""
    values: FloatArray = np.linalg.svd(weights.toarray(), compute_uv=False)
    return float(values[1]) if len(values) > 1 else 0.0


def product(matrix: sparse.csr_array, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Averages along the first axis, in the array's dtype."""
    flat, n = array.reshape(len(array), -1), max(1, BLOCK // len(array))
    mixed = np.empty_like(flat)
    for first in range(0, flat.shape[1], n):
        mixed[:, first : first + n] = matrix @ flat[:, first : first + n].astype(np.float64)
    return mixed.reshape(array.shape)
