"""Distributions of shares among entities, equivariant in them, for policies of Stable-Baselines3.

Scores, shape (n, m), are -inf where an entity is absent: it gets 0, and nothing depends on it. ``spread`` is one number
for all entities, as one an entity would tell them apart.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, Self

import torch as th
from stable_baselines3.common.distributions import Distribution
from torch import nn

LEAST_SHARE = 1e-8  # what a share counts as in densities, and the least that a gamma draw gives
LEAST_CONCENTRATION = 0.05
LOG_TAU = math.log(2.0 * math.pi)


class EntityDistribution(Distribution):
    """A distribution over a number for each entity that is there.

    Attributes:
        low: of the action space that it is for: 0 for shares, -1 for logits.
        spread_name: what the logarithm is of that the policy learns beside the scores.
        spread_init: where that starts.
    """

    low: ClassVar[float] = 0.0
    spread_name: ClassVar[str] = "log_std"
    spread_init: ClassVar[float]
    scores: th.Tensor
    spread: th.Tensor
    present: th.Tensor
    n_present: th.Tensor

    def proba_distribution(self, scores: th.Tensor, spread: th.Tensor) -> Self:
        """Of scores (n, m) and the log of the spread, shape (1,) for all or (n, 1)."""
        self.present = th.isfinite(scores)
        self.scores = self._only_present(scores)
        self.n_present = self.present.sum(-1).clamp_min(1)
        self.spread = spread
        return self

    def proba_distribution_net(self, *args: Any, **kwargs: Any) -> nn.Module:
        """Nothing stands between scores and distribution."""
        return nn.Identity()

    @abstractmethod
    def rsample(self) -> th.Tensor:
        """A draw, shape (n, m), through which gradients flow."""

    def sample(self) -> th.Tensor:
        """A draw, shape (n, m)."""
        return self.rsample()

    def actions_from_params(self, scores: th.Tensor, spread: th.Tensor, deterministic: bool = False) -> th.Tensor:
        """See `Distribution`."""
        return self.proba_distribution(scores, spread).get_actions(deterministic)

    def log_prob_from_params(self, scores: th.Tensor, spread: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """See `Distribution`."""
        actions = self.proba_distribution(scores, spread).rsample()
        return actions, self.log_prob(actions)

    def _only_present(self, values: th.Tensor) -> th.Tensor:
        return values.masked_fill(~self.present, 0.0)

    def _softmax(self, scores: th.Tensor) -> th.Tensor:
        """Zeros where nobody is there."""
        least = th.finfo(scores.dtype).min
        return self._only_present(th.softmax(scores.masked_fill(~self.present, least), -1))


class LogisticNormal(EntityDistribution):
    """Shares ``a = softmax(scores + sigma z)``, z standard normal.

    A shift that is common to all entities changes no share, so it integrates out of the density: what is left is an
    isotropic Gaussian in the centred logarithms of the shares, with the determinant of that map. The density is with
    respect to all shares but one, whichever that is. ``entropy`` is that Gaussian's.
    """

    spread_init = 1.0  # shares that are drawn are concentrated, so that rewards tell entities apart

    def rsample(self) -> th.Tensor:
        """See `EntityDistribution`."""
        return self._softmax(self.scores + self.spread.exp() * th.randn_like(self.scores))

    def mode(self) -> th.Tensor:
        """Softmax of the scores."""
        return self._softmax(self.scores)

    def log_prob(self, actions: th.Tensor) -> th.Tensor:
        """Of shares (n, m), shape (n,); a share counts as at least 1e-8."""
        logs = self._only_present(actions.clamp_min(LEAST_SHARE).log())
        off = self._centred(logs - self.scores)
        squares = (off * off).sum(-1) * (-2.0 * self.spread[..., 0]).exp()
        return self._log_normalisation() - 0.5 * squares - logs.sum(-1) - 0.5 * self.n_present.log()

    def entropy(self) -> th.Tensor:
        """Of the Gaussian in the centred logarithms, shape (n,)."""
        return 0.5 * (self.n_present - 1) - self._log_normalisation()

    def _centred(self, values: th.Tensor) -> th.Tensor:
        return self._only_present(values - values.sum(-1, keepdim=True) / self.n_present[..., None])

    def _log_normalisation(self) -> th.Tensor:
        return -(self.n_present - 1) * (self.spread[..., 0] + 0.5 * LOG_TAU)


class DirichletShares(EntityDistribution):
    """Dirichlet with concentrations ``kappa n softmax(scores) + 0.05``, n being how many entities are there.

    Mean and concentration are learned apart; kappa = 1 and equal scores give about the uniform distribution.
    """

    spread_name = "log_concentration"
    spread_init = 1.0

    @property
    def concentration(self) -> th.Tensor:
        """Shape (n, m); 1 where an entity is absent."""
        weights = self.spread.exp() * self.n_present[..., None] * self._softmax(self.scores)
        return (weights + LEAST_CONCENTRATION).masked_fill(~self.present, 1.0)

    def rsample(self) -> th.Tensor:
        """See `EntityDistribution`."""
        concentration = self.concentration
        draws = th.distributions.Gamma(concentration, th.ones_like(concentration)).rsample().clamp_min(LEAST_SHARE)
        draws = self._only_present(draws)
        return draws / draws.sum(-1, keepdim=True).clamp_min(LEAST_SHARE)

    def mode(self) -> th.Tensor:
        """The mean: below concentrations of 1 there is no mode."""
        weights = self._only_present(self.concentration)
        return weights / weights.sum(-1, keepdim=True).clamp_min(LEAST_SHARE)

    def log_prob(self, actions: th.Tensor) -> th.Tensor:
        """Of shares (n, m), shape (n,); a share counts as at least 1e-8."""
        logs = actions.clamp_min(LEAST_SHARE).log()
        return self._only_present((self.concentration - 1.0) * logs).sum(-1) - self._log_beta()

    def entropy(self) -> th.Tensor:
        """Shape (n,)."""
        each = self.concentration
        whole = self._only_present(each).sum(-1).clamp_min(LEAST_CONCENTRATION)
        digammas = self._only_present((each - 1.0) * th.digamma(each)).sum(-1)
        return self._log_beta() + (whole - self.n_present) * th.digamma(whole) - digammas

    def _log_beta(self) -> th.Tensor:
        each = self.concentration
        whole = self._only_present(each).sum(-1).clamp_min(LEAST_CONCENTRATION)
        return self._only_present(th.lgamma(each)).sum(-1) - th.lgamma(whole)


class GaussianLogits(EntityDistribution):
    """Independent Gaussians around the scores, for families whose actions are logits in [-1, 1]."""

    low = -1.0
    spread_init = -0.7

    def rsample(self) -> th.Tensor:
        """See `EntityDistribution`."""
        return self._only_present(self.scores + self.spread.exp() * th.randn_like(self.scores))

    def mode(self) -> th.Tensor:
        """The scores."""
        return self.scores

    def log_prob(self, actions: th.Tensor) -> th.Tensor:
        """Of logits (n, m), shape (n,)."""
        off = self._only_present(actions - self.scores) * (-self.spread).exp()
        return -0.5 * (off * off).sum(-1) - self.present.sum(-1) * (self.spread[..., 0] + 0.5 * LOG_TAU)

    def entropy(self) -> th.Tensor:
        """Shape (n,)."""
        return self.present.sum(-1) * (self.spread[..., 0] + 0.5 * (1.0 + LOG_TAU))


HEADS: dict[str, type[EntityDistribution]] = {
    "logistic_normal": LogisticNormal,
    "dirichlet": DirichletShares,
    "logits": GaussianLogits,
}
