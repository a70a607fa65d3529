"""Returns of tasks on one scale: a running mean and deviation of each task's, and heads that keep what they say."""

from __future__ import annotations

from collections.abc import Iterable

import torch as th
from torch import nn

from lifelong_gym.agents.deep.multi_task.networks import Heads

LEAST, MOST = 1e-4, 1e6  # deviations stay within, as in van Hasselt et al. 2016


class ReturnStatistics(nn.Module):
    """Mean mu and deviation sigma of each task's returns, by steps of size beta; those of no returns are 0 and 1.

    van Hasselt et al. 2016 and Hessel et al. 2019, equation 8, with the first steps larger, so that they average.

    Args:
        n_tasks: how many.
        rate: beta, in (0, 1].

    Attributes:
        mean: mu, shape (n_tasks,).
        square: mean of the squares, nu, shape (n_tasks,).
        n_updates: of each task's, shape (n_tasks,).
    """

    mean: th.Tensor
    square: th.Tensor
    n_updates: th.Tensor

    def __init__(self, n_tasks: int, rate: float) -> None:
        """See the class."""
        super().__init__()
        self.rate = rate
        self.register_buffer("mean", th.zeros(n_tasks, dtype=th.double))
        self.register_buffer("square", th.ones(n_tasks, dtype=th.double))
        self.register_buffer("n_updates", th.zeros(n_tasks, dtype=th.long))

    @property
    def deviation(self) -> th.Tensor:
        """Sigma, shape (n_tasks,)."""
        return (self.square - self.mean.square()).clamp_min(0.0).sqrt().clamp(LEAST, MOST)

    def update(self, returns: th.Tensor, tasks: th.Tensor) -> None:
        """Take a step towards some returns, shape (n,), of tasks by number, shape (n,)."""
        for task in tasks.unique().tolist():
            own = returns[tasks == task].double()
            self.n_updates[task] += 1
            rate = max(self.rate, 1.0 / float(self.n_updates[task]))
            self.mean[task].lerp_(own.mean(), rate)
            self.square[task].lerp_(own.square().mean(), rate)


def preserve(heads: Iterable[Heads], ratio: th.Tensor, shift: th.Tensor | float = 0.0) -> None:
    """Let heads of values be such that what they said before is what ``ratio`` times them plus ``shift`` is now.

    Args:
        heads: with one output each.
        ratio: of the new scale to the old one, shape (n_tasks,).
        shift: of the new mean against the old one, in new deviations, shape (n_tasks,).
    """
    with th.no_grad():
        for head in heads:
            head.weight.div_(ratio[:, None, None])
            head.bias.div_(ratio[:, None]).sub_(shift if isinstance(shift, float) else shift[:, None])


class PopArt(nn.Module):
    """Heads of values that learn on each task's own scale, and say what they say on that of the returns.

    With n what a head says, a value is ``sigma n + mu`` (van Hasselt et al. 2016, proposition 1).

    Args:
        heads: with one output each.
        rate: beta, see `ReturnStatistics`.
    """

    def __init__(self, heads: Heads, rate: float) -> None:
        """See the class."""
        super().__init__()
        self.heads, self.statistics = heads, ReturnStatistics(heads.n_tasks, rate)

    def forward(self, values: th.Tensor) -> th.Tensor:
        """Values of returns, (n, 1), from (n, k + n_tasks), the task's columns last."""
        task = values[:, -self.heads.n_tasks :].argmax(dim=1)
        statistics = self.statistics
        found: th.Tensor = statistics.deviation[task, None] * self.heads(values) + statistics.mean[task, None]
        return found.float()

    def normalised(self, returns: th.Tensor, tasks: th.Tensor) -> th.Tensor:
        """Returns, shape (n,), of tasks by number, shape (n,), on the heads' scale."""
        return ((returns - self.statistics.mean[tasks]) / self.statistics.deviation[tasks]).float()

    def update(self, returns: th.Tensor, tasks: th.Tensor) -> None:
        """Let statistics follow returns, shape (n,), of tasks by number, shape (n,); values stay what they are."""
        statistics = self.statistics
        mean, deviation = statistics.mean.clone(), statistics.deviation
        statistics.update(returns, tasks)
        preserve([self.heads], statistics.deviation / deviation, (statistics.mean - mean) / statistics.deviation)
