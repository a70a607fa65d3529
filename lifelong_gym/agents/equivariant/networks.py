"""Networks over entities: one that is shared by all of them, and one that tells them apart."""

from __future__ import annotations

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import nn

from lifelong_gym.envs.spaces import EntityBox
from lifelong_gym.errors import integer, one_of

CONTEXTS = ("none", "mean", "attention")
ENCODERS = ("feed_forward", "rnn")
LEAST_TOTAL = 1e-30  # no division by 0
SMALL = 0.01  # of the first scores: policies start at about equal shares


class Blocks:
    """An observation as a table of entities.

    Args:
        space: says which numbers belong to which entity.
    """

    def __init__(self, space: EntityBox) -> None:
        """See the class."""
        self.m, self.n_channels = space.m, space.n_channels
        self.n_own = space.m * space.n_channels
        self.n_common = space.shape[0] - self.n_own
        self.window, self.n_series = space.window, space.n_series

    def split(self, observations: th.Tensor) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Channels (n, m, n_channels - 1), which entities are there (n, m), and what concerns all (n, n_common).

        Raises:
            ValueError: the last channel of a block is neither 0 nor 1.
        """
        table = observations[:, : self.n_own].reshape(-1, self.m, self.n_channels)
        there = table[..., -1]
        neither = (there != 0.0) & (there != 1.0)
        if bool(neither.any()):
            raise ValueError(
                "the last channel of an entity must be 0 or 1, for whether it is there: leave observations as they "
                f"are, as VecNormalize does with norm_obs=False. Received {there[neither][0].item()}"
            )
        return table[..., :-1], there > 0.0, observations[:, self.n_own :]


class EntityEncoder(nn.Module):
    """A code for each entity, by one network for all of them.

    Args:
        space: of observations.
        hidden: width of all layers.
        encoder: ``"feed_forward"``, or ``"rnn"`` over the entity's series, as the space tells them.
        n_beside: how many numbers of an entity are given beside observations.

    Raises:
        ValueError: an argument out of range, or ``"rnn"`` where the space has no series.
    """

    def __init__(self, space: EntityBox, hidden: int, encoder: str, n_beside: int = 0) -> None:
        """See the class."""
        super().__init__()
        integer("hidden", hidden)
        self.kind, self.blocks = one_of("encoder", encoder, ENCODERS), Blocks(space)
        n_series = self.blocks.window * self.blocks.n_series
        n_inputs = self.blocks.n_channels - 1 + self.blocks.n_common + n_beside
        if encoder == "rnn":
            if not n_series:
                raise ValueError('`encoder="rnn"` needs observations with series of numbers: `Entities.window`')
            self.recurrent = nn.RNN(self.blocks.n_series, hidden, batch_first=True)
            n_inputs += hidden - n_series
        self.layers = nn.Sequential(nn.Linear(n_inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())

    def forward(
        self, observations: th.Tensor, beside: th.Tensor | None = None
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Codes (n, m, hidden), 0 for the absent; who is there (n, m); what concerns all (n, n_common).

        Args:
            observations: shape (n, n_observations).
            beside: shape (n, m, n_beside), of which that of the absent counts.
        """
        own, present, common = self.blocks.split(observations)
        own = own.masked_fill(~present[..., None], 0.0)
        parts = [self._read(own), common[:, None].expand(-1, self.blocks.m, -1)]
        codes = self.layers(th.cat([*parts, *([] if beside is None else [beside])], -1))
        return codes * present[..., None], present, common

    def _read(self, own: th.Tensor) -> th.Tensor:
        if self.kind == "feed_forward":
            return own
        n = self.blocks.window * self.blocks.n_series
        series = own[..., :n].reshape(-1, self.blocks.n_series, self.blocks.window).transpose(1, 2)
        last = self.recurrent(series)[1][0].reshape(*own.shape[:2], -1)
        return th.cat([last, own[..., n:]], -1)


