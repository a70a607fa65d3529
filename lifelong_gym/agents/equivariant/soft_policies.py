"""Actor and critics over entities for SAC of Stable-Baselines3."""

from __future__ import annotations

import math
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from lifelong_gym.agents.equivariant.distributions import HEADS, EntityDistribution
from lifelong_gym.agents.equivariant.networks import SetNetwork, SetValue
from lifelong_gym.agents.equivariant.policies import entities_of, fitting_head
from lifelong_gym.errors import as_float, integer

SPREADS = (-5.0, 3.0)  # logs of spreads stay within; where gradients would run away


class EntityActor(BasePolicy):
    """Shares ``a`` as SAC has actions, ``2 a - 1``, with their density; the spread is a function of the summary.

    Args:
        observation_space: an `EntityBox`.
        action_space: shares.
        head: name of the distribution.
        spread_init: log of its spread at first.
        layers: arguments of `SetNetwork`.
        **kwargs: as of `BasePolicy`.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        head: str,
        spread_init: float,
        layers: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """See the class."""
        super().__init__(observation_space, action_space, squash_output=True, **kwargs)
        assert action_space.shape is not None
        self.network = SetNetwork(entities_of(observation_space, action_space.shape[0]), **layers)
        self.action_dist = HEADS[head]()
        self.spread = nn.Linear(self.network.latent_dim_vf, 1)
        with th.no_grad():
            self.spread.weight.zero_()
            self.spread.bias.fill_(spread_init)

    def get_distribution(self, obs: PyTorchObs) -> EntityDistribution:
        """Of shares."""
        scores, summary = self.network(self.extract_features(obs, self.features_extractor))
        return self.action_dist.proba_distribution(scores, self.spread(summary).clamp(*SPREADS))

    def forward(self, obs: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        """Actions in [-1, 1], shape (n, m)."""
        return 2.0 * self.get_distribution(obs).get_actions(deterministic) - 1.0

    def action_log_prob(self, obs: PyTorchObs) -> tuple[th.Tensor, th.Tensor]:
        """Actions in [-1, 1], shape (n, m), through which gradients flow, and their log density, shape (n,)."""
        distribution = self.get_distribution(obs)
        shares = distribution.rsample()
        stretched = (distribution.n_present - 1) * math.log(2.0)
        return 2.0 * shares - 1.0, distribution.log_prob(shares) - stretched

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        actions: th.Tensor = self(observation, deterministic)
        return actions


class EntityCritic(BaseModel):
    """Values of observations and actions in [-1, 1], which stay the same when entities are permuted.

    Args:
        observation_space: an `EntityBox`.
        action_space: shares.
        n_critics: how many.
        layers: arguments of `SetValue`.
        **kwargs: as of `BaseModel`.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        n_critics: int,
        layers: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """See the class."""
        super().__init__(observation_space, action_space, **kwargs)
        assert action_space.shape is not None
        space = entities_of(observation_space, action_space.shape[0])
        self.values = nn.ModuleList([SetValue(space, **layers) for _ in range(n_critics)])

    def forward(self, obs: th.Tensor, actions: th.Tensor) -> tuple[th.Tensor, ...]:
        """A value of each critic, shapes (n, 1)."""
        assert self.features_extractor is not None
        features = self.extract_features(obs, self.features_extractor)
        weights = (0.5 * (actions + 1.0)).clamp_min(0.0)
        return tuple(value(features, weights) for value in self.values)


class EquivariantSACPolicy(SACPolicy):
    """`EquivariantPolicy` for SAC: shares from scores that are permuted as entities are, critics that stay the same.

    Critics see of each entity its channels and its share, so that both halves of the symmetry are used. The density of
    shares is exact. That of uniform ones has the entropy ``(m - 1) log 2 - log (m - 1)!``, and SAC's
    ``target_entropy`` must lie below it, as Stable-Baselines3's default of ``-m`` does for up to 14 entities.

    Args:
        observation_space: an `EntityBox`.
        action_space: ``Box(0, 1, (m,))``, shares.
        lr_schedule: as in SB3.
        head: ``"logistic_normal"`` or ``"dirichlet"``; default: the first.
        spread_init: see `EntityPolicy`.
        hidden: width of all layers.
        encoder: ``"feed_forward"``, or ``"rnn"`` over each entity's window.
        context: see `EquivariantPolicy`.
        n_critics: how many critics there are.
        **kwargs: as of `SACPolicy`; ``net_arch`` and ``activation_fn`` have no meaning here.

    Raises:
        ValueError: spaces of another kind, an argument out of range, or gSDE, which is none of the heads.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *,
        head: str | None = None,
        spread_init: float | None = None,
        hidden: int = 32,
        encoder: str = "feed_forward",
        context: str = "none",
        n_critics: int = 2,
        **kwargs: Any,
    ) -> None:
        """See the class."""
        self.head = fitting_head(action_space, head)
        if HEADS[self.head].low != 0.0:
            raise ValueError(f"`action_space` must be shares, Box(0, 1, (m,)). Received {action_space!r}")
        self.spread_init = HEADS[self.head].spread_init if spread_init is None else as_float(spread_init)
        if not SPREADS[0] <= self.spread_init <= SPREADS[1]:
            raise ValueError(f"`spread_init` must be from {SPREADS[0]} to {SPREADS[1]}. Received {spread_init!r}")
        if kwargs.get("use_sde"):
            raise ValueError("`use_sde` must be False: the heads draw by themselves. Received True")
        self.layers = {"hidden": hidden, "encoder": encoder, "context": context}
        n_critics = integer("n_critics", n_critics)
        super().__init__(observation_space, action_space, lr_schedule, n_critics=n_critics, **kwargs)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """The actor."""
        own = {"head": self.head, "spread_init": self.spread_init, "layers": self.layers}
        return EntityActor(**self._network_arguments(own, features_extractor)).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """The critics."""
        layers = {name: value for name, value in self.layers.items() if name != "context"}
        own = {"n_critics": self.critic_kwargs["n_critics"], "layers": layers}
        return EntityCritic(**self._network_arguments(own, features_extractor)).to(self.device)

    def _network_arguments(self, own: dict[str, Any], extractor: BaseFeaturesExtractor | None) -> dict[str, Any]:
        both = {name: self.net_args[name] for name in ("observation_space", "action_space", "normalize_images")}
        return {**both, "features_extractor": extractor or self.make_features_extractor(), **own}

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"head": self.head, "spread_init": self.spread_init, **self.layers}
        return {**super()._get_constructor_parameters(), **own}
