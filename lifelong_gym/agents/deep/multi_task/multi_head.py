"""Policies with a body that all tasks share, which doesn't see the task, and a head for each task."""

from __future__ import annotations

from typing import Any, ClassVar

import torch as th
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn
from torch.distributions import Normal

from lifelong_gym.agents.contract.checks import optional, within
from lifelong_gym.agents.deep.multi_task.networks import Beside, Heads, chosen
from lifelong_gym.agents.deep.multi_task.policies import TaskActor, TaskCritic, TaskPolicy, TaskSACPolicy
from lifelong_gym.agents.deep.multi_task.popart import PopArt, ReturnStatistics


def checked_rate(value: float | None) -> float | None:
    """PopArt's step size, or None.

    Raises:
        ValueError: it isn't in (0, 1].
    """
    rate = optional(lambda name, given: within(name, given, 0.0, 1.0))("popart", value)
    if rate == 0.0:
        raise ValueError(f"`popart` must be above 0. Received {value!r}")
    return None if rate is None else float(rate)


class MultiHeadPolicy(TaskPolicy):
    """`TaskPolicy` with SB3's networks as bodies, and for each task a layer of actions, one of values, and a spread.

    All heads begin alike, so that at first, whatever the task, it is SB3's ``MlpPolicy`` of what isn't the task.

    Args:
        *args: as of `TaskPolicy`.
        popart: beta in (0, 1] of `PopArt`; None: heads of values are on the scale of returns.
        **kwargs: as of `TaskPolicy`.

    Raises:
        ValueError: see `TaskPolicy`.
    """

    own: ClassVar[tuple[str, ...]] = ("action_net.", "value_net.", "log_std")

    def __init__(self, *args: Any, popart: float | None = None, **kwargs: Any) -> None:
        """See the class."""
        self.popart = checked_rate(popart)
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.features_dim -= self.n_tasks
        super()._build_mlp_extractor()
        bodies = self.mlp_extractor
        bodies.policy_net = Beside(bodies.policy_net, self.features_dim, self.n_tasks)  # type: ignore[assignment]
        bodies.value_net = Beside(bodies.value_net, self.features_dim, self.n_tasks)  # type: ignore[assignment]

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        assert isinstance(self.action_net, nn.Linear)
        self.action_net = Heads(self.action_net, self.n_tasks)
        heads = Heads(self.value_net, self.n_tasks)
        values: Any = heads if self.popart is None else PopArt(heads, self.popart)
        self.value_net = values
        if isinstance(self.action_dist, DiagGaussianDistribution):
            self.log_std = nn.Parameter(self.log_std.detach().repeat(self.n_tasks, 1))
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _get_action_dist_from_latent(self, latent_pi: th.Tensor) -> Distribution:
        if not isinstance(self.action_dist, DiagGaussianDistribution):
            return super()._get_action_dist_from_latent(latent_pi)
        means = self.action_net(latent_pi)
        spreads = th.ones_like(means)[:, None] * self.log_std.exp()
        self.action_dist.distribution = Normal(means, chosen(spreads, latent_pi[:, -self.n_tasks :]))
        return self.action_dist

    def evaluate_actions(self, obs: PyTorchObs, actions: th.Tensor) -> tuple[th.Tensor, th.Tensor, th.Tensor | None]:
        """As of `TaskPolicy`, but that with PopArt, values are on the heads' scale, where they are learned."""
        values, log_prob, entropy = super().evaluate_actions(obs, actions)
        if isinstance(self.value_net, PopArt):
            assert isinstance(obs, th.Tensor)
            tasks = obs[:, -self.n_tasks :].argmax(dim=1)
            values = self.value_net.normalised(values.flatten(), tasks)[:, None]
        return values, log_prob, entropy

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "popart": self.popart}


class MultiHeadActor(TaskActor):
    """SAC's actor, with a layer of means and one of spreads for each task.

    Args:
        features_dim: width of the features, the task's columns included.
        **kwargs: as of `TaskActor`.
    """

    own: ClassVar[tuple[str, ...]] = ("mu.", "log_std.")

    def __init__(self, *, features_dim: int, **kwargs: Any) -> None:
        """See the class."""
        n_tasks = kwargs["n_tasks"]
        width = features_dim - n_tasks
        super().__init__(features_dim=width, **kwargs)
        self.latent_pi = Beside(self.latent_pi, width, n_tasks)  # type: ignore[assignment]
        assert isinstance(self.mu, nn.Linear)
        assert isinstance(self.log_std, nn.Linear)
        self.mu, self.log_std = Heads(self.mu, n_tasks), Heads(self.log_std, n_tasks)


class MultiHeadCritic(TaskCritic):
    """SAC's critics, with a last layer for each task.

    Args:
        features_dim: width of the features, the task's columns included.
        **kwargs: as of `TaskCritic`.

    Attributes:
        heads: of each critic.
    """

    def __init__(self, *, features_dim: int, **kwargs: Any) -> None:
        """See the class."""
        n_tasks = kwargs["n_tasks"]
        width = features_dim - n_tasks
        super().__init__(features_dim=width, **kwargs)
        self.heads: list[Heads] = []
        for k, network in enumerate(self.q_networks):
            assert isinstance(network, nn.Sequential)
            last = network[-1]
            assert isinstance(last, nn.Linear)
            self.heads.append(Heads(last, n_tasks))
            self.q_networks[k] = nn.Sequential(Beside(network[:-1], width, n_tasks), self.heads[-1])
            self.add_module(f"qf{k}", self.q_networks[k])
        self.own = tuple(f"qf{k}.1." for k in range(len(self.heads)))


class MultiHeadSACPolicy(TaskSACPolicy):
    """`TaskSACPolicy` with SB3's networks as bodies, and for each task a last layer of actor and critics.

    All heads begin alike, as `MultiHeadPolicy`'s do.

    Args:
        *args: as of `TaskSACPolicy`.
        popart: beta in (0, 1] of `ReturnStatistics`; None: there are none.
        **kwargs: as of `TaskSACPolicy`.

    Attributes:
        statistics: of returns; None: there are none.

    Raises:
        ValueError: see `TaskPolicy`.
    """

    actor_class = MultiHeadActor
    critic_class = MultiHeadCritic
    critic: MultiHeadCritic
    critic_target: MultiHeadCritic

    def __init__(self, *args: Any, popart: float | None = None, **kwargs: Any) -> None:
        """See the class."""
        self.popart = checked_rate(popart)
        super().__init__(*args, **kwargs)
        self.statistics = None if self.popart is None else ReturnStatistics(self.n_tasks, self.popart)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "popart": self.popart}