class SetNetwork(nn.Module):
    """Scores that are permuted as the entities are, and a summary that stays the same.

    A score sees its entity and the context; the summary is made of the mean over who is there.

    Args:
        space: of observations.
        hidden: width of all layers.
        encoder: see `EntityEncoder`.
        context: what a score sees of the other entities: ``"none"``, ``"mean"`` or ``"attention"``.

    Raises:
        ValueError: see `EntityEncoder`.
    """

    def __init__(self, space: EntityBox, hidden: int, encoder: str, context: str) -> None:
        """See the class."""
        super().__init__()
        self.context = one_of("context", context, CONTEXTS)
        self.encoder = EntityEncoder(space, hidden, encoder)
        if context == "attention":
            self.attention = nn.MultiheadAttention(hidden, 1, batch_first=True)
        seen = hidden if context == "none" else 2 * hidden
        self.score = nn.Sequential(nn.Linear(seen, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.summary = nn.Sequential(nn.Linear(hidden + self.encoder.blocks.n_common, hidden), nn.Tanh())
        self.latent_dim_pi, self.latent_dim_vf = space.m, hidden
        _shrink(self.score[-1])

    def forward(self, observations: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Scores (n, m), and the summary (n, hidden)."""
        codes, present, common = self.encoder(observations)
        return self._scores(codes, present), self._summary(codes, present, common)

    def forward_actor(self, observations: th.Tensor) -> th.Tensor:
        """Scores, -inf where an entity is absent."""
        return self._scores(*self.encoder(observations)[:2])

    def forward_critic(self, observations: th.Tensor) -> th.Tensor:
        """The summary."""
        return self._summary(*self.encoder(observations))

    def _scores(self, codes: th.Tensor, present: th.Tensor) -> th.Tensor:
        if self.context == "mean":
            codes = th.cat([codes, _mean(codes, present)[:, None].expand_as(codes)], -1)
        elif self.context == "attention":
            nobody = ~present.any(-1, keepdim=True)  # a softmax over nothing is no number
            others, _ = self.attention(codes, codes, codes, key_padding_mask=~(present | nobody), need_weights=False)
            codes = th.cat([codes, others], -1)
        return self.score(codes)[..., 0].masked_fill(~present, -th.inf)

    def _summary(self, codes: th.Tensor, present: th.Tensor, common: th.Tensor) -> th.Tensor:
        summary: th.Tensor = self.summary(th.cat([_mean(codes, present), common], -1))
        return summary


class SetValue(nn.Module):
    """A value of an observation and shares, which stays the same when entities and shares are permuted together.

    Args:
        space: of observations.
        hidden: width of all layers.
        encoder: see `EntityEncoder`.
    """

    def __init__(self, space: EntityBox, hidden: int, encoder: str) -> None:
        """See the class."""
        super().__init__()
        self.encoder = EntityEncoder(space, hidden, encoder, n_beside=1)
        n_common = self.encoder.blocks.n_common
        self.value = nn.Sequential(nn.Linear(hidden + n_common, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, observations: th.Tensor, weights: th.Tensor) -> th.Tensor:
        """Shape (n, 1), of weights (n, m) that are at least 0: what counts is what each entity gets of their sum."""
        present = self.encoder.blocks.split(observations)[1]
        there = weights * present
        total = there.sum(-1, keepdim=True)
        equal = present / present.sum(-1, keepdim=True).clamp_min(1)
        shares = th.where(total > 0, there / total.clamp_min(LEAST_TOTAL), equal)
        codes, present, common = self.encoder(observations, shares[..., None])
        value: th.Tensor = self.value(th.cat([_mean(codes, present), common], -1))
        return value


class FlatNetwork(nn.Module):
    """Scores of an ordinary network on the flat observation: where an entity stands matters.

    Args:
        space: of observations; of a plain Box all entities are there.
        m: number of entities.
        n_features: length of the flat observation.
        **layers: of `MlpExtractor`.
    """

    def __init__(self, space: spaces.Space[Any], m: int, n_features: int, **layers: Any) -> None:
        """See the class."""
        super().__init__()
        self.blocks = Blocks(space) if isinstance(space, EntityBox) else None
        self.layers = MlpExtractor(n_features, **layers)
        self.score = nn.Linear(self.layers.latent_dim_pi, m)
        self.latent_dim_pi, self.latent_dim_vf = m, self.layers.latent_dim_vf
        _shrink(self.score)

    def forward(self, observations: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Scores (n, m), -inf where an entity is absent, and the critic's features."""
        return self.forward_actor(observations), self.forward_critic(observations)

    def forward_actor(self, observations: th.Tensor) -> th.Tensor:
        """Scores."""
        scores: th.Tensor = self.score(self.layers.forward_actor(observations))
        if self.blocks is None:
            return scores
        return scores.masked_fill(~self.blocks.split(observations)[1], -th.inf)

    def forward_critic(self, observations: th.Tensor) -> th.Tensor:
        """Features of the value."""
        return self.layers.forward_critic(observations)


def _mean(codes: th.Tensor, present: th.Tensor) -> th.Tensor:
    """Over who is there; absent codes are 0."""
    return codes.sum(1) / present.sum(1, keepdim=True).clamp_min(1)


def _shrink(layer: nn.Module) -> None:
    assert isinstance(layer, nn.Linear)
    with th.no_grad():
        layer.weight.mul_(SMALL)
        layer.bias.zero_()
