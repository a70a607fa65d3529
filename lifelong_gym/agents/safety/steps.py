"""How the safe lifelong learner's parameters move before, or with, their projection.

Policies are ``theta_t = a_t + L s_t``. What round j says about task t is a quadratic loss,
``l_j = (theta - target)' F (theta - target) / 2``. Three variants of Bou Ammar et al. (2015) differ in what they make
of it:

===  ====================================================================================================
A    the minimiser of all losses and the regulariser ``mu_2 |L|^2 + mu_1 |S|^2``, then a Euclidean projection
B    a gradient step on the losses linearised where they were met, then a Euclidean projection: for L fixed, the
     projection is the right one and regret grows like the square root of the number of rounds
C    as A, but codes are constrained, in the metric of their own losses, at each step of the minimisation
===  ====================================================================================================

Codes move before the basis: from codes that are 0 the basis would become 0, and neither would ever move again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lifelong_gym.agents.contract.checks import number
from lifelong_gym.agents.safety.projection import Projection, SafeSets, SpectralBounds
from lifelong_gym.errors import integer
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.numerics.directions import completed, leading_directions

MOST_COMPENSATION = 50.0


@dataclass(frozen=True)
class Regulariser:
    """``mu_2 |L|^2 + mu_1 |S|^2``.

    Args:
        mu1: of the codes, positive.
        mu2: of the basis, positive.
    """

    mu1: float = 1e-3
    mu2: float = 1e-3

    def __post_init__(self) -> None:
        number("mu1", self.mu1, open_at_low=True)
        number("mu2", self.mu2, open_at_low=True)


class Losses(NamedTuple):
    """All that is kept of the rounds: per task the sum of its losses, a quadratic function of its policy.

    Attributes:
        curvature: ``H = sum_j eta_j F_j``, shape (n_tasks, d, d).
        pull: ``h = sum_j eta_j F_j target_j``, shape (n_tasks, d).
        rounds: in which each task was observed, shape (n_tasks,).
    """

    curvature: FloatArray
    pull: FloatArray
    rounds: IntArray

    @classmethod
    def none(cls, n_tasks: int, d: int) -> Losses:
        """Nothing has been observed."""
        return cls(np.zeros((n_tasks, d, d)), np.zeros((n_tasks, d)), np.zeros(n_tasks, np.int64))

    def observed(
        self, tasks: IntArray, targets: FloatArray, fisher: FloatArray, eta: float = 1.0, forget: float = 1.0
    ) -> Losses:
        """These losses and those of one more round.

        Args:
            tasks: which were observed, each once, shape (n,).
            targets: where their policies should go, shape (n, d).
            fisher: F, shape (n, d, d).
            eta: weight of the round.
            forget: factor in (0, 1] on all that the same tasks lost before; less than 1 voids the regret's bound.
        """
        new = Losses(self.curvature.copy(), self.pull.copy(), self.rounds.copy())
        new.curvature[tasks] = forget * new.curvature[tasks] + eta * fisher
        new.pull[tasks] = forget * new.pull[tasks] + eta * (fisher @ targets[:, :, None])[:, :, 0]
        new.rounds[tasks] += 1
        return new

    def values(self, policies: FloatArray) -> FloatArray:
        """``theta' H theta / 2 - h' theta``: the sums but for a constant, of theta (n_tasks, d): (n_tasks,)."""
        bent = (self.curvature @ policies[:, :, None])[:, :, 0]
        return np.asarray(np.einsum("nd,nd->n", policies, 0.5 * bent - self.pull), np.float64)


def compensation(rounds: IntArray, forget: float, most: float = MOST_COMPENSATION) -> FloatArray:
    """By what a step has to be multiplied so as not to shrink as losses accumulate: ``sum_i forget^i``, i < rounds.

    Args:
        rounds: in which each task was observed, this one included, shape (n,).
        forget: see `Losses.observed`.
        most: cap.
    """
    total = rounds if forget == 1.0 else (1.0 - forget**rounds) / (1.0 - forget)
    return np.minimum(np.asarray(total, np.float64), most)


def code_system(
    basis: FloatArray, anchors: FloatArray, losses: Losses, mu: Regulariser
) -> tuple[FloatArray, FloatArray]:
    """Z and v of the codes' system ``Z s = v`` for each task: (n_tasks, k, k) and (n_tasks, k)."""
    missing = losses.pull - (losses.curvature @ anchors[:, :, None])[:, :, 0]
    matrix = basis.T @ losses.curvature @ basis + 2 * mu.mu1 * np.eye(basis.shape[1])
    return np.asarray(matrix, np.float64), np.asarray(missing @ basis, np.float64)


