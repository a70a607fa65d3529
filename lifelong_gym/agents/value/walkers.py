"""Agents that walk through their rows' episodes: exploring, or following what is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.value.regressions import Regressions
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.wrappers import NodeRows, steps_left

ROUNDING = 1e-6  # of float32 rewards
Choose = Callable[[IntArray, IntArray, IntArray], IntArray]  # of agents, steps taken and observations: actions


@dataclass
class Walked:
    """The episodes of a round, all agents' one after another.

    Attributes:
        totals: their returns.
        lengths: their steps.
        n_steps: of all agents, also in episodes that didn't end.
    """

    totals: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    n_steps: int = 0

    @property
    def returns(self) -> FloatArray:
        """Shape (1, n_episodes)."""
        return np.array([self.totals], np.float64)

    @property
    def steps(self) -> IntArray:
        """Shape (1, n_episodes)."""
        return np.array([self.lengths], np.int64)


class Walkers:
    """One round of agents, each in a row of its own.

    Args:
        env: of our rows.
        rows: the row of each agent, shape (n_agents,).
        regressions: of the agents, which learn from what they do while they explore.
        reward_range: to be scaled to [0, 1].
    """

    def __init__(
        self, env: VecEnv, rows: IntArray, regressions: Regressions, reward_range: tuple[float, float]
    ) -> None:
        """Begin all agents' episodes anew."""
        self._env, self._rows, self._regressions = env, rows, regressions
        self._low, high = reward_range
        self._span = high - self._low
        n = len(rows)
        self.walked = Walked()
        self._seen: IntArray = np.asarray(env.reset(), np.int64)[rows]
        left = steps_left(env)
        self._has_budget = left is not None
        self._left = np.full(n, np.iinfo(np.int64).max if left is None else left // n)
        self._steps, self._totals = np.zeros(n, np.int64), np.zeros(n)

    def _of(self, agents: IntArray) -> NodeRows:
        rows = NodeRows(self._env.observation_space, self._env.action_space, self._rows[agents])
        rows.attach(self._env)
        return rows

    def explore(self, n_episodes: IntArray, beta: float) -> None:
        """Run so many episodes of each agent, shape (n_agents,), as far as there are steps; regressions learn of them.

        Raises:
            ValueError: a reward outside of the range.
        """
        known, going = self._regressions, np.flatnonzero(n_episodes > 0)
        known.replan(going, beta)
        known.begin(going, self._seen[going])
        left = n_episodes.copy()

        def learn(agents: IntArray, actions: IntArray, rewards: FloatArray, after: IntArray, over: BoolArray) -> None:
            came = self._steps[agents], self._seen[agents]
            known.observe(agents, *came, actions, self._scaled(rewards), after, over)

        def ended(agents: IntArray) -> None:
            left[agents] -= 1
            again = agents[left[agents] > 0]
            known.replan(again, beta)
            known.begin(again, self._seen[again])

        self._walk(left, lambda agents, steps, seen: known.actions(agents, steps, seen, beta), learn, ended)

    def follow(self, choose: Choose) -> None:
        """Spend the steps that are left of a budget; without one there are none to spend."""
        if self._has_budget:
            self._walk(self._left.copy(), choose, lambda *_: None, lambda _: None)

    def _walk(
        self,
        left: IntArray,
        choose: Choose,
        learn: Callable[..., None],
        ended: Callable[[IntArray], None],
    ) -> None:
        """Step those who have episodes and steps left, until nobody has."""
        agents = np.flatnonzero((left > 0) & (self._left > 0))
        while len(agents):
            rows, going = self._of(agents), np.ones(len(agents), np.bool_)
            while going.all():
                self._step(rows, agents, choose, learn, ended)
                going = (left[agents] > 0) & (self._left[agents] > 0)
            agents = agents[going]

    def _step(
        self,
        rows: NodeRows,
        agents: IntArray,
        choose: Choose,
        learn: Callable[..., None],
        ended: Callable[[IntArray], None],
    ) -> None:
        actions = choose(agents, self._steps[agents], self._seen[agents])
        observations, rewards, dones, infos = rows.step(actions)
        after = np.array(observations, np.int64)
        cut = np.zeros(len(agents), np.bool_)
        for i in np.flatnonzero(dones).tolist():
            after[i], cut[i] = infos[i]["terminal_observation"], infos[i]["TimeLimit.truncated"]
        learn(agents, actions, rewards, after, dones & ~cut)
        self._left[agents] -= 1
        self._steps[agents] += 1
        self._totals[agents] += rewards
        self._seen[agents] = np.asarray(observations, np.int64)
        self.walked.n_steps += len(agents)
        over = agents[dones]
        if len(over):
            self.walked.totals += self._totals[over].tolist()
            self.walked.lengths += self._steps[over].tolist()
            self._steps[over], self._totals[over] = 0, 0.0
            ended(over)

    def _scaled(self, rewards: FloatArray) -> FloatArray:
        scaled = (np.asarray(rewards, np.float64) - self._low) / self._span
        if scaled.min() < -ROUNDING or scaled.max() > 1.0 + ROUNDING:
            bounds = f"[{self._low:g}, {self._low + self._span:g}]"
            raise ValueError(
                f"rewards must be in `reward_range`, {bounds}. Received {rewards.min()} to {rewards.max()}"
            )
        return np.clip(scaled, 0.0, 1.0)
