"""Actor-critic policies over entities for PPO and A2C of Stable-Baselines3."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from lifelong_gym.agents.equivariant.distributions import HEADS, EntityDistribution
from lifelong_gym.agents.equivariant.networks import FlatNetwork, SetNetwork
from lifelong_gym.envs.spaces import EntityBox
from lifelong_gym.errors import as_float, one_of


class EntityPolicy(ActorCriticPolicy):
    """What both policies share: a score for each entity, and a distribution of shares or logits made of them.

    Args:
        observation_space: of the env.
        action_space: ``Box(0, 1, (m,))``, shares, or ``Box(-1, 1, (m,))``, logits.
        lr_schedule: as in SB3.
        head: distribution of actions: ``"logistic_normal"`` or ``"dirichlet"`` for shares, ``"logits"``, Gaussians, for
            logits; default: the one that fits, of shares the first.
        spread_init: log of the standard deviation, or with ``"dirichlet"`` of the concentration, before learning;
            default: 1, with ``"logits"`` -0.7. Rewards tell entities apart where actions are concentrated.
        **kwargs: as of `ActorCriticPolicy`; gSDE is none of the heads, and layers begin as PyTorch has them.

    Raises:
        ValueError: spaces of another kind, a head that doesn't fit the actions, or a bad number.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        head: str | None = None,
        spread_init: float | None = None,
        **kwargs: Any,
    ) -> None:
        """See the class."""
        self.head = fitting_head(action_space, head)
        kind = HEADS[self.head]
        self.spread_init = kind.spread_init if spread_init is None else as_float(spread_init)
        if not np.isfinite(self.spread_init):
            raise ValueError(f"`spread_init` must be a finite number. Received {spread_init!r}")
        if kwargs.get("use_sde"):
            raise ValueError("`use_sde` must be False: the heads draw by themselves. Received True")
        super().__init__(observation_space, action_space, lr_schedule, **{**kwargs, "ortho_init": False})

    @abstractmethod
    def _network(self, m: int) -> nn.Module:
        """From features to scores (n, m) and to the critic's features."""

    def _build_mlp_extractor(self) -> None:
        shape = self.action_space.shape
        assert shape is not None
        self.mlp_extractor = self._network(shape[0])  # type: ignore[assignment]

    def _build(self, lr_schedule: Schedule) -> None:
        self._build_mlp_extractor()
        self.action_dist = HEADS[self.head]()
        self.action_net = self.action_dist.proba_distribution_net()
        self.register_parameter(self.action_dist.spread_name, nn.Parameter(th.tensor([self.spread_init])))
        self.value_net = nn.Linear(self.mlp_extractor.latent_dim_vf, 1)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _get_action_dist_from_latent(self, latent_pi: th.Tensor) -> Distribution:
        assert isinstance(self.action_dist, EntityDistribution)
        return self.action_dist.proba_distribution(latent_pi, getattr(self, self.action_dist.spread_name))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "head": self.head, "spread_init": self.spread_init}


class EquivariantPolicy(EntityPolicy):
    """Permuting the entities permutes the actions and leaves the value: one encoder and one score for all of them.

    What is learned of an entity in one place holds in every other, and in tasks with other entities. The observation
    space must be an `EntityBox`, as that of families with `Entities` is; whoever is absent gets nothing and changes
    nothing. Numbers behind the entities, such as task features, are seen by all of them.

    Args:
        observation_space: an `EntityBox`.
        action_space: see `EntityPolicy`.
        lr_schedule: as in SB3.
        hidden: width of all layers.
        encoder: ``"feed_forward"``, or ``"rnn"`` over each entity's window.
        context: what a score sees of the other entities: ``"none"``, ``"mean"`` of their codes, or ``"attention"``.
        **kwargs: see `EntityPolicy`; ``net_arch`` and ``activation_fn`` have no meaning here.

    Raises:
        ValueError: see `EntityPolicy`; an observation space that isn't one of as many entities as actions.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        hidden: int = 32,
        encoder: str = "feed_forward",
        context: str = "none",
        **kwargs: Any,
    ) -> None:
        """See the class."""
        self.layers = {"hidden": hidden, "encoder": encoder, "context": context}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _network(self, m: int) -> SetNetwork:
        return SetNetwork(entities_of(self.observation_space, m), **self.layers)  # type: ignore[arg-type]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), **self.layers}


class FlatSimplexPolicy(EntityPolicy):
    """The same heads on an ordinary network over the flat observation: the control of `EquivariantPolicy`.

    It has to learn for every place anew what an entity there is worth. Layers are those of ``"MlpPolicy"``
    (``net_arch``, ``activation_fn``); where the observation space is an `EntityBox`, the absent get nothing.
    """

    def _network(self, m: int) -> FlatNetwork:
        layers = {"net_arch": self.net_arch, "activation_fn": self.activation_fn, "device": self.device}
        return FlatNetwork(self.observation_space, m, self.features_dim, **layers)


def entities_of(space: spaces.Space[Any], m: int) -> EntityBox:
    """The space, if it is one of m entities, or a `ValueError`."""
    if not isinstance(space, EntityBox) or space.m != m:
        raise ValueError(f"`observation_space` must be an EntityBox of {m} entities. Received {space!r}")
    return space


def fitting_head(action_space: spaces.Space[Any], head: str | None) -> str:
    """The head's name, or the first that fits the actions.

    Raises:
        ValueError: actions that are neither shares nor logits, an unknown head, or one for the others.
    """
    low = action_space.low.flat[0] if isinstance(action_space, spaces.Box) and len(action_space.shape) == 1 else None
    fitting = [name for name, kind in HEADS.items() if low == kind.low]
    if not isinstance(action_space, spaces.Box) or not fitting or (action_space.low != low).any():
        raise ValueError(f"`action_space` must be Box(0, 1, (m,)) or Box(-1, 1, (m,)). Received {action_space!r}")
    if head is None:
        return fitting[0]
    if one_of("head", head, HEADS) not in fitting:
        raise ValueError(f"`head` must be one of {', '.join(fitting)} for {action_space!r}. Received {head!r}")
    return head
