"""The parameters of a family, and the presets that its tasks are drawn from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lifelong_gym.errors import integer, one_of, unexpected
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.tasks.distributions import Choice, Constant, Distribution, Drawn, Integer, SameAs, Uniform, draw
from lifelong_gym.tasks.joint import Joint
from lifelong_gym.tasks.parameters import Columns, Parameter, Value
from lifelong_gym.tasks.rules import Rule
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.tasks.text_table import text_table

ATTEMPTS = 100  # at a task that keeps all rules


@dataclass(frozen=True)
class Preset:
    """A named way to draw tasks.

    Attributes:
        draws: distribution per parameter; what isn't listed stays nominal.
        meaning: one line.
        reward: the reward that goes with it, if not the family's own.
        joint: draws of several parameters together, none of which is in ``draws``.
    """

    draws: Mapping[str, Distribution]
    meaning: str
    reward: str | None = None
    joint: tuple[Joint, ...] = ()


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
        joint: Iterable[Joint] = (),
        rules: Iterable[Rule] = (),
    ) -> None:
        """Collect parameters, presets and rules.

        Args:
            parameters: in the order of the columns.
            presets: by name, besides ``single`` and ``default``, which draws what the parameters' ``draws`` say unless
                it is given here.
            wide: parameters that a preset ``wide`` draws from [low/2, 2 high] of their default range, mirrored where
                that is negative; all others as by default. Empty: there is no such preset.
            joint: draws of several parameters together, in ``default`` and ``wide``.
            rules: what must hold among the parameters of every task. Draws that break one are made again.

        Raises:
            ValueError: two parameters share a name; a preset draws an unknown one, leaves its bounds or draws one
                twice; ``wide`` names one whose range can't be widened; a rule is about an unknown one; or the nominal
                task breaks a rule.
            FamilyError: a rule that doesn't answer with a bool a task.
        """
        super().__init__(parameters, rules)
        joint = tuple(joint)
        default = {p.name: p.draws for p in self.parameters if p.draws is not None}
        self.presets: dict[str, Preset] = {
            "default": Preset(default, "the published ranges", joint=joint),
            "single": Preset({}, "one nominal task, over and over"),
        }
        widened = {name: self._widened(name) for name in wide}
        if widened:
            wider = {**default, **widened}
            self.presets["wide"] = Preset(wider, "[low/2, 2 high] of the published ranges", joint=joint)
            if presets and "wide" in presets:
                raise ValueError("preset 'wide' must be given by `wide` or in `presets`. Received both")
        self.presets.update(presets or {})
        for name, preset in self.presets.items():
            try:
                draws = {parameter: self[parameter].in_numbers(draws) for parameter, draws in preset.draws.items()}
                self.presets[name] = replace(preset, draws=draws)
                self._check_preset(self.presets[name])
            except ValueError as error:
                raise type(error)(f"preset {name!r}: {error}") from None

    def _widened(self, name: str) -> Uniform:
        draws = self[name].draws
        if not isinstance(draws, Uniform):
            raise ValueError(f"`wide`: parameter {name!r} must draw from a Uniform by default. Received {draws}")
        try:
            return draws.widened()
        except ValueError as error:
            raise ValueError(f"`wide`: parameter {name!r}: {error}") from None

    def _check_preset(self, preset: Preset) -> None:
        together = [name for joint in preset.joint for name in joint.parameters]
        drawn = {*together, *[name for name, draws in preset.draws.items() if not isinstance(draws, SameAs)]}
        for joint in preset.joint:
            joint.check(self)
        for name in together:
            if name in preset.draws or together.count(name) > 1:
                raise ValueError(f"{name!r} is drawn twice, in `joint` and there again or in `draws`")
        for name, draws in preset.draws.items():
            if not isinstance(draws, SameAs):
                self._check_draws(self[name], draws)
            elif draws.parameter not in drawn:
                raise ValueError(f"{name!r} copies {draws.parameter!r}, which draws nothing")

    @staticmethod
    def _check_draws(parameter: Parameter, draws: Drawn) -> None:
        for value in draws.values if isinstance(draws, Choice) else draws.support:
            parameter.check(float(value))
        if parameter.integer and not isinstance(draws, (Integer, Constant, Choice)):
            raise ValueError(f"{parameter.name!r} must be an integer. Received {draws}")

    def __repr__(self) -> str:
        rows = [(p.name, p.unit, p.text(p.nominal), _range(p), p.meaning) for p in self.parameters]
        return text_table(("parameter", "unit", "nominal", "default range", "meaning"), rows)

    def sample(self, n_tasks: int, seed: int = 0, preset: str = "default") -> TaskSet:
        """Draw tasks. Row j depends on (seed, j) only, so the first 10 of 50 tasks are the 10 tasks.

        A task that breaks a rule is drawn again, up to 100 times; its balanced signs and what is `Listed` stay.

        Args:
            n_tasks: at least 1.
            seed: an integer from 0 on.
            preset: a key of `presets`.

        Raises:
            ValueError: unknown preset, ``n_tasks`` not positive, ``seed`` negative, or a task that still breaks a rule.
        """
        preset = one_of("preset", preset, self.presets)
        n_tasks, seed = integer("n_tasks", n_tasks), integer("seed", seed, 0, most=None)
        values = self._drawn(self.presets[preset], n_tasks, seed)
        for attempt in range(1, ATTEMPTS + 1 if self.rules else 0):
            broken = ~self.keeping(values)
            if not broken.any():
                break
            last = int(np.flatnonzero(broken)[-1]) + 1
            again = self._drawn(self.presets[preset], last, seed, attempt)
            values[:last][broken[:last]] = again[broken[:last]]
        return TaskSet(self, values, seed=seed, preset=preset)

    def _drawn(self, preset: Preset, n_tasks: int, seed: int, attempt: int = 0) -> FloatArray:
        """A task table, shape (n_tasks, n_parameters); rules aren't looked at."""
        values: FloatArray = np.tile(self.nominal, (n_tasks, 1))
        for joint in preset.joint:
            values[:, [self.index(name) for name in joint.parameters]] = joint.draw(self, n_tasks, seed, attempt)
        for name, distribution in preset.draws.items():
            if not isinstance(distribution, SameAs):
                values[:, self.index(name)] = draw(distribution, name, n_tasks, seed, attempt)
        for name, distribution in preset.draws.items():
            if isinstance(distribution, SameAs):
                values[:, self.index(name)] = values[:, self.index(distribution.parameter)]
        return values

    def tasks(self, tasks: Iterable[Mapping[str, Value]]) -> TaskSet:
        """Explicit tasks; what a task leaves out is nominal.

        Raises:
            ValueError: not dicts, an unknown parameter, or a value that is no number or out of its bounds.
        """
        return TaskSet.of(self, tasks)

    def grid(self, **values: Sequence[Value]) -> TaskSet:
        """Every combination of the given parameter values; the rest is nominal. The last parameter varies fastest."""
        for name in values:
            if name not in self._index:
                raise unexpected("grid", name, self.names)
        combinations = itertools.product(*values.values())
        return self.tasks([dict(zip(values, row, strict=True)) for row in combinations])


def _range(parameter: Parameter) -> str:
    """What the default preset draws from."""
    draws = parameter.draws
    if isinstance(draws, Choice):
        return ", ".join(parameter.text(float(value)) for value in draws.values)
    return "" if draws is None else f"{parameter.text(draws.low)} to {parameter.text(draws.high)}"
