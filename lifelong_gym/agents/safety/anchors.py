"""Policies strictly inside their safe sets, about which a safe learner's policies vary.

A safe set can contain policies that don't stabilise their task, even on all of its boundary, and a learner that starts
from one may never recover. So anchors are tried in simulation before they are used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lifelong_gym.agents.safety.constraints import PolicyConstraints
from lifelong_gym.agents.safety.nearest import nearest
from lifelong_gym.envs.family import Constants, Family
from lifelong_gym.envs.rollout import rollout
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.directions import first_best
from lifelong_gym.references.lqr import Linearised, scale_of
from lifelong_gym.tasks.task_set import TaskSet

MIXES = (0.02, 0.1, 0.3, 0.6)  # shares of the centre in mixtures with policies on the boundary
N_STARTS = 8
EXTENSION = 2  # horizons that a stable policy has to last
CONTRACTION = 1e-5  # by which a step shrinks deviations at least; rounding tells no less from none, in double modes


class Verdict(NamedTuple):
    """What trials of m policies in each of n tasks gave.

    Attributes:
        costs: mean cost per step, shape (n, m).
        stable: whether the policies hold their tasks, shape (n, m).
    """

    costs: FloatArray
    stable: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RolloutTrial:
    """Runs policies without noise in a family's own simulation.

    Calling it with thetas of shape (n_tasks, m, d) gives their `Verdict`. A policy is stable if no trajectory fails
    within two horizons and, where the family has a goal, the closed loop linearised there contracts.

    Args:
        family: a kernel family with continuous actions.
        tasks: the tasks.
        reward: its name; default: that of the tasks' preset, or the family's first.
        bias: whether features end with the constant 1.
        horizon: steps; default: the family's.
        seed: of the start states.
        n_starts: start states a policy.
    """

    family: Family
    tasks: TaskSet
    reward: str | None = None
    bias: bool = True
    horizon: int | None = None
    seed: int = 0
    n_starts: int = N_STARTS

    def __call__(self, thetas: FloatArray) -> Verdict:
        """See the class."""
        horizon = self.horizon or self.family.horizon
        # Costs are those of an episode as it is learned; what only just lasts that long shows in a longer one.
        once, longer = self._ran(thetas, horizon), self._ran(thetas, EXTENSION * horizon)
        return Verdict(once.costs / horizon, longer.stable & self._contracts(thetas))

    def _contracts(self, thetas: FloatArray) -> npt.NDArray[np.bool_]:
        """Whether deviations from the goal die away, which saturated actuators hide in a simulation."""
        if "goal" not in Constants.of(self.family, self.tasks.values).groups:
            return np.ones(thetas.shape[:2], bool)
        tangent, scale = Linearised.of(self.family, self.tasks), scale_of(self.family)
        loops = [tangent.closed_loop(thetas[:, j], scale) for j in range(thetas.shape[1])]
        return np.stack([np.abs(np.linalg.eigvals(loop)).max(axis=1) < 1.0 - CONTRACTION for loop in loops], axis=1)

    def _ran(self, thetas: FloatArray, horizon: int) -> Verdict:
        """Costs of the whole, and which policies' trajectories all lived that long; all have the same starts."""
        ran = [
            rollout(
                self.family,
                tasks=self.tasks,
                theta=thetas[:, j],
                n_trajectories=self.n_starts,
                seed=self.seed,
                sigma=0.0,
                horizon=horizon,
                bias=self.bias,
                reward=self.reward,
            )
            for j in range(thetas.shape[1])
        ]
        alive = np.stack([(r.steps == horizon).all(axis=1) for r in ran], axis=1)
        return Verdict(-np.stack([r.returns.mean(axis=1) for r in ran], axis=1), alive)


class Anchors(NamedTuple):
    """The chosen policies.

    Attributes:
        thetas: strictly inside the safe sets, shape (n_tasks, d).
        stable: whether the trial found them so, shape (n_tasks,).
        costs: mean cost per step, shape (n_tasks,).
        sources: which candidates they are.
    """

    thetas: FloatArray
    stable: npt.NDArray[np.bool_]
    costs: FloatArray
    sources: tuple[str, ...]