def best_codes(basis: FloatArray, anchors: FloatArray, losses: Losses, mu: Regulariser) -> FloatArray:
    """The minimising codes for a basis, unconstrained, shape (n_tasks, k)."""
    matrix, vector = code_system(basis, anchors, losses, mu)
    return np.asarray(np.linalg.solve(matrix, vector[:, :, None])[:, :, 0], np.float64)


def basis_system(
    codes: FloatArray, anchors: FloatArray, losses: Losses, mu: Regulariser
) -> tuple[FloatArray, FloatArray]:
    """Z and v of the basis's system ``Z vec(L) = v``, vec stacking columns: (d k, d k) and (d k,)."""
    n, k = codes.shape
    d = anchors.shape[1]
    missing = losses.pull - (losses.curvature @ anchors[:, :, None])[:, :, 0]
    outer = (codes[:, :, None] * codes[:, None, :]).reshape(n, k * k)
    blocks = (outer.T @ losses.curvature.reshape(n, d * d)).reshape(k, k, d, d)
    matrix = blocks.transpose(0, 2, 1, 3).reshape(k * d, k * d) + 2 * mu.mu2 * np.eye(k * d)
    return matrix, np.asarray((codes.T @ missing).ravel(), np.float64)


def best_basis(codes: FloatArray, anchors: FloatArray, losses: Losses, mu: Regulariser) -> FloatArray:
    """The minimising basis for codes, unconstrained, shape (d, k)."""
    matrix, vector = basis_system(codes, anchors, losses, mu)
    return np.asarray(np.linalg.solve(matrix, vector).reshape(codes.shape[1], -1).T, np.float64)


def warm_started(codes: FloatArray, observed: npt.NDArray[np.bool_]) -> FloatArray:
    """Codes, those of tasks that haven't been observed being the mean of the others'; to be projected."""
    if not observed.any():
        return codes
    return np.where(observed[:, None], codes, codes[observed].mean(axis=0))


@dataclass(frozen=True)
class SafeStep:
    """The step that variants A and C take after a round: alternating minimisation, and the projection.

    Args:
        variant: ``"A"`` or ``"C"``.
        bounds: on the basis.
        mu: the regulariser.
        n_inner: times that codes, then the basis, are minimised over.
        fixed_basis: the basis stays as it is.
        warm_start: tasks that haven't been observed have the mean code of those that have, rather than 0.

    Raises:
        ValueError: no such variant, or ``n_inner`` below 1.
    """

    variant: str = "C"
    bounds: SpectralBounds = field(default_factory=SpectralBounds)
    mu: Regulariser = field(default_factory=Regulariser)
    n_inner: int = 3
    fixed_basis: bool = False
    warm_start: bool = True

    def __post_init__(self) -> None:
        integer("n_inner", self.n_inner)
        if self.variant not in ("A", "C"):
            raise ValueError(f"`variant` must be 'A' or 'C'. Received {self.variant!r}")

    def __call__(self, sets: SafeSets, losses: Losses, basis: FloatArray) -> Projection:
        """Safe parameters after the losses so far.

        Args:
            sets: the safe sets of all tasks observed so far.
            losses: of all rounds.
            basis: L as it is, shape (d, k); start it with `first_basis`.

        Raises:
            ProjectionError: the projection failed; the caller's parameters are as before.
        """
        return self._unconstrained(sets, losses, basis) if self.variant == "A" else self._in_turns(sets, losses, basis)

    def _unconstrained(self, sets: SafeSets, losses: Losses, basis: FloatArray) -> Projection:
        codes = best_codes(basis, sets.anchors, losses, self.mu)
        for _ in range(0 if self.fixed_basis else self.n_inner):
            basis = best_basis(codes, sets.anchors, losses, self.mu)
            codes = best_codes(basis, sets.anchors, losses, self.mu)
        return sets.project(basis, self._warm(codes, losses), self.bounds)

    def _in_turns(self, sets: SafeSets, losses: Losses, basis: FloatArray) -> Projection:
        found = self._constrained_codes(sets, losses, self.bounds.clip(basis))
        for _ in range(0 if self.fixed_basis else self.n_inner):
            basis = self.bounds.clip(best_basis(found.codes, sets.anchors, losses, self.mu))
            found = self._constrained_codes(sets, losses, basis)
        return found

    def _constrained_codes(self, sets: SafeSets, losses: Losses, basis: FloatArray) -> Projection:
        matrix, vector = code_system(basis, sets.anchors, losses, self.mu)
        codes = np.asarray(np.linalg.solve(matrix, vector[:, :, None])[:, :, 0], np.float64)
        return sets.project(basis, self._warm(codes, losses), self.bounds, metric=matrix)

    def _warm(self, codes: FloatArray, losses: Losses) -> FloatArray:
        return warm_started(codes, losses.rounds > 0) if self.warm_start else codes


