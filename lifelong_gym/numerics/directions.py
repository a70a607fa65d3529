"""Choices that mathematics leaves open and rounding would make, made by rule instead.

Singular vectors have no sign, those of equal singular values are any of their span, and a basis that ends early can go
on anywhere. What a library returns there hangs on the last digits of its input, and differs from machine to machine.
Here it follows the axes in their order.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lifelong_gym.numerics.arrays import FloatArray, IntArray

SAME = 1e-5  # relative: singular values that differ by less are equal; a rounding of 1e-15 turns the others by 1e-10
TIED = 1e-9  # relative: values that differ by less are equally good
# Share of 1 / sqrt(d) that an axis must add. Among the d axes one always adds more than the whole of it, so that below
# it there are enough; and the larger the share, the less rounding counts.
SUBSTANTIAL = 0.5


def completed(basis: FloatArray, n: int) -> FloatArray:
    """Orthonormal columns and what follows them: the axes in order, as far as they add a direction.

    Args:
        basis: orthonormal columns, shape (d, r).
        n: how many columns there shall be, from r to d.

    Returns:
        Shape (d, n), the first r columns being the given ones.
    """
    d, r = basis.shape
    return np.concatenate([basis, _axes_in(np.eye(d) - basis @ basis.T, n - r)], axis=1)


def leading_directions(vectors: FloatArray, n: int, size: float = 0.0) -> FloatArray:
    """The leading left singular vectors, as far as there are any: of singular values that aren't `SAME` as 0.

    A vector's first substantial component is positive. Of equal singular values come the projections of the axes on the
    span of their vectors, in order.

    Args:
        vectors: as columns, shape (d, m).
        n: how many at most.
        size: of what the vectors are differences of, if that is larger than they are: what rounding is relative to.

    Returns:
        Orthonormal columns, shape (d, r) with r at most n.
    """
    left, singular, _ = np.linalg.svd(vectors, full_matrices=False)
    apart = SAME * singular.max(initial=size)
    n_real = np.count_nonzero(singular > apart)
    ends = np.flatnonzero(singular[: n_real - 1] - singular[1:n_real] > apart) + 1 if n_real else np.zeros(0, int)
    groups = [_by_rule(left[:, first:end]) for first, end in pairwise([0, *ends.tolist(), n_real])]
    return np.concatenate(groups, axis=1)[:, :n]


def first_best(values: FloatArray, axis: int = -1) -> IntArray:
    """Index of the largest value along an axis; of values that are `TIED` with it the first.

    >>> first_best(np.array([0.0, 0.3, 0.1 + 0.2, 0.2])).item()
    1
    """
    largest = values.max(axis=axis, keepdims=True)
    found: IntArray = (values >= largest - TIED * np.abs(largest)).argmax(axis=axis)
    return found


def _by_rule(left: FloatArray) -> FloatArray:
    """The basis of a span that the rule says: shape (d, c) both."""
    if left.shape[1] != 1:
        return _axes_in(left @ left.T, left.shape[1])
    first = (np.abs(left[:, 0]) > _substantial(len(left))).argmax()
    return left if left[first, 0] > 0 else -left


def _axes_in(projector: FloatArray, n: int) -> FloatArray:
    """Orthonormal columns from the axes' projections, in order, leaving out those that add little: (d, n)."""
    found = np.zeros((len(projector), 0))
    for axis in projector.T:
        if found.shape[1] == n:
            break
        rest = axis - found @ (found.T @ axis)
        rest -= found @ (found.T @ rest)  # what rounding left of them
        length = np.linalg.norm(rest)
        if length > _substantial(len(rest)):
            found = np.column_stack([found, rest / length])
    return found


def _substantial(d: int) -> float:
    return float(SUBSTANTIAL / np.sqrt(d))
