"""The parameters of a family, and the presets that its tasks are drawn from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lifelong_gym.errors import integer, one_of, unexpected
from lifelong_gym.tasks.distributions import Constant, Distribution, Integer, SameAs, Uniform, draw
from lifelong_gym.tasks.parameters import Columns, Parameter
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.tasks.text_table import text_table


@dataclass(frozen=True)
class Preset:
    """A named way to draw tasks.

    Attributes:
        draws: distribution per parameter; what isn't listed stays nominal.
        meaning: one line.
        reward: the reward that goes with it, if not the family's own.
    """

    draws: Mapping[str, Distribution]
    meaning: str
    reward: str | None = None


class ParameterSpace(Columns):
    """The parameters of a family, in the order of a task table's columns.

    >>> space = ParameterSpace([Parameter("mass", "kg", "of the block", (0.1, 10.0), Uniform(3.0, 5.0))])
    >>> space.tasks([{"mass": 2.0}, {}]).values
    array([[2.],
           [4.]])
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        presets: Mapping[str, Preset] | None = None,
        wide: Iterable[str] = (),
    ) -> None:
        """Collect parameters and presets.

        Args:
            parameters: in the order of the columns.
            presets: by name, besides ``default`` and ``single``.
            wide: parameters that a preset ``wide`` draws from [low/2, 2 high] of their default range, mirrored where
                that is negative; all others as by default. Empty: there is no such preset.

        Raises:
            ValueError: two parameters share a name, a preset draws an unknown one or leaves its bounds, or ``wide``
                names one whose range can't be widened.
        """
        super().__init__(parameters)
        default = {p.name: p.draws for p in self.parameters if p.draws is not None}
        self.presets: dict[str, Preset] = {
            "default": Preset(default, "the published ranges"),
            "single": Preset({}, "one nominal task, over and over"),
        }
        widened = {name: self._widened(name) for name in wide}
        if widened:
            self.presets["wide"] = Preset({**default, **widened}, "[low/2, 2 high] of the published ranges")
            if presets and "wide" in presets:
                raise ValueError("preset 'wide' must be given by `wide` or in `presets`. Received both")
        self.presets.update(presets or {})
        for name, preset in self.presets.items():
            self._check_preset(name, preset)

    def _widened(self, name: str) -> Uniform:
        draws = self[name].draws
        if not isinstance(draws, Uniform):
            raise ValueError(f"`wide`: parameter {name!r} must draw from a Uniform by default. Received {draws}")
        try:
            return draws.widened()
        except ValueError as error:
            raise ValueError(f"`wide`: parameter {name!r}: {error}") from None

    def _check_preset(self, name: str, preset: Preset) -> None:
        for parameter, draws in preset.draws.items():
            self.index(parameter)
            if isinstance(draws, SameAs):
                if isinstance(preset.draws.get(draws.parameter), (SameAs, type(None))):
                    raise ValueError(f"preset {name!r}: {parameter!r} copies {draws.parameter!r}, which draws nothing")
            else:
                for value in draws.support:
                    try:
                        self[parameter].check(value)
                    except ValueError as error:
                        raise ValueError(f"preset {name!r}: {error}") from None
                if self[parameter].integer and not isinstance(draws, (Integer, Constant)):
                    raise ValueError(f"preset {name!r}: {parameter!r} must be an integer. Received {draws}")

    def __repr__(self) -> str:
        rows = [(p.name, p.unit, f"{p.nominal:g}", _interval(p.draws), p.meaning) for p in self.parameters]
        return text_table(("parameter", "unit", "nominal", "default range", "meaning"), rows)

    def sample(self, n_tasks: int, seed: int = 0, preset: str = "default") -> TaskSet:
        """Draw tasks. Row j depends on (seed, j) only, so the first 10 of 50 tasks are the 10 tasks.

        Args:
            n_tasks: at least 1.
            seed: an integer from 0 on.
            preset: a key of `presets`.

        Raises:
            ValueError: unknown preset, ``n_tasks`` not positive, or ``seed`` negative.
        """
        preset = one_of("preset", preset, self.presets)
        n_tasks, seed = integer("n_tasks", n_tasks), integer("seed", seed, 0, most=None)
        values = np.tile(self.nominal, (n_tasks, 1))
        draws = self.presets[preset].draws
        for name, distribution in draws.items():
            if not isinstance(distribution, SameAs):
                values[:, self.index(name)] = draw(distribution, name, n_tasks, seed)
        for name, distribution in draws.items():
            if isinstance(distribution, SameAs):
                values[:, self.index(name)] = values[:, self.index(distribution.parameter)]
        return TaskSet(self, values, seed=seed, preset=preset)

    def tasks(self, tasks: Iterable[Mapping[str, float]]) -> TaskSet:
        """Explicit tasks; what a task leaves out is nominal.

        Raises:
            ValueError: not dicts, an unknown parameter, or a value that is no number or out of its bounds.
        """
        return TaskSet.of(self, tasks)

    def grid(self, **values: Sequence[float]) -> TaskSet:
        """Every combination of the given parameter values; the rest is nominal. The last parameter varies fastest."""
        for name in values:
            if name not in self._index:
                raise unexpected("grid", name, self.names)
        combinations = itertools.product(*values.values())
        return self.tasks([dict(zip(values, row, strict=True)) for row in combinations])


def _interval(draws: Uniform | Integer | None) -> str:
    return "" if draws is None else f"{draws.low:g} to {draws.high:g}"