@dataclass(frozen=True)
class LinearisedStep:
    """The state of variant B: sums of the losses' gradients where they were met.

    Args:
        start: L_1, about which the regulariser is centred, shape (d, k).
        basis_gradient: ``sum_j eta g_j s_j'``, shape (d, k), with g the loss's gradient by the policy.
        code_gradient: ``sum_j eta L_j' g_j`` of each task, shape (n_tasks, k).
    """

    start: FloatArray
    basis_gradient: FloatArray
    code_gradient: FloatArray

    @classmethod
    def begin(cls, start: FloatArray, n_tasks: int) -> LinearisedStep:
        """Before the first round."""
        return cls(start.copy(), np.zeros_like(start), np.zeros((n_tasks, start.shape[1])))

    def observed(
        self, tasks: IntArray, gradients: FloatArray, basis: FloatArray, codes: FloatArray, eta: float
    ) -> LinearisedStep:
        """The sums after one more round.

        Args:
            tasks: which were observed, each once, shape (n,).
            gradients: of their losses by their policies as deployed, shape (n, d).
            basis: L of this round, shape (d, k).
            codes: of all tasks in this round, shape (n_tasks, k).
            eta: weight of the round; ``1 / sqrt(n_rounds)`` for the regret's bound.
        """
        code_gradient = self.code_gradient.copy()
        code_gradient[tasks] += eta * gradients @ basis
        gradient = self.basis_gradient + eta * gradients.T @ codes[tasks]
        return replace(self, basis_gradient=gradient, code_gradient=code_gradient)

    def __call__(
        self, sets: SafeSets, bounds: SpectralBounds, mu: Regulariser, fixed_basis: bool = False
    ) -> Projection:
        """Safe parameters after the gradients so far.

        Args:
            sets: the safe sets of all tasks observed so far.
            bounds: on the basis.
            mu: the regulariser.
            fixed_basis: the basis stays L_1.

        Raises:
            ProjectionError: the projection failed; the caller's parameters are as before.
        """
        basis = self.start if fixed_basis else self.start - self.basis_gradient / (2 * mu.mu2)
        return sets.project(basis, -self.code_gradient / (2 * mu.mu1), bounds)


def first_basis(d: int, k: int, bounds: SpectralBounds, directions: FloatArray | None = None) -> FloatArray:
    """A basis to start from, its singular values in the middle of the bounds.

    Args:
        d: number of policy parameters.
        k: number of columns, at most d.
        bounds: on the basis.
        directions: policies relative to their anchors, shape (n, d), whose leading directions are to be the basis's;
            default: the first k axes. Where there are fewer than k, the axes follow, as far as they add any.

    Returns:
        L, shape (d, k).
    """
    k = integer("n_basis", k, 1, d)
    scale = (bounds.p * bounds.q) ** 0.25
    if directions is None:
        return scale * np.eye(d, k)
    size = np.linalg.norm(directions, axis=0).max(initial=1.0)
    # The axes beside them turn no direction, but for its last digits, which runs that are known to the bit have so.
    columns = np.concatenate([directions.T, 1e-9 * size * np.eye(d)], axis=1)
    return np.asarray(scale * completed(leading_directions(columns, k), k), np.float64)
