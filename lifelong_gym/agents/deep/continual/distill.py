"""Distillation of remembered values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm

from lifelong_gym.agents.contract.checks import count, number
from lifelong_gym.agents.deep.continual.base import Continual
from lifelong_gym.agents.deep.replay.buffer import PackedReplayBuffer


class Distill(Continual):
    """Dark experience replay (Buzzega et al., 2020): a network keeps to the values that it had at the end of tasks.

    The loss gains ``weight`` times the mean squared difference of the values of all actions, on observations of
    earlier tasks, from those that were remembered with them.

    Args:
        weight: of the penalty; 0: none.
        n_samples: observations that are remembered of each task.
        batch_size: of the penalty in each step.
    """

    algorithms: ClassVar[tuple[type[BaseAlgorithm], ...]] = (DQN,)

    def __init__(self, weight: float = 1.0, n_samples: int = 500, batch_size: int = 32) -> None:
        """See the class."""
        super().__init__()
        self.weight = number("weight", weight)
        self.n_samples, self.batch_size = count("n_samples", n_samples), count("batch_size", batch_size)

    def on_task_end(self, info: Mapping[str, Any]) -> None:
        """Remember what the network says of this task."""
        model: Any = self.model
        buffer = model.replay_buffer
        if buffer.size() == 0:
            return
        take = buffer.own if isinstance(buffer, PackedReplayBuffer) else buffer.sample
        with self.streams, th.no_grad():
            model.policy.set_training_mode(False)
            seen = take(self.n_samples, model._vec_normalize_env).observations
            values = model.q_net(seen)
        for name, new in (("observations", seen), ("values", values)):
            before = self.kept.values.get(name)
            self.kept.values[name] = new.clone() if before is None else th.cat([before, new])

    def before_step(self) -> None:
        """Add the penalty's gradient."""
        kept = self.kept.values
        if "values" not in kept:
            return
        with self.streams:
            places = th.as_tensor(np.random.randint(0, len(kept["values"]), self.batch_size), device=self.model.device)
        gradients = self.gradients(kept["observations"][places], kept["values"][places])
        for parameter, gradient in zip(self.parameters.values(), gradients, strict=True):
            if parameter.grad is not None:
                parameter.grad.add_(gradient)

    def gradients(self, observations: th.Tensor, values: th.Tensor) -> tuple[th.Tensor, ...]:
        """Of the penalty on a batch, in the order of parameters."""
        model: Any = self.model
        with th.enable_grad():
            penalty = self.weight * th.nn.functional.mse_loss(model.q_net(observations), values)
            return th.autograd.grad(penalty, list(self.parameters.values()))
