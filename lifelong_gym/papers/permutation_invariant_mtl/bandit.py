"""Allocation whose optimum is known: what LSPI loses after so many examples, and what Theorem 1 promises of it."""

from __future__ import annotations

from copy import copy
from typing import Any, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from lifelong_gym import registry
from lifelong_gym.agents.equivariant.action_features import ActionFeatures, ShareFeatures
from lifelong_gym.agents.equivariant.lspi import Samples, policy_iteration
from lifelong_gym.benchmark.results import rounded
from lifelong_gym.envs.allocation.allocation import SMALLEST, Allocation
from lifelong_gym.envs.spaces import EntityBox
from lifelong_gym.numerics.arrays import FloatArray, IntArray
from lifelong_gym.papers.sweeps import Progress, Values

ID = "LifelongAllocation-v0"
GAMMA, RIDGE, ITERATIONS = 0.9, 1e-2, 15
TIED, PERMUTED = "tied", "permuted"
DELTA = 0.05  # with which probability the bound may fail


class Asked(ActionFeatures):
    """Features of a finite set of shares, and, behind it, of others that were tried but are no candidates."""

    def __init__(self, candidates: ShareFeatures, others: npt.NDArray[Any]) -> None:
        """See the class."""
        self._candidates, self._all = candidates, copy(candidates)
        self.actions, self.size = candidates.actions, candidates.size
        self._all.actions = np.concatenate([candidates.actions, others])

    def of(self, observations: npt.NDArray[Any], chosen: IntArray) -> FloatArray:
        """See `ActionFeatures`."""
        return self._all.of(observations, chosen)

    def values(self, observations: npt.NDArray[Any], theta: FloatArray) -> FloatArray:
        """See `ActionFeatures`; of the candidates alone."""
        return self._candidates.values(observations, theta)


def bound(
    n: int, epsilon: float, d: int, nu: float, r_max: float, k: int = ITERATIONS, gamma: float = GAMMA
) -> dict[str, float]:
    """Theorem 1 where next states are i.i.d. of the target distribution, so that all its concentrabilities are 1.

    Its terms of ``samples``, of which there are n, of the ``distance`` epsilon of the Bellman operators, and of the k
    ``iterations``; errors of approximation are left out in its favour. Of d features, each of size 1 at most, nu is the
    smallest eigenvalue of the Gram matrix; r_max is the largest reward.
    """
    outer, v_max = 2.0 / (1.0 - gamma) ** 2, r_max / (1.0 - gamma)
    drawn = np.sqrt(8.0 * np.log(8.0 * d * k / DELTA) / n) + 1.0 / n
    samples = (1.0 + gamma) * 2.0 / (1.0 - gamma) * gamma * v_max * np.sqrt(d / nu) * drawn
    terms = {"samples": samples, "distance": 3.0 * epsilon * np.sqrt(2.0), "iterations": gamma ** (k / 2 - 0.5) * r_max}
    return {name: float(outer * term) for name, term in terms.items()}


