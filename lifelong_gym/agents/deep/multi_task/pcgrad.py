"""Gradient surgery between tasks: where tasks' gradients point against each other, the conflict is projected away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch as th
from torch import nn
from torch.func import functional_call

Outputs = tuple[th.Tensor, ...]


def surgery(gradients: th.Tensor) -> th.Tensor:
    """The sum of tasks' gradients, (n_tasks, n), after each lost what points against another's.

    PCGrad, algorithm 1 of Yu et al. 2020: from g_i, for every other task j in random order, the component along g_j is
    taken away if it is negative. Orders are drawn from torch's global generator. It is done in coordinates: what is
    left of g_i is a combination of the gradients, whose products decide everything.
    """
    n_tasks = len(gradients)
    products = (gradients @ gradients.T).double()
    left = th.eye(n_tasks, dtype=th.double, device=gradients.device)  # row i: g_i as a combination of all
    rows, orders = th.arange(n_tasks), th.rand(n_tasks, n_tasks).argsort(dim=1)
    for j in orders.T.to(gradients.device):  # the task that each row turns to next
        along = (left * products[j]).sum(dim=1)
        against = (along < 0) & (j != rows.to(j.device))
        left[rows, j] -= th.where(against, along / products[j, j].clamp_min(th.finfo(th.double).tiny), 0.0)
    return left.sum(dim=0).to(gradients.dtype) @ gradients


class _OneForEachTask(th.autograd.Function):
    """Parameters, once for each task; backward, the tasks' gradients become one."""

    @staticmethod
    def forward(ctx: Any, n_tasks: int, shared: tuple[bool, ...], *parameters: th.Tensor) -> Outputs:
        ctx.n_tasks, ctx.shared = n_tasks, shared
        return tuple(parameter.view_as(parameter) for _ in range(n_tasks) for parameter in parameters)

    @staticmethod
    def backward(ctx: Any, *gradients: th.Tensor) -> Any:
        n, shared = len(ctx.shared), ctx.shared
        stacked = [th.stack(gradients[k::n]) for k in range(n)]
        combined = [None if is_shared else one.sum(dim=0) for one, is_shared in zip(stacked, shared, strict=True)]
        together = [one for one, is_shared in zip(stacked, shared, strict=True) if is_shared]
        if together:
            found = surgery(th.cat([one.flatten(1) for one in together], dim=1))
            parts = iter(found.split([one[0].numel() for one in together]))
            combined = [next(parts).view(stacked[k].shape[1:]) if shared[k] else combined[k] for k in range(n)]
        return None, None, *combined


class _Call(nn.Module):
    """A method of a module as a module, so that `functional_call` can give it other parameters."""

    def __init__(self, module: nn.Module, method: Callable[..., Outputs]) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *inputs: th.Tensor) -> Outputs:
        return self.method(*inputs)


def by_task(
    module: nn.Module,
    method: Callable[..., Outputs],
    task: th.Tensor,
    inputs: tuple[th.Tensor, ...],
    own: tuple[str, ...],
) -> Outputs:
    """What a method makes of a batch; where it is differentiated, tasks' gradients are brought together by `surgery`.

    So whoever descends a loss on it, in whatever way, descends along PCGrad's direction: a sum over rows of any loss is
    a sum over tasks, whose gradients with respect to the module's parameters come back one by one. Without gradients,
    or in a batch of one task, nothing is changed, to the bit.

    Args:
        module: whose parameters.
        method: of that module, from tensors (n, ...) to tensors (n, ...).
        task: of each row, one-hot, shape (n, n_tasks).
        inputs: of the method.
        own: what names of parameters begin with that are a task's own: their gradients are added.
    """
    number = task.argmax(dim=1)
    tasks = number.unique() if th.is_grad_enabled() else number[:0]
    if len(tasks) < 2:
        return method(*inputs)
    named = {name: one for name, one in module.named_parameters() if one.requires_grad}
    shared = tuple(not name.startswith(own) for name in named)
    copies: Outputs = _OneForEachTask.apply(len(tasks), shared, *named.values())
    call, rows, found = _Call(module, method), list[th.Tensor](), list[Outputs]()
    for k, one in enumerate(tasks):
        rows.append((number == one).nonzero().flatten())
        own_copies = copies[k * len(named) : (k + 1) * len(named)]
        given: Mapping[str, th.Tensor] = {f"module.{name}": p for name, p in zip(named, own_copies, strict=True)}
        found.append(functional_call(call, dict(given), tuple(values[rows[-1]] for values in inputs)))
    back = th.cat(rows).argsort()
    return tuple(th.cat(parts)[back] for parts in zip(*found, strict=True))
