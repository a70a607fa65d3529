"""What policies for many tasks have in common: they see which task they are in, and may have gradients operated on."""

from __future__ import annotations

from typing import Any, ClassVar

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.sac.policies import Actor, SACPolicy

from lifelong_gym.agents.contract.checks import flag
from lifelong_gym.agents.deep.multi_task.networks import checked_tasks
from lifelong_gym.agents.deep.multi_task.pcgrad import by_task


class TaskPolicy(ActorCriticPolicy):
    """Actor and critic for PPO, of observations that end in a column for each task.

    Args:
        observation_space: a vector, (width,), whose last ``n_tasks`` columns are the task, one-hot.
        action_space: as in SB3.
        lr_schedule: as in SB3.
        n_tasks: how many there are.
        pcgrad: whether tasks' gradients are brought together by `surgery`.
        **kwargs: as of `ActorCriticPolicy`, but ``use_sde`` and other extractors of features.

    Raises:
        ValueError: other observations, or an argument that doesn't go with them.
    """

    own: ClassVar[tuple[str, ...]] = ()  # what names of parameters begin with that aren't shared by tasks

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        n_tasks: int,
        pcgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        """See the class."""
        self.n_tasks = checked_tasks(n_tasks, observation_space, kwargs)
        self.pcgrad = flag("pcgrad", pcgrad)
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def evaluate_actions(self, obs: PyTorchObs, actions: th.Tensor) -> tuple[th.Tensor, th.Tensor, th.Tensor | None]:
        """Values, log densities and entropies of a batch, each of shape (n,) or (n, 1)."""
        assert isinstance(obs, th.Tensor)
        if not self.pcgrad:
            return super().evaluate_actions(obs, actions)
        method: Any = super().evaluate_actions
        values, log_prob, entropy = by_task(self, method, obs[:, -self.n_tasks :], (obs, actions), self.own)
        return values, log_prob, entropy

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "n_tasks": self.n_tasks, "pcgrad": self.pcgrad}


class TaskActor(Actor):
    """SAC's actor, of such observations.

    Args:
        n_tasks: see `TaskPolicy`.
        pcgrad: see `TaskPolicy`.
        **kwargs: as of `Actor`.
    """

    own: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, n_tasks: int, pcgrad: bool, **kwargs: Any) -> None:
        """See the class."""
        super().__init__(**kwargs)
        self.n_tasks, self.pcgrad = n_tasks, pcgrad

    def action_log_prob(self, obs: PyTorchObs) -> tuple[th.Tensor, th.Tensor]:
        """Actions in [-1, 1], (n, m), and their log density, (n,)."""
        assert isinstance(obs, th.Tensor)
        if not self.pcgrad:
            return super().action_log_prob(obs)
        method: Any = super().action_log_prob
        actions, log_prob = by_task(self, method, obs[:, -self.n_tasks :], (obs,), self.own)
        return actions, log_prob


class TaskCritic(ContinuousCritic):
    """SAC's critics, of such observations and actions.

    Args:
        n_tasks: see `TaskPolicy`.
        pcgrad: see `TaskPolicy`.
        **kwargs: as of `ContinuousCritic`.
    """

    own: tuple[str, ...] = ()

    def __init__(self, *, n_tasks: int, pcgrad: bool, **kwargs: Any) -> None:
        """See the class."""
        super().__init__(**kwargs)
        self.n_tasks, self.pcgrad = n_tasks, pcgrad

    def forward(self, obs: th.Tensor, actions: th.Tensor) -> tuple[th.Tensor, ...]:
        """A value of each critic, (n, 1); where the actor asks, through its actions, critics don't learn."""
        if not self.pcgrad or actions.requires_grad:
            return super().forward(obs, actions)
        return by_task(self, super().forward, obs[:, -self.n_tasks :], (obs, actions), self.own)


class TaskSACPolicy(SACPolicy):
    """Actor and critics for SAC, of observations that end in a column for each task.

    Args:
        observation_space: see `TaskPolicy`.
        action_space: as in SB3.
        lr_schedule: as in SB3.
        n_tasks: see `TaskPolicy`.
        pcgrad: see `TaskPolicy`; the actor's and the critics' gradients are operated on apart.
        **kwargs: as of `SACPolicy`, but ``use_sde`` and other extractors of features.

    Raises:
        ValueError: see `TaskPolicy`.
    """

    actor_class: ClassVar[type[TaskActor]]
    critic_class: ClassVar[type[TaskCritic]]

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *,
        n_tasks: int,
        pcgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        """See the class."""
        self.n_tasks = checked_tasks(n_tasks, observation_space, kwargs)
        self.pcgrad = flag("pcgrad", pcgrad)
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> TaskActor:
        """The actor."""
        given = self._update_features_extractor(self.actor_kwargs, features_extractor)
        return self.actor_class(**given, **self._of_tasks()).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> TaskCritic:
        """The critics, or their targets."""
        given = self._update_features_extractor(self.critic_kwargs, features_extractor)
        return self.critic_class(**given, **self._of_tasks()).to(self.device)

    def _of_tasks(self) -> dict[str, Any]:
        """Arguments of actor and critics that SB3's don't have."""
        return {"n_tasks": self.n_tasks, "pcgrad": self.pcgrad}

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), **self._of_tasks()}
