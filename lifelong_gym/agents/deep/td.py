"""The loss that Stable-Baselines3's DQN descends, by step: where its own `train` can't be used."""

from __future__ import annotations

from collections.abc import Callable

import torch as th
from stable_baselines3.common.type_aliases import ReplayBufferSamples

Values = Callable[[th.Tensor], th.Tensor]  # from observations, (n, ...), to values of actions, (n, n_actions)


def td_losses(values: Values, target_values: Values, batch: ReplayBufferSamples, gamma: float) -> th.Tensor:
    """Huber losses of the values against one-step targets, shape (n,).

    Args:
        values: of the network that learns.
        target_values: of the one that says what follows; no gradient goes there.
        batch: of replay.
        gamma: discount.
    """
    with th.no_grad():
        following = target_values(batch.next_observations).max(dim=1).values.reshape(-1, 1)
        targets = batch.rewards + (1 - batch.dones) * gamma * following
    chosen = th.gather(values(batch.observations), dim=1, index=batch.actions.long())
    return th.nn.functional.smooth_l1_loss(chosen, targets, reduction="none").reshape(-1)
