"""What an exploring agent's episode costs, beside recomputing everything from all transitions: ``make bench``."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from lifelong_gym.agents.value.features import DenseFeatures
from lifelong_gym.agents.value.regressions import Regressions
from lifelong_gym.envs.tabular.linear_models import LinearModels
from lifelong_gym.numerics.arrays import FloatArray, IntArray

MODELS = LinearModels(d=10, n_states=20, n_actions=4, n_stages=5)
BETA, MANY, PAIRS = 0.3, 1000, 15
ALONE: IntArray = np.zeros(1, np.int64)


class Agent:
    """Explores one task, and remembers all its transitions."""

    def __init__(self) -> None:
        """At the beginning."""
        transitions, self._rewards = MODELS.process(3, 2.5, 0.25)
        self._below, self._rng = np.cumsum(transitions, axis=-1), np.random.default_rng(0)
        phi = np.tile(MODELS.features(), (MODELS.n_stages + 1, 1, 1))
        self.known = Regressions(DenseFeatures(phi), 1, MODELS.n_stages)
        self.phi = MODELS.features()
        self.past = np.zeros((MODELS.n_stages, 50 * MANY, 3), np.int64)  # state, action, next state
        self.n_episodes = 0

    def episode(self) -> None:
        """Plan, and take five steps: what is timed, but for the environment's own numbers."""
        self.known.replan(ALONE, BETA)
        state = 0
        for h in range(MODELS.n_stages):
            at, seen = ALONE + h, ALONE + (h * MODELS.n_states + state)
            (action,) = self.known.actions(ALONE, at, seen, BETA)
            after = int((self._rng.random() >= self._below[h, state, action, :-1]).sum())
            self.past[h, self.n_episodes % len(self.past[h])] = state, action, after
            reward, ended = self._rewards[h, state, action], h + 1 == MODELS.n_stages
            following = ALONE + ((h + 1) * MODELS.n_states + after)
            self.known.observe(
                ALONE, at, seen, ALONE + action, np.array([reward]), following, np.array([ended], np.bool_)
            )
            state = after
        self.n_episodes += 1

    def literal(self) -> FloatArray:
        """Algorithm 2, lines 5 to 11, as it is printed: the values of the first step, (n_states, n_actions)."""
        values, q = np.zeros(MODELS.n_states), np.zeros(self.phi.shape[:2])
        for h in reversed(range(MODELS.n_stages)):
            states, actions, after = self.past[h, : self.n_episodes].T
            rows = self.phi[states, actions]
            gram = np.eye(MODELS.d) + rows.T @ rows
            inverse = np.linalg.inv(gram)
            theta = inverse @ (rows.T @ values[after])
            width = np.sqrt(np.einsum("sad,de,sae->sa", self.phi, inverse, self.phi, optimize=True))
            bonus = np.minimum(BETA * width, MODELS.n_stages)
            q = np.minimum(self.phi @ theta + bonus + bonus / MODELS.n_stages, MODELS.n_stages)
            values = q.max(axis=1)
        return q


def seconds(work: Any) -> float:
    """CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def test_an_episode_beside_recomputation(benchmark: Any) -> None:
    """After a thousand episodes, and after a hundred; measured in turns."""
    agent, young = Agent(), Agent()
    for _ in range(100):
        young.episode()
    for _ in range(MANY):
        agent.episode()
    rounds = [(seconds(agent.episode), seconds(agent.literal), seconds(young.episode)) for _ in range(10 * PAIRS)]
    own, literal, early = (float(np.median(column)) for column in zip(*rounds, strict=True))
    print(f"{own / literal:.2f} of recomputation, {own / early:.2f} of the hundredth episode")
    benchmark.extra_info["of recomputation"] = own / literal
    benchmark(agent.episode)
