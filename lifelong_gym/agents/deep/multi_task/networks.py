"""Networks that see which task they are in, by columns of their input: one-hot, as ``task_observation="one_hot"``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from lifelong_gym.agents.contract.checks import count


def split(values: th.Tensor, start: int, n_tasks: int) -> tuple[th.Tensor, th.Tensor]:
    """Columns without the task's, (n, width - n_tasks), and the task's, (n, n_tasks), which begin at ``start``."""
    end = start + n_tasks
    return th.cat([values[:, :start], values[:, end:]], dim=1), values[:, start:end]


def chosen(of_tasks: th.Tensor, task: th.Tensor) -> th.Tensor:
    """Of values of every task, (n, n_tasks, k), each row's own task's, (n, k); gradients go nowhere else."""
    index = task.argmax(dim=1)[:, None, None].expand(-1, 1, of_tasks.shape[2])
    return of_tasks.gather(1, index).squeeze(1)


def checked_tasks(n_tasks: int, observation_space: spaces.Space[Any], arguments: Mapping[str, Any]) -> int:
    """The number of tasks, if observations end in a column for each.

    Args:
        n_tasks: how many.
        observation_space: a vector, (width,), with the task's columns last.
        arguments: of the policy, which must leave observations as they are.

    Raises:
        ValueError: observations are of another kind or too narrow, or an argument that doesn't go with it.
    """
    n_tasks = count("n_tasks", n_tasks)
    shape = observation_space.shape if isinstance(observation_space, spaces.Box) else None
    if shape is None or len(shape) != 1 or shape[0] <= n_tasks:
        raise ValueError(
            f"`observation_space` must be a vector that ends in {n_tasks} columns for the tasks. "
            f"Received {observation_space}"
        )
    if arguments.get("use_sde"):
        raise ValueError("`use_sde` must be False. Received True")
    if arguments.get("features_extractor_class", FlattenExtractor) is not FlattenExtractor:
        kind = arguments["features_extractor_class"]
        raise ValueError(f"`features_extractor_class` must leave the task's columns last. Received {kind}")
    return n_tasks


class Beside(nn.Module):
    """A network that doesn't see the task; the task's columns go past it, to be the last ones of what comes out.

    Args:
        network: from (n, width - n_tasks) to (n, k).
        start: where the task's columns begin in the input.
        n_tasks: how many there are.
    """

    def __init__(self, network: nn.Module, start: int, n_tasks: int) -> None:
        """See the class."""
        super().__init__()
        self.network, self.start, self.n_tasks = network, start, n_tasks

    def forward(self, values: th.Tensor) -> th.Tensor:
        """From (n, width) to (n, k + n_tasks)."""
        seen, task = split(values, self.start, self.n_tasks)
        latent: th.Tensor = self.network(seen)
        if latent.requires_grad:
            latent.register_hook(th.Tensor.contiguous)  # gradients lie, and so round, as without the task's columns
        return th.cat([latent, task], dim=1)


class Heads(nn.Module):
    """A linear layer a task; a row goes through its own task's alone. All begin as the same one.

    Args:
        first: what they begin as, from k to m.
        n_tasks: how many.

    Attributes:
        weight: shape (n_tasks, m, k).
        bias: shape (n_tasks, m).
    """

    def __init__(self, first: nn.Linear, n_tasks: int) -> None:
        """See the class."""
        super().__init__()
        self.n_tasks = n_tasks
        self.weight = nn.Parameter(first.weight.detach().expand(n_tasks, -1, -1).clone())
        self.bias = nn.Parameter(first.bias.detach().expand(n_tasks, -1).clone())

    def forward(self, values: th.Tensor) -> th.Tensor:
        """From (n, k + n_tasks), the task's columns last, to (n, m)."""
        latent, task = values[:, : -self.n_tasks].contiguous(), values[:, -self.n_tasks :]
        every = nn.functional.linear(latent, self.weight.flatten(0, 1), self.bias.flatten())
        return chosen(every.unflatten(1, self.bias.shape), task)


class SoftModules(nn.Module):
    """Layers of modules, each of which takes a mixture of the ones before; a routing network says which, by the task.

    Soft modularisation (Yang et al. 2020, section 4): from an embedding ``u = f(s) * h(z)`` of what is seen and of the
    task come routing logits ``p_1 = W_d relu(u)`` and ``p_l+1 = W_d relu(W_u p_l * u)``. Their softmax over j says how
    much module j of a layer counts in what module i of the next one gets: ``g_i' = sum_j p_ij relu(W_j g_j)``, from
    ``relu(f(s))`` on. The linear layer that follows, over all modules side by side, is the paper's last one.

    Args:
        width: of the input, task's columns included.
        start: where the task's columns begin.
        n_tasks: how many there are.
        widths: of a module, layer by layer.
        n_modules: of a layer.
        embedding: width D of the embeddings.

    Attributes:
        out: width of what comes out.
    """

    def __init__(self, width: int, start: int, n_tasks: int, widths: list[int], n_modules: int, embedding: int) -> None:
        """See the class."""
        super().__init__()
        self.start, self.n_tasks, self.n_modules = start, n_tasks, n_modules
        self.out = n_modules * (widths[-1] if widths else embedding)
        self.state = nn.Linear(width - n_tasks, embedding)  # f
        self.task = nn.Linear(n_tasks, embedding)  # h
        ins = [embedding, *widths]
        self.modules_of_layer = nn.ModuleList(
            nn.ModuleList(nn.Linear(into, out) for _ in range(n_modules))
            for into, out in zip(ins, widths, strict=False)
        )
        self.down = nn.ModuleList(nn.Linear(embedding, n_modules**2) for _ in widths)
        self.up = nn.ModuleList(nn.Linear(n_modules**2, embedding) for _ in widths[1:])

    def forward(self, values: th.Tensor) -> th.Tensor:
        """From (n, width) to (n, out)."""
        seen, task = split(values, self.start, self.n_tasks)
        state = self.state(seen)
        mixed = state.relu().unsqueeze(1).expand(-1, self.n_modules, -1)
        for modules, routes in zip(self.modules_of_layer, self.routing(state, task), strict=True):
            assert isinstance(modules, nn.ModuleList)
            made = th.stack([module(mixed[:, j]).relu() for j, module in enumerate(modules)], dim=1)
            mixed = routes @ made
        return mixed.flatten(1)

    def routing(self, state: th.Tensor, task: th.Tensor) -> list[th.Tensor]:
        """How much of module j module i of the next layer gets, (n, i, j), layer by layer; the sum over j is 1."""
        both, found = state * self.task(task), list[th.Tensor]()
        gates, logits = both.relu(), th.empty(0)
        for layer, down in enumerate(self.down):
            if layer:
                gates = (self.up[layer - 1](logits) * both).relu()
            logits = down(gates)
            found.append(logits.unflatten(1, (self.n_modules, self.n_modules)).softmax(dim=2))
        return found
