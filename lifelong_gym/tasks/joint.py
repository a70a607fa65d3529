"""Draws of several parameters together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.distributions import uniforms
from lifelong_gym.tasks.parameters import Columns, Value


@dataclass(frozen=True)
class Distinct:
    """Different integers among low, low + 1, ... high: one a parameter, every arrangement as likely.

    >>> instruments = Distinct(("first", "second", "third"), 0, 24)

    Attributes:
        parameters: names of integer parameters or enumerations; at most as many as there are integers.
        low: smallest integer.
        high: largest integer.
    """

    parameters: tuple[str, ...]
    low: int
    high: int

    def __str__(self) -> str:
        return f"{', '.join(self.parameters)}: different integers, {self.low} to {self.high}"

    def check(self, space: Columns) -> None:
        """Raise `ValueError` unless these are integer parameters for which all the integers are valid."""
        if not 0 < len(self.parameters) <= self.high - self.low + 1:
            raise ValueError(f"there must be a parameter, and an integer for each. Received {self!r}")
        for name in self.parameters:
            if not space[name].integer:
                raise ValueError(f"{name!r} must be an integer. Received {self!r}")
            space[name].check(self.low)
            space[name].check(self.high)

    def draw(self, space: Columns, n: int, seed: int, attempt: int) -> FloatArray:
        """Values of the parameters in tasks 0 ... n - 1, shape (n, n_parameters), as `distributions.draw`."""
        return self.low + _distinct(self.parameters, self.high - self.low + 1, n, seed, attempt)


@dataclass(frozen=True)
class Permuted:
    """Given values in random order: one a parameter, every order as likely.

    >>> temperatures = Permuted(("first", "second", "third"), (0.1, 0.5, 0.9))

    Attributes:
        parameters: names, all different.
        values: as many numbers.
    """

    parameters: tuple[str, ...]
    values: tuple[float, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.parameters)}: {', '.join(f'{value:.4g}' for value in self.values)} in random order"

    def check(self, space: Columns) -> None:
        """Raise `ValueError` unless there is a value for each parameter, and all are valid for all."""
        if len(self.parameters) != len(self.values) or not self.parameters:
            raise ValueError(f"there must be a parameter, and a value for each. Received {self!r}")
        for name in self.parameters:
            for value in self.values:
                space[name].check(float(value))

    def draw(self, space: Columns, n: int, seed: int, attempt: int) -> FloatArray:
        """Values of the parameters in tasks 0 ... n - 1, shape (n, n_parameters), as `distributions.draw`."""
        order = _distinct(self.parameters, len(self.values), n, seed, attempt)
        return np.array(self.values, np.float64)[order.astype(np.int64)]


def _distinct(names: tuple[str, ...], size: int, n: int, seed: int, attempt: int) -> FloatArray:
    """Different integers from 0 to ``size - 1``, one a name, in tasks 0 ... n - 1, shape (n, n_names)."""
    found = np.empty((n, len(names)))
    for i, name in enumerate(names):
        # Of those that are left, the r-th: every smaller one that is taken moves it up by one.
        r = np.floor((size - i) * uniforms(name, n, seed, attempt)[0])
        for taken in np.sort(found[:, :i], axis=1).T:
            r += r >= taken
        found[:, i] = r
    return found


@dataclass(frozen=True)
class Grouped:
    """So many different integers from each of several ranges, one a parameter, in random order.

    >>> clients = Grouped(("first", "second", "third"), ((2, 0, 79), (1, 80, 99)))
    >>> str(clients)
    'first, second, third: different integers, 2 of 0 to 79 and 1 of 80 to 99, in any order'

    Attributes:
        parameters: names of integer parameters or enumerations.
        groups: of each range how many integers of it are drawn, the smallest and the largest.
    """

    parameters: tuple[str, ...]
    groups: tuple[tuple[int, int, int], ...]

    def __str__(self) -> str:
        groups = " and ".join(f"{count} of {low} to {high}" for count, low, high in self.groups)
        return f"{', '.join(self.parameters)}: different integers, {groups}, in any order"

    def check(self, space: Columns) -> None:
        """Raise `ValueError` unless all the integers are valid, and each parameter gets one of its own."""
        ranges = sorted((low, high) for _, low, high in self.groups)
        if sum(count for count, *_ in self.groups) != len(self.parameters):
            raise ValueError(f"`groups` must hold an integer for each parameter. Received {self!r}")
        if any(high >= low for (_, high), (low, _) in itertools.pairwise(ranges)):
            raise ValueError(f"`groups` must be apart. Received {self!r}")
        for _, low, high in self.groups:
            for name in self.parameters:
                Distinct((name,), low, high).check(space)
        for part in self._parts():
            part.check(space)

    def _parts(self) -> list[Distinct]:
        """Each group's draw, by the names of as many parameters."""
        names = iter(self.parameters)
        return [Distinct(tuple(itertools.islice(names, n)), low, high) for n, low, high in self.groups if n]

    def draw(self, space: Columns, n: int, seed: int, attempt: int) -> FloatArray:
        """Values of the parameters in tasks 0 ... n - 1, shape (n, n_parameters), as `distributions.draw`."""
        found = np.concatenate([part.draw(space, n, seed, attempt) for part in self._parts()], axis=1)
        order = np.argsort([uniforms(name, n, seed, attempt)[1] for name in self.parameters], axis=0, kind="stable")
        drawn: FloatArray = np.take_along_axis(found, order.T, axis=1)
        return drawn


@dataclass(frozen=True)
class Listed:
    """Whole tasks from a list, dealt like a pack of cards: all in random order, then all in another one.

    >>> maps = Listed(({"goal_row": 7, "goal_column": 7}, {"goal_row": 5}))
    >>> maps.parameters
    ('goal_row', 'goal_column')

    Attributes:
        tasks: dicts of parameters. What one leaves out that another names is nominal in it; what none names is left to
            the rest of the preset.
    """

    tasks: tuple[Mapping[str, Value], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))

    def __str__(self) -> str:
        return f"{', '.join(self.parameters)}: {len(self.tasks)} listed tasks"

    @property
    def parameters(self) -> tuple[str, ...]:
        """All that a task names, in the order in which they come up."""
        return tuple(dict.fromkeys(name for task in self.tasks for name in task))

    def check(self, space: Columns) -> None:
        """Raise `ValueError` unless there are tasks, and all their values are valid."""
        if not self.parameters:
            raise ValueError(f"`tasks` must be dicts that name parameters. Received {self.tasks}")
        for task in self.tasks:
            for name, value in task.items():
                space[name].check(space[name].number(value))

    def draw(self, space: Columns, n: int, seed: int, attempt: int) -> FloatArray:
        """Values of the parameters in tasks 0 ... n - 1, shape (n, n_parameters); whatever the attempt, the same."""
        table = np.array([space.row(task) for task in self.tasks])[:, [space.index(name) for name in self.parameters]]
        packs = -(-n // len(table))
        u = uniforms(",".join(self.parameters), packs * len(table), seed)[0].reshape(packs, len(table))
        dealt: FloatArray = table[np.argsort(u, axis=1, kind="stable").ravel()[:n]]
        return dealt


Joint = Distinct | Grouped | Permuted | Listed
