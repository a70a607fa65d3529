"""The policies of all tasks that are known, and which of them each agent follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.common.utils import is_vectorized_observation

from lifelong_gym.agents.value.features import DenseFeatures, Features, OneHotFeatures
from lifelong_gym.agents.value.regressions import Solution, bounded_values
from lifelong_gym.numerics.arrays import IntArray


class LookupPolicy(BasePolicy):
    """The paper's table F: of each known task the weights and Gram matrices that its greedy policy is made of.

    Policies depend on the steps taken in an episode, which `predict` counts in the state that it returns, as recurrent
    policies of SB3's do: hand it on, with ``episode_start``. Without a state an episode has just begun. An agent that
    knows no task yet takes the first action.

    Args:
        observation_space: ``Discrete``.
        action_space: ``Discrete``.
        lr_schedule: not used; part of Stable-Baselines3's signature.
        horizon: steps of an episode.
        n_agents: row i of a batch is of agent ``i mod n_agents``.
        n_labels: tasks that are known.
        d: numbers of a feature vector; 0: one-hot.
        beta: of the bonus.

    Attributes:
        theta: float64, (n_labels, horizon, *weights).
        gram: float64, (n_labels, horizon, *gram).
        labels: int64, (n_agents,): of the task each agent is taken to be in; -1: none.
        phi: the features, (n_obs, n_actions, d), empty where these are one-hot.
    """

    theta: th.Tensor
    gram: th.Tensor
    labels: th.Tensor
    phi: th.Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule | None = None,
        *,
        horizon: int,
        n_agents: int,
        n_labels: int = 0,
        d: int = 0,
        beta: float = 0.3,
    ) -> None:
        """See the class."""
        del lr_schedule
        super().__init__(observation_space, action_space)
        assert isinstance(observation_space, spaces.Discrete)
        assert isinstance(action_space, spaces.Discrete)
        self.arguments = {"horizon": horizon, "n_agents": n_agents, "n_labels": n_labels, "d": d, "beta": beta}
        n_obs, n_actions = int(observation_space.n), int(action_space.n)
        weights, gram = ((d,), (d, d)) if d else ((n_obs, n_actions),) * 2
        self.register_buffer("theta", th.zeros((n_labels, horizon, *weights), dtype=th.float64))
        self.register_buffer("gram", th.ones((n_labels, horizon, *gram), dtype=th.float64))
        self.register_buffer("labels", th.full((n_agents,), -1, dtype=th.int64))
        self.register_buffer("phi", th.zeros((n_obs, n_actions, d) if d else (0,), dtype=th.float64))
        self._actions: IntArray = np.zeros((n_labels, horizon, n_obs), np.int64)

    def with_features(self, features: Features) -> LookupPolicy:
        """The same, of these features."""
        if self.arguments["d"]:
            self.phi.copy_(th.from_numpy(features.phi.copy()))
        return self

    @property
    def features(self) -> Features:
        """What the weights are of."""
        if self.arguments["d"]:
            return DenseFeatures(self.phi.numpy())
        return OneHotFeatures(self._actions.shape[2], int(self.action_space.n))  # type: ignore[attr-defined]

    @property
    def table(self) -> IntArray:
        """The actions of each task, by the steps taken and the observation, (n_labels, horizon, n_obs)."""
        return self._actions

    def refresh(self) -> None:
        """Let actions follow from weights."""
        for label in range(len(self.theta)):
            self._actions[label] = self.greedy(self.theta[label].numpy(), self.gram[label].numpy())

    def greedy(self, theta: npt.NDArray[np.float64], gram: npt.NDArray[np.float64]) -> IntArray:
        """The actions of a plan, by the steps taken and the observation, shape (horizon, n_obs)."""
        beta, horizon, features = float(self.arguments["beta"]), int(self.arguments["horizon"]), self.features
        steps = [bounded_values(features, *step, beta, horizon) for step in zip(theta, gram, strict=True)]
        return np.array([values.argmax(axis=1) for values in steps], np.int64)

    def learned(self, plans: Sequence[Solution], labels: IntArray) -> None:
        """Add the tasks of these plans; agents are in the tasks of ``labels`` from now on, shape (n_agents,)."""
        with th.no_grad():
            self.labels.copy_(th.from_numpy(labels))
        if not plans:
            return
        for name in ("theta", "gram"):
            added = th.from_numpy(np.stack([getattr(plan, name) for plan in plans]))
            self.register_buffer(name, th.cat([getattr(self, name), added]))
        new = np.stack([self.greedy(plan.theta, plan.gram) for plan in plans])
        self._actions = np.concatenate([self._actions, new])
        self.arguments["n_labels"] = len(self._actions)

    def of_label(self, label: int) -> LookupPolicy:
        """The policy of one task alone, a copy, for any row of a batch; -1: of none."""
        arguments: dict[str, Any] = {**self.arguments, "n_agents": 1, "n_labels": int(label >= 0)}
        policy = LookupPolicy(self.observation_space, self.action_space, **arguments).with_features(self.features)
        if label >= 0:
            policy.theta.copy_(self.theta[label][None])
            policy.gram.copy_(self.gram[label][None])
            policy.labels.zero_()
            policy.refresh()
        return policy

    def actions_of(self, agents: IntArray, steps: IntArray, seen: IntArray) -> IntArray:
        """What agents do after so many steps at these observations, each of shape (n,)."""
        labels = self.labels.numpy()[agents]
        if not len(self._actions):
            return np.zeros(len(agents), np.int64)
        chosen = self._actions[np.maximum(labels, 0), np.minimum(steps, self._actions.shape[1] - 1), seen]
        return np.where(labels < 0, 0, chosen)

    def predict(
        self,
        observation: npt.NDArray[Any] | dict[str, npt.NDArray[Any]],
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Actions, and the steps taken then; all are deterministic.

        Raises:
            ValueError: a number of rows that isn't a multiple of that of agents.
        """
        seen, n = np.asarray(observation), self.arguments["n_agents"]
        batch = is_vectorized_observation(seen, self.observation_space)
        rows = np.atleast_1d(seen).astype(np.int64)
        if len(rows) % n:
            raise ValueError(
                f"`observation` must have one row for each of the {n} agents (or a multiple of that). "
                f"Received {len(rows)}. To act as agent i alone, use `model.for_agent(i)`"
            )
        steps = np.zeros(len(rows), np.int64) if state is None else np.array(state[0], np.int64)
        if episode_start is not None:
            steps[np.asarray(episode_start, bool)] = 0
        actions = self.actions_of(np.arange(len(rows)) % int(n), steps, rows).astype(self.action_space.dtype)
        return (actions if batch else actions[0]), (steps + 1,)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        assert isinstance(observation, th.Tensor)
        return th.as_tensor(self.predict(observation.cpu().numpy(), deterministic=deterministic)[0])

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {"observation_space": self.observation_space, "action_space": self.action_space, **self.arguments}
