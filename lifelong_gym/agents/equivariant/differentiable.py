"""Tasks whose noise has happened, as functions that can be differentiated: the family's own text, on tensors."""

from __future__ import annotations

from typing import Any

import torch as th

from lifelong_gym.agents.equivariant.torch_math import Stack, TorchRoom, TorchTable, binder, stacked
from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.family import Family, Historic, KernelFamily
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.task_set import TaskSet


def historic(family: Family) -> Any:
    """The family, if its tasks can be differentiated.

    Raises:
        FamilyError: it has no kernel or measures something, its noise hasn't happened, or its episodes may end by
            failing.
    """
    kernel = family if isinstance(family, KernelFamily) and isinstance(family, Historic) else None
    if kernel is None or kernel.exogenous is None or kernel.state_limits or kernel.n_measures:
        raise FamilyError(
            "rewards are differentiated where all noise has happened: in families with `exogenous`, `clock` and "
            f"`history`, such as LifelongPortfolio-v0. Received {type(family).__name__}"
        )
    return family


class DifferentiableTasks:
    """What actions do in each of some tasks, at any of its steps, with derivatives.

    Args:
        core: whose family and reward these are.
        tasks: of that family.

    Attributes:
        clock: index of the number of a state that tells the time.

    Raises:
        FamilyError: see `historic`.
    """

    def __init__(self, core: Core, tasks: TaskSet) -> None:
        """See the class."""
        family = historic(core.family)
        self.tasks, self.clock = tasks, [channel.name for channel in family.state].index(family.clock)
        self._family, self._program = family, Program.of(family, tasks, core.reward)
        bind, text = binder(), self._program.text
        self._roles = text.bound_roles(bind)
        self._seen = bind.bind(text.seen[0], dict(text.seen[1]))
        self._data: dict[int, tuple[Stack, tuple[TorchTable, ...]]] = {}

    def history(self, task: int) -> FloatArray:
        """States at all steps of a task while nobody has acted, (n_steps, n_state)."""
        found: FloatArray = self._family.history(self.tasks.space.columns(self.tasks.values[task : task + 1]))[0]
        return found

    def observe(self, task: int, states: FloatArray) -> th.Tensor:
        """What states, (n, n_state), look like: (n, n_observation), float32; the env's own up to rounding."""
        given = Stack(th.from_numpy(states.T)), *self._of(task)
        if self._program.text.writes:
            out = TorchRoom()
            self._roles["observation"](*given, out)
            columns = out.contents()
        else:
            columns = stacked(self._roles["observation"](*given))
        return columns.numbers.expand(-1, len(states)).T.float()

    def shares(self, task: int, states: FloatArray, actions: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """What the family sees of actions (n, m): shares (n, m), float64, and who is there, of the same shape."""
        given = Stack(th.from_numpy(states.T)), *self._of(task)
        present = self._roles["present"](*given) if "present" in self._roles else Stack(th.ones(actions.shape[1], 1))
        shares = self._seen(Stack(actions.double().T), present).numbers
        return shares.T, stacked(present).numbers.double().expand_as(shares).T

    def chained(self, task: int, states: FloatArray, shares: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Steps one after another: what each action leads to is where the next one starts from.

        Args:
            task: which.
            states: of consecutive steps, (n, n_state); of all but the first, the next state after the one before and
                its action takes the place.
            shares: see there, (n, m).

        Returns:
            The states after each step, (n, n_state), and rewards (n,). A reward's derivatives reach its own action and
            the one before.
        """
        own, chosen = self._of(task), Stack(shares.T)
        kept = Stack(th.from_numpy(states.T))
        noise = self._roles["exogenous"](kept, *own)
        led_to = self._next(kept, chosen, noise, own)
        begun = Stack(th.cat([kept.numbers[:, :1], led_to.numbers[:, :-1]], 1))
        after = self._next(begun, chosen, noise, own)
        rewards = self._roles["reward"](begun, chosen, after, noise, *own, ())
        return after.numbers.T, rewards

    def _next(self, state: Stack, chosen: Stack, noise: Stack, own: tuple[Any, ...]) -> Stack:
        return stacked(self._roles["transition"](state, chosen, noise, *own))

    def _of(self, task: int) -> tuple[Stack, tuple[TorchTable, ...]]:
        """Constants and tables of a task."""
        if task not in self._data:
            tables, slot = self._program.tables, int(self._program.tables.slots[task])
            each = zip(tables.arrays, tables.strides, strict=True)
            read = tuple(TorchTable(a[slot * n : (slot + 1) * n] if n else a) for a, n in each)
            self._data[task] = Stack(th.from_numpy(self._program.constants[slot])[:, None]), read
        return self._data[task]