class Problem:
    """One task, a set of shares to choose from, and rows to draw examples in and to evaluate in."""

    def __init__(self, settings: Values) -> None:
        """Draw the task and evaluate its optimum."""
        self.settings, self.seed = settings, settings["seed"]
        self.preset = f"eps{settings['epsilon']:g}"
        self.task = registry.sample_tasks(ID, 1, self.seed, self.preset)
        self.family = cast(Allocation, registry.family(ID))
        self.temperatures = np.array([self.task[0][f"beta_{i + 1}"] for i in range(self.family.m)])
        silent = self.task.values.copy()
        silent[:, self.family.parameters.index("noise")] = 0.0
        tasks = type(self.task)(self.family.parameters, silent)
        self.rows = gym.make_vec(ID, num_envs=settings["n_states"], tasks=tasks, backend=settings["backend"])
        space = cast(EntityBox, self.rows.unwrapped.single_observation_space)
        self.features = ShareFeatures(space, settings["n_actions"], settings["features"] == TIED, self.seed)
        self.states = self.rows.reset(seed=self.seed + 1)[0]
        columns = self.family.parameters.columns(np.repeat(silent, len(self.states), axis=0))
        self.best = self.rewards(self.family.best_actions(columns, self.states, "worth"))

    def rewards(self, actions: npt.NDArray[Any]) -> FloatArray:
        """Without noise, in the states of the evaluation."""
        self.rows.reset(seed=self.seed + 1)
        return np.asarray(self.rows.step(np.asarray(actions, np.float32))[1], np.float64)

    def examples(self, n: int) -> Samples:
        """Real ones: any states, any of the shares, and noisy rewards."""
        rows = gym.make_vec(ID, num_envs=n, tasks=self.task, backend=self.settings["backend"])
        before, _ = rows.reset(seed=self.seed + 2)
        chosen = np.random.default_rng(self.seed).integers(len(self.features.actions), size=n)
        before = before.copy()
        after, rewards, *_ = rows.step(self.features.actions[chosen])
        return Samples(before, chosen, np.asarray(rewards, np.float64), after.copy(), np.zeros(n, bool))

    def permuted(self, real: Samples, n: int) -> tuple[Samples, npt.NDArray[Any]]:
        """The real ones, and copies until there are n, each with its entities in a random order; the copies' shares."""
        n_real, m = len(real.rewards), self.family.m
        copied = np.arange(n - n_real) % n_real
        order = np.random.default_rng([self.seed, 1]).permuted(np.tile(np.arange(m), (len(copied), 1)), axis=1)

        def moved(seen: npt.NDArray[Any]) -> npt.NDArray[Any]:
            blocks = seen[copied].reshape(len(copied), m, -1)
            return np.take_along_axis(blocks, order[..., None], axis=1).reshape(len(copied), -1)

        shares = np.take_along_axis(self.features.actions[real.actions[copied]], order, axis=1)
        chosen = len(self.features.actions) + np.arange(len(copied))
        before, after = moved(real.observations), moved(real.next_observations)
        copies = Samples(before, chosen, real.rewards[copied], after, np.zeros(len(copied), bool))
        return Samples.joined([real, copies], n), shares

    def lost(self, samples: Samples, features: ActionFeatures) -> FloatArray:
        """Reward less than the optimum of what LSPI makes of examples, in the states of the evaluation."""
        theta = policy_iteration(features, samples, np.zeros(features.size), GAMMA, RIDGE, ITERATIONS)
        greedy = features.values(self.states, theta).argmax(axis=1)
        return self.best - self.rewards(self.features.actions[greedy])

    def distance(self) -> float:
        """Of this task's Bellman operator from that of the average over all orders of its entities, at its largest."""
        shares = self.features.actions.astype(np.float64)
        bonus = -shares * np.log(np.maximum(shares, SMALLEST))
        return float(np.abs(bonus @ (self.temperatures - self.temperatures.mean())).max())


def measure(settings: Values, progress: Progress) -> dict[str, Any]:
    """Learn from ever more examples.

    Curves ``at`` so many: ``loss``, mean reward below the optimum, and ``value_error``, the norm of the discounted
    value that Theorem 1 is about. ``bounds``: the theorem's terms after all examples.
    """
    problem, sizes = Problem(settings), settings["sizes"]
    is_permuted = settings["features"] == PERMUTED
    samples, shares = problem.examples(sizes[0] if is_permuted else sizes[-1]), problem.features.actions[:0]
    if is_permuted:
        samples, shares = problem.permuted(samples, sizes[-1])
    features, losses = Asked(problem.features, shares), []
    for i, n in enumerate(sizes):
        losses.append(problem.lost(Samples(*(column[:n] for column in vars(samples).values())), features))
        progress((i + 1) / len(sizes))
    later = GAMMA / (1.0 - GAMMA) * np.mean(losses, axis=1, keepdims=True)
    seen = features.of(samples.observations, samples.actions)
    nu = float(np.linalg.eigvalsh(seen.T @ seen / len(seen))[0])
    return {
        "loss": {"at": sizes, "values": rounded(np.mean(losses, axis=1))},
        "value_error": {"at": sizes, "values": rounded(np.sqrt(np.square(losses + later).mean(axis=1)))},
        "bounds": bound(sizes[-1], problem.distance(), features.size, nu, float(problem.best.max())),
    }
