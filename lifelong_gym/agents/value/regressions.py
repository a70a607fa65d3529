"""What an agent knows of its task: sums over its transitions, from which values of any kind follow by least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lifelong_gym.agents.value.compiled import compiled
from lifelong_gym.agents.value.features import Arrays, DenseFeatures, Features
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Solution:
    """What least-squares value iteration makes of a summary.

    Attributes:
        theta: weights of each step, (horizon, *weights).
        gram: (horizon, *gram).
        value: of the first step, with the bonus; the mean over the starts.
    """

    theta: FloatArray
    gram: FloatArray
    value: float

    def packed(self, features: Features) -> Arrays:
        """To be sent; of a symmetric Gram matrix half is enough."""
        dense = isinstance(features, DenseFeatures)
        gram = self.gram[:, *np.triu_indices(self.gram.shape[1])] if dense else self.gram
        return {"theta": self.theta, "gram": gram}


@dataclass(frozen=True)
class Summary:
    """Sums over transitions by the step h that they were taken in; those of several agents in one task add up.

    Attributes:
        features: what they are of.
        gram: ``I + sum phi phi'``, (horizon, *gram).
        following: ``sum phi e'``, e the indicator of what was observed next, (horizon, *weights, n_obs).
        earned: ``sum phi r``, (horizon, *weights).
        starts: how often episodes began with each observation, (n_obs,).
        passed: whether anything was done at an observation, (n_obs,).
        ends: whether it ended an episode for good, (n_obs,).
    """

    features: Features
    gram: FloatArray
    following: FloatArray
    earned: FloatArray
    starts: FloatArray
    passed: BoolArray
    ends: BoolArray

    @property
    def horizon(self) -> int:
        """Steps of an episode."""
        return len(self.gram)

    def __add__(self, other: Summary) -> Summary:
        """Of both."""
        return Summary(
            self.features,
            self.gram + other.gram - self.features.identity(),
            self.following + other.following,
            self.earned + other.earned,
            self.starts + other.starts,
            self.passed | other.passed,
            self.ends | other.ends,
        )

    def planned(self, beta: float, nothing: float = 0.0) -> Solution:
        """Planning, algorithm 3: backwards, with bonuses, values at most the steps that are left to be paid.

        Args:
            beta: of the bonus.
            nothing: the reward of each step after an end.
        """
        horizon, after = self.horizon, np.zeros(self.features.n_obs)
        theta = np.zeros_like(self.earned)
        for h in reversed(range(horizon)):
            worth = np.where(self.ends, nothing * (horizon - h - 1), after)
            theta[h] = self.features.solve(self.gram[h], self.earned[h] + self.following[h] @ worth)
            after = bounded_values(self.features, theta[h], self.gram[h], beta, horizon).max(axis=1)
        starts = self.starts / max(self.starts.sum(), 1.0)
        return Solution(theta, self.gram, float(starts @ after))

    def distance(self, other: Summary) -> float:
        """``z``: how unlike the distributions of the next observation are that two summaries know.

        It is at most 1 for two summaries of one task, and above it of two tasks that are known well enough; infinite
        where an observation ends episodes in one task and not in the other.
        """
        if (self.ends & other.passed).any() or (other.ends & self.passed).any():
            return np.inf
        squared = weights = 0.0
        for mine, theirs in zip(self._steps(), other._steps(), strict=True):
            solved = [self.features.solve(gram, following) for gram, following in (mine, theirs)]
            counts = sum(following.reshape(-1, self.features.n_obs).sum(axis=0) for _, following in (mine, theirs))
            share = counts / max(float(counts.sum()), 1.0)
            found, known = self.features.apart((mine[0], theirs[0]), solved[0] - solved[1])
            squared, weights = squared + found, weights + known * (1.0 - float(share @ share))
        return (squared - weights) / np.sqrt(2.0 * weights) if weights > 0.0 else 0.0

    def _steps(self) -> Any:
        return zip(self.gram, self.following, strict=True)

    def packed(self, with_rewards: bool) -> Arrays:
        """To be sent: for `distance`, and ``with_rewards`` for planning."""
        marks: Arrays = {"passed": self.passed, "ends": self.ends}
        rewards: Arrays = {"earned": self.earned, "starts": self.starts} if with_rewards else {}
        return {**self.features.pack(self.gram, self.following), **marks, **rewards}

    @classmethod
    def unpacked(cls, features: Features, packed: Arrays) -> Summary:
        """What has been sent; without rewards these are 0."""
        gram, following = features.unpack(packed)
        earned = packed.get("earned", np.zeros(following.shape[:-1]))
        starts = packed.get("starts", np.zeros(features.n_obs))
        return cls(features, gram, following, earned, starts, packed["passed"], packed["ends"])


def bounded_values(features: Features, theta: FloatArray, gram: FloatArray, beta: float, horizon: int) -> FloatArray:
    """``min(phi theta + bonus, horizon)`` of one step, shape (n_obs, n_actions)."""
    bonus = np.minimum(beta * features.widths(gram), horizon)
    return np.minimum(features.values(theta) + bonus, float(horizon))


class Regressions:
    """Summaries of several agents that explore, kept up to date step by step.

    An episode costs the same however many there were before.

    Args:
        features: of observations and actions.
        n_agents: how many.
        horizon: steps of an episode.
    """

    def __init__(self, features: Features, n_agents: int, horizon: int) -> None:
        """Nothing is known."""
        self.features = features
        shape, n_obs = (n_agents, horizon), features.n_obs
        self._gram, self._inverse = np.empty((2, *shape, *features.gram))
        self._following = np.empty((*shape, *features.weights, n_obs))
        self._earned, self._theta = np.empty((2, *shape, *features.weights))
        self._order = np.zeros((*shape, n_obs), np.int64)
        self._n_seen = np.zeros(shape, np.int64)
        self._marks = np.zeros((n_agents, horizon + 2, n_obs), np.bool_)
        self._values = np.zeros((n_agents, horizon + 1, n_obs))
        self._starts = np.zeros((n_agents, n_obs))
        self._code = getattr(compiled(), features.name)
        self.forget(np.arange(n_agents))

    def forget(self, agents: IntArray) -> None:
        """Let these agents begin anew."""
        self._gram[agents] = self._inverse[agents] = self.features.identity()
        for array in (self._following, self._earned, self._theta, self._n_seen, self._marks, self._values):
            array[agents] = 0
        self._starts[agents] = 0.0

    def replan(self, agents: IntArray, beta: float) -> None:
        """Before these agents' next episodes: what exploring promises, algorithm 2."""
        inverse = self._gram if self.features.name == "tabular" else self._inverse
        known = self._following, self._order, self._n_seen
        self._code.replan(agents, self.features.phi, inverse, *known, beta, self._values, self._theta)

    def actions(self, agents: IntArray, steps: IntArray, seen: IntArray, beta: float) -> IntArray:
        """What these agents explore next, shape (n,), after so many steps at these observations."""
        inverse, actions = self._gram if self.features.name == "tabular" else self._inverse, np.zeros_like(seen)
        self._code.act(agents, steps, seen, self.features.phi, inverse, self._theta, beta, actions)
        return actions

    def begin(self, agents: IntArray, seen: IntArray) -> None:
        """Count the first observations of episodes."""
        self._starts[agents, seen] += 1.0

    def observe(
        self,
        agents: IntArray,
        steps: IntArray,
        seen: IntArray,
        actions: IntArray,
        rewards: FloatArray,
        after: IntArray,
        ended: BoolArray,
    ) -> None:
        """Add a step of each of these agents; arguments of shape (n,)."""
        sums = self._gram, self._inverse, self._following, self._earned
        listed = self._order, self._n_seen, self._marks
        self._code.observe(agents, steps, seen, actions, rewards, after, ended, self.features.phi, *sums, *listed)

    def summary(self, agent: int) -> Summary:
        """What an agent knows now, a copy."""
        horizon = self._gram.shape[1]
        passed, ends = self._marks[agent, horizon:].copy()
        sums = self._gram, self._following, self._earned, self._starts
        gram, following, earned, starts = (array[agent].copy() for array in sums)
        return Summary(self.features, gram, following, earned, starts, passed, ends)