def choose_anchors(
    constraints: Sequence[PolicyConstraints],
    trial: Callable[[FloatArray], Verdict],
    start: FloatArray,
    nominal: FloatArray | None = None,
    *,
    mixes: Sequence[float] = MIXES,
    first: int = 0,
) -> Anchors:
    """The cheapest stable policy of each task among a few in its safe set.

    Candidates are the set's Chebyshev centre, and mixtures of it with the nearest safe policies to where learning would
    start and to a nominal regulator (`lqr_policies` of the family's nominal task).

    Args:
        constraints: of each task.
        trial: judges candidates, as `RolloutTrial` does.
        start: where learning would start, shape (n_tasks, d) or (d,).
        nominal: a policy of the nominal task, shape (n_tasks, d) or (d,); default: none.
        mixes: shares of the centre, in (0, 1).
        first: index of the first task, by which errors and warnings name them.

    Returns:
        The anchors. Where no candidate is stable, the cheapest, and a `UserWarning` names the tasks: their safe sets
        may contain unstable policies only.

    Raises:
        InfeasibleConstraintsError: a safe set is empty.
        ValueError: a singular matrix, an unbounded set, or arguments of the wrong shape.
    """
    # A policy on the boundary leaves no room to vary in, and the centre may be far from anything good; in between lie
    # policies that are safe with a margin, nearer to what is wanted the smaller the centre's share.
    middles = np.stack([c.centre(task)[0] for task, c in enumerate(constraints, first)])
    candidates, names = [middles], ["centre"]
    for name, wanted in (("start", start), ("nominal", nominal)):
        if wanted is not None:
            candidates += _mixtures(constraints, middles, _policies(name, wanted, middles.shape), mixes)
            names += [f"{name}, {share:g} of the centre" for share in mixes]
    thetas = np.stack(candidates, axis=1)
    verdict = trial(thetas)
    if verdict.costs.shape != thetas.shape[:2] or verdict.stable.shape != thetas.shape[:2]:
        raise ValueError(f"`trial` must give verdicts of shape {thetas.shape[:2]}. Received {verdict.costs.shape}")
    inside = [[c.holds_strictly(theta) for theta in row] for c, row in zip(constraints, thetas, strict=True)]
    # By strict safety first, which the centre has, then by stability, then by cost: the first of those that cost the
    # same. A diverged one comes last.
    rank = 2 * np.array(inside) + verdict.stable
    costs = np.where(np.isfinite(verdict.costs), verdict.costs, np.finfo(np.float64).max / 2)
    best = first_best(np.where(rank == rank.max(axis=1, keepdims=True), -costs, -np.inf))
    tasks = np.arange(len(best))
    chosen = Anchors(
        thetas[tasks, best], verdict.stable[tasks, best], verdict.costs[tasks, best], tuple(names[i] for i in best)
    )
    if not chosen.stable.all():
        warnings.warn(_complaint(chosen, first), stacklevel=2)
    return chosen


def _mixtures(
    constraints: Sequence[PolicyConstraints], middles: FloatArray, wanted: FloatArray, mixes: Sequence[float]
) -> list[FloatArray]:
    if not mixes or not all(0.0 < share < 1.0 for share in mixes):
        raise ValueError(f"`mixes` must be numbers between 0 and 1. Received {mixes}")
    edge = np.stack([_nearest(c, theta) for c, theta in zip(constraints, wanted, strict=True)])
    return [share * middles + (1.0 - share) * edge for share in mixes]


def _nearest(constraints: PolicyConstraints, theta: FloatArray) -> FloatArray:
    return nearest(theta[None], constraints.matrix[None], constraints.bound[None]).points[0]


def _policies(name: str, wanted: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    policies = np.asarray(wanted, np.float64)
    if policies.shape not in (shape, shape[1:]) or not np.isfinite(policies).all():
        raise ValueError(f"`{name}` must be finite, of shape {shape} or {shape[1:]}. Received {policies}")
    return np.broadcast_to(policies, shape)


def _complaint(anchors: Anchors, first: int) -> str:
    tasks = ", ".join(str(first + t) for t in np.flatnonzero(~anchors.stable))
    return (
        f"no stable policy was found in the safe sets of tasks {tasks}: every candidate failed or drifted away in "
        "simulation. Learning there is safe as the constraints say, but may never control the task"
    )
