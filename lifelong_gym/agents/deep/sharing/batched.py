"""The updates of many equal DQNs in one call: Stable-Baselines3's networks side by side, its loss, its optimisers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Nets:
    """An agent's networks, and their tensors by name."""

    own: _Network
    target: _Network
    parameters: Stacked
    of_own: Stacked
    of_target: Stacked


class Together:
    """Trains agents together; whose networks stay the same objects from call to call."""

    def __init__(self) -> None:
        """Of none yet."""
        self._nets: dict[Any, _Nets] = {}

    def train(self, agents: Sequence[Agent]) -> None:
        """What ``agent.algorithm.train(...)`` does for each, up to rounding; all must be DQNs of one form.

        Args:
            agents: those that have something to train on.
        """
        models: list[DQN] = [agent.algorithm for agent in agents]
        first: Any = models[0]
        for model in models:
            model.policy.set_training_mode(True)
            model._update_learning_rate(model.policy.optimizer)
        n = first.gradient_steps if first.gradient_steps >= 0 else int(first.train_freq.frequency)
        losses = th.zeros(len(models), device=first.device)
        for _ in range(n):
            losses += _step(models, [self._of(model) for model in models], _sampled(agents)) / n
        for model, loss in zip(models, losses.tolist(), strict=True):
            model._n_updates += n
            model.logger.record("train/n_updates", model._n_updates, exclude="tensorboard")
            model.logger.record("train/loss", loss)

    def _of(self, model: DQN) -> _Nets:
        if model.policy not in self._nets:
            own, target = _Network(model.q_net), _Network(model.q_net_target)
            found = [{**dict(net.named_parameters()), **dict(net.named_buffers())} for net in (own, target)]
            tensors = [{name: tensor.detach() for name, tensor in of.items()} for of in found]
            self._nets[model.policy] = _Nets(own, target, dict(own.named_parameters()), *tensors)
        return self._nets[model.policy]


def _sampled(agents: Sequence[Agent]) -> list[th.Tensor]:
    """The columns of all agents' batches, stacked and preprocessed."""
    model = agents[0].algorithm
    batches = []
    for agent in agents:
        with agent.streams:
            batches.append(agent.algorithm.replay_buffer.sample(model.batch_size, env=model._vec_normalize_env))
    columns = [th.stack(column) for column in list(zip(*batches, strict=True))[:5]]
    for i in (0, 2):  # observations, and next ones
        flat: Any = columns[i].flatten(0, 1)
        seen: Any = preprocess_obs(flat, model.observation_space, normalize_images=model.policy.normalize_images)
        columns[i] = seen.unflatten(0, (len(agents), model.batch_size))
    return columns


def _step(models: Sequence[DQN], nets: Sequence[_Nets], columns: Sequence[th.Tensor]) -> th.Tensor:
    """A gradient step of each; returns their losses, (n_agents,)."""
    network, target = nets[0].own, nets[0].target
    gamma = models[0].gamma

    def loss(own: Stacked, other: Stacked, columns: tuple[th.Tensor, ...]) -> th.Tensor:
        batch = ReplayBufferSamples(*columns)
        return td_losses(
            lambda seen: functional_call(network, own, seen),
            lambda seen: functional_call(target, other, seen),
            batch,
            gamma,
        ).mean()

    own, other = _stacked([net.of_own for net in nets]), _stacked([net.of_target for net in nets])
    gradients, losses = vmap(grad_and_value(loss))(own, other, tuple(columns))
    scales = _clipping(gradients, models[0].max_grad_norm)
    scaled = {n: of * scales.reshape(-1, *[1] * (of.ndim - 1)) for n, of in gradients.items()}
    for i, (model, net) in enumerate(zip(models, nets, strict=True)):
        for name, parameter in net.parameters.items():
            parameter.grad = scaled[name][i]
        model.policy.optimizer.step()
    return losses.detach()


def _stacked(tensors: Sequence[Stacked]) -> Stacked:
    return {name: th.stack([own[name] for own in tensors]) for name in tensors[0]}


def _clipping(gradients: Stacked, most: float) -> th.Tensor:
    """By which each agent's gradients are multiplied, as torch's ``clip_grad_norm_`` does, (n_agents,)."""
    squares = [gradient.flatten(1).square().sum(dim=1) for gradient in gradients.values()]
    norms = th.stack(squares).sum(dim=0).sqrt()
    return (most / (norms + 1e-6)).clamp(max=1.0)
