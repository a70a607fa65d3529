"""The updates of many equal DQNs in one call: Stable-Baselines3's networks side by side, its loss, its optimisers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

from lifelong_gym.agents.deep.agent import Agent
from lifelong_gym.agents.deep.td import td_losses

Stacked = dict[str, th.Tensor]  # an agent a row


class _Network(nn.Module):
    """What is behind the preprocessing of a DQN's network, which can't be stacked."""

    def __init__(self, q_net: Any) -> None:
        super().__init__()
        self.features, self.values = q_net.features_extractor, q_net.q_net

    def forward(self, seen: th.Tensor) -> th.Tensor:
        values: th.Tensor = self.values(self.features(seen))
        return values


def train_together(agents: Sequence[Agent]) -> None:
    """What ``agent.algorithm.train(...)`` does for each, up to rounding; all must be DQNs of one form.

    Args:
        agents: those that have something to train on.
    """
    models: list[DQN] = [agent.algorithm for agent in agents]
    first = models[0]
    for model in models:
        model.policy.set_training_mode(True)
        model._update_learning_rate(model.policy.optimizer)
    n = first.gradient_steps if first.gradient_steps >= 0 else int(first.train_freq.frequency)  # type: ignore[union-attr]
    networks = [(_Network(model.q_net), _Network(model.q_net_target)) for model in models]
    losses = th.zeros(len(models), device=first.device)
    for _ in range(n):
        batches = [_sampled(agent) for agent in agents]
        losses += _step(models, networks, batches) / n
    for model, loss in zip(models, losses.tolist(), strict=True):
        model._n_updates += n
        model.logger.record("train/n_updates", model._n_updates, exclude="tensorboard")
        model.logger.record("train/loss", loss)


def _sampled(agent: Agent) -> ReplayBufferSamples:
    """A batch, preprocessed."""
    model = agent.algorithm
    with agent.streams:
        batch = model.replay_buffer.sample(model.batch_size, env=model._vec_normalize_env)
    seen, then = (
        preprocess_obs(observations, model.observation_space, normalize_images=model.policy.normalize_images)
        for observations in (batch.observations, batch.next_observations)
    )
    return ReplayBufferSamples(seen, batch.actions, then, batch.dones, batch.rewards)  # type: ignore[arg-type]


def _step(
    models: Sequence[DQN], networks: Sequence[tuple[_Network, _Network]], batches: Sequence[ReplayBufferSamples]
) -> th.Tensor:
    """A gradient step of each; returns their losses, (n_agents,)."""
    network, target = networks[0]
    gamma = models[0].gamma

    def loss(own: Stacked, other: Stacked, columns: tuple[th.Tensor, ...]) -> th.Tensor:
        batch = ReplayBufferSamples(*columns)
        return td_losses(
            lambda seen: functional_call(network, own, seen),
            lambda seen: functional_call(target, other, seen),
            batch,
            gamma,
        ).mean()

    own, other = (_stacked([pair[i] for pair in networks]) for i in range(2))
    columns = tuple(th.stack(column) for column in list(zip(*batches, strict=True))[:5])
    gradients, losses = vmap(grad_and_value(loss))(own, other, columns)
    scales = _clipping(gradients, models[0].max_grad_norm)
    for i, (model, (its, _)) in enumerate(zip(models, networks, strict=True)):
        for name, parameter in its.named_parameters():
            parameter.grad = gradients[name][i] * scales[i]
        model.policy.optimizer.step()
    return losses.detach()


def _stacked(networks: Sequence[nn.Module]) -> Stacked:
    tensors = [{n: t.detach() for n, t in [*net.named_parameters(), *net.named_buffers()]} for net in networks]
    return {name: th.stack([own[name] for own in tensors]) for name in tensors[0]}


def _clipping(gradients: Stacked, most: float) -> th.Tensor:
    """By which each agent's gradients are multiplied, as torch's ``clip_grad_norm_`` does, (n_agents,)."""
    squares = [gradient.flatten(1).square().sum(dim=1) for gradient in gradients.values()]
    norms = th.stack(squares).sum(dim=0).sqrt()
    return (most / (norms + 1e-6)).clamp(max=1.0)
