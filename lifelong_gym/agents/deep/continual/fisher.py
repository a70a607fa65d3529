"""The diagonal of the Fisher information of an algorithm's own data: how much each parameter matters to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from lifelong_gym.agents.deep.replay.buffer import PackedReplayBuffer
from lifelong_gym.agents.deep.td import td_losses

Losses = list[th.Tensor]


def fisher(model: DQN | PPO, parameters: Mapping[str, th.nn.Parameter], n_samples: int) -> dict[str, th.Tensor]:
    """Means of the squared gradients of single losses: of DQN its TD loss, of PPO minus the log-probability of actions.

    Args:
        model: the algorithm, with data of the task in replay or in its last rollout.
        parameters: whose, by name.
        n_samples: from how many steps, drawn with replacement from NumPy's global generator.
    """
    found = {name: th.zeros_like(parameter) for name, parameter in parameters.items()}
    model.policy.set_training_mode(False)
    for batch in drawn(model, n_samples):
        gradients = th.autograd.grad(loss(model, batch), list(parameters.values()), allow_unused=True)
        for total, gradient in zip(found.values(), gradients, strict=True):
            if gradient is not None:
                total.add_(gradient**2, alpha=1 / n_samples)
    return found


def drawn(model: Any, n_samples: int) -> list[Any]:
    """Steps, each a batch of one; none before there is data."""
    if isinstance(model, DQN):
        buffer = model.replay_buffer
        if buffer is None or buffer.size() == 0:
            return []
        take = buffer.own if isinstance(buffer, PackedReplayBuffer) else buffer.sample
        return _split(take(n_samples, model._vec_normalize_env), n_samples)
    seen, actions, returns = _rollout(model)
    places = np.random.randint(0, len(seen), n_samples).tolist() if len(seen) else list[int]()
    return [(seen[i : i + 1], actions[i : i + 1], returns[i : i + 1]) for i in places]


def loss(model: Any, batch: Any) -> th.Tensor:
    """Of one step."""
    if isinstance(model, DQN):
        return td_losses(model.q_net, model.q_net_target, batch, model.gamma).sum()
    seen, actions, returns = batch
    values, log_prob, _ = model.policy.evaluate_actions(seen, actions)
    return (model.vf_coef * 0.5 * (values.flatten() - returns) ** 2 - log_prob).sum()


def _split(batch: ReplayBufferSamples, n: int) -> list[ReplayBufferSamples]:
    columns: list[Any] = list(batch)
    made: Any = type(batch)
    return [made(*(None if c is None else c[i : i + 1] for c in columns)) for i in range(n)]


def _rollout(model: PPO) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
    """Observations, actions and returns of the last rollout, as far as it has come."""
    buffer: Any = model.rollout_buffer
    arrays = [buffer.observations, buffer.actions, buffer.returns]
    if not buffer.generator_ready:
        n = buffer.buffer_size if buffer.full else buffer.pos
        arrays = [buffer.swap_and_flatten(array[:n]) for array in arrays]
    seen, actions, returns = (th.as_tensor(array, device=model.device) for array in arrays)
    if model.policy.action_space.shape == ():
        actions = actions.long().flatten()
    return seen, actions, returns.flatten()
