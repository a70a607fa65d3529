"""Other people's parallel envs as rows for Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pettingzoo.utils.env import ParallelEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from lifelong_gym.wrappers.bridge import Bridge


class ParallelVecEnv(Bridge):
    """A foreign ParallelEnv whose agents have equal spaces and all end in the same step."""

    def __init__(self, env: ParallelEnv[Any, Any, Any]) -> None:
        """Check the spaces.

        Raises:
            ValueError: agents with different spaces.
        """
        self.env = env
        self.agents = list(env.possible_agents)
        first = self.agents[0]
        for agent in self.agents[1:]:
            for kind in ("observation_space", "action_space"):
                if getattr(env, kind)(agent) != getattr(env, kind)(first):
                    raise ValueError(f"agents must have equal spaces; {agent!r} and {first!r} differ in {kind}")
        self.render_mode = getattr(env.unwrapped, "render_mode", None)
        super().__init__(len(self.agents), env.observation_space(first), env.action_space(first))

    def _attribute(self, name: str, row: int) -> Any:
        return getattr(self if hasattr(self, name) else self.env, name)

    def reset(self) -> Any:
        """Begin an episode of all agents; the first row's seed seeds the env."""
        observations, infos = self.env.reset(seed=self._seeds[0], options=self._options[0] or None)
        self._reset_seeds()
        self._reset_options()
        self._returns[:], self._lengths[:] = 0.0, 0
        self.reset_infos = [infos.get(agent, {}) for agent in self.agents]
        return self._stack(observations)

    def step_wait(self) -> VecEnvStepReturn:
        """Step all agents.

        Raises:
            ValueError: some agents ended and others did not.
        """
        actions = {agent: self._actions[i] for i, agent in enumerate(self.agents)}
        observations, rewards, terminated, truncated, agent_infos = self.env.step(actions)
        done = np.array([terminated[agent] or truncated[agent] for agent in self.agents])
        if done.any() and not done.all():
            ended = [agent for agent, flag in zip(self.agents, done, strict=True) if flag]
            raise ValueError(f"agents must all end in the same step; only {', '.join(map(str, ended))} did")
        row_rewards = np.array([rewards[agent] for agent in self.agents], np.float32)
        self._count(row_rewards)
        infos = [dict(agent_infos.get(agent, {})) for agent in self.agents]
        stacked = self._stack(observations)
        if done.all():
            for i, agent in enumerate(self.agents):
                infos[i]["terminal_observation"] = stacked[i]
                infos[i]["TimeLimit.truncated"] = truncated[agent] and not terminated[agent]
                infos[i]["episode"] = self._episode(i)
            stacked = self.reset()
        return stacked, row_rewards, done, infos

    def _stack(self, observations: dict[Any, Any]) -> npt.NDArray[Any]:
        return np.stack([observations[agent] for agent in self.agents])

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """The env's one frame."""
        return [self.env.render()]

    def close(self) -> None:
        """Close the env."""
        self.env.close()
