"""A task of a family as tables, read off the very text that backends run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lifelong_gym.envs.backends.text import Program
from lifelong_gym.envs.family import Family, KernelFamily, kernel_of, reward_name
from lifelong_gym.envs.spaces import Discrete
from lifelong_gym.errors import FamilyError
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.bind import Binder
from lifelong_gym.numerics.chance import mean, outcomes
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.numerics.tabular import TabularModel
from lifelong_gym.tasks.task_set import TaskSet


@runtime_checkable
class Tabulated(Protocol):
    """A family that has its tasks' exact tables at hand, so that nobody need run its text for them."""

    def model(self, task: Mapping[str, float], reward: str) -> TabularModel:
        """A task, all of whose parameters are given, under the reward of that name."""
        ...


def is_tabular(family: Family) -> bool:
    """Whether a family's tasks can be written as tables: it has a kernel, and actions and observations are Discrete."""
    spaces = family.actions, family.observations
    return isinstance(family, KernelFamily) and all(isinstance(space, Discrete) for space in spaces)


def tabular_model(family: Family, task: Mapping[str, Any], reward: str | None = None) -> TabularModel:
    """A task as exact tables: its text runs once for every state, action and outcome of its noise.

    >>> import lifelong_gym
    >>> from lifelong_gym.envs.models import tabular_model
    >>> model = tabular_model(lifelong_gym.family("LifelongGridWorld-v0"), {"slip": 0.2})
    >>> model.P.shape, model.P[44, 0, [34, 54, 43, 45]].round(12).tolist()
    ((100, 4, 100), [0.85, 0.05, 0.05, 0.05])

    Args:
        family: with a kernel that doesn't fail, and actions and observations that are `Discrete`; each of its
            `KernelFamily.discrete_states` is observed as its number.
        task: parameters; what it leaves out is nominal.
        reward: name of the family's reward; None: its first.

    Raises:
        FamilyError: another family; or noise that does more than to choose among finitely many outcomes.
        ValueError: no such task or reward.
    """
    kernel = kernel_of(family, "a tabular model")
    if not is_tabular(family) or family.state_limits:
        raise FamilyError(
            f"{type(family).__name__} must have Discrete actions and observations, and states that don't fail, "
            "to be written as tables"
        )
    tasks = family.parameters.tasks([task])
    if isinstance(family, Tabulated):
        return family.model(dict(tasks[0]), reward_name(family, None, reward))
    return outcomes_of(kernel, tasks, reward)


def outcomes_of(family: KernelFamily, tasks: TaskSet, reward: str | None = None) -> TabularModel:
    """The first of these tasks, by running the text; see `tabular_model`."""
    return _Outcomes(family, tasks, reward).model()


class _Outcomes:
    """The text of one task, run on all that may happen."""

    def __init__(self, family: KernelFamily, tasks: TaskSet, reward: str | None) -> None:
        self._family, self._name = family, type(family).__name__
        program = Program.of(family, tasks, reward)
        if program.text.n_measures:
            raise FamilyError(f"{self._name} must measure nothing to be written as tables")
        self._k = tuple(program.constants[0].tolist())
        self._tables = tuple(table.data for table in program.tables.arrays)
        self._writes, self._roles = program.text.writes, program.text.bound_roles(Binder({}))
        self._states = self._all_states()

    def _all_states(self) -> list[Vector]:
        """In the order in which they are observed."""
        given, shape = np.asarray(self._family.discrete_states(), np.float64), self._family.state
        wanted = (int(self._family.observations.space.n), len(shape))  # type: ignore[attr-defined]
        if given.shape != wanted:
            raise FamilyError(f"{self._name}: `discrete_states` must have shape {wanted}. Received {given.shape}")
        states = [tuple(state) for state in given.tolist()]
        for number, state in enumerate(states):
            if (seen := self._number(state)) != number:
                raise FamilyError(
                    f"{self._name}: the state {state}, number {number} of `discrete_states`, must be observed as "
                    f"{number}. Received {seen}: what is observed must tell the state"
                )
        return states

    def _number(self, state: Vector) -> int:
        """What is observed of a state."""
        out = [0.0]
        written = (out,) if self._writes else ()
        seen = self._roles["observation"](state, self._k, self._tables, *written)
        return int(out[0] if self._writes else seen[0])

    def model(self) -> TabularModel:
        """All of it."""
        n, m = len(self._states), int(self._family.actions.space.n)  # type: ignore[attr-defined]
        ends = np.array([bool(self._roles["terminated"](state, self._k, self._tables, ())) for state in self._states])
        transitions, rewards = np.zeros((n, m, n)), np.zeros((n, m))
        for s, a in np.ndindex(n, m):
            for probability, (following, reward) in self._steps(self._states[s], a):
                transitions[s, a, following] += probability
                rewards[s, a] += probability * reward
        return TabularModel(transitions, rewards, self._start(), ends)

    def _start(self) -> FloatArray:
        start = np.zeros(len(self._states))
        initial, n = self._roles["initial"], self._family.n_initial_noise
        for probability, number in outcomes(lambda noise: self._number(initial(noise, self._k, self._tables)), n):
            start[number] += probability
        return start

    def _steps(self, state: Vector, action: int) -> Any:
        """Each probability, next state and mean reward of an action."""
        exogenous = self._roles.get("exogenous")
        given = None if exogenous is None else exogenous(state, self._k, self._tables)

        def step(noise: tuple[Any, ...]) -> tuple[int, float]:
            noise, chosen = noise if given is None else given, (float(action),)
            following = self._roles["transition"](state, chosen, noise, self._k, self._tables)
            number = self._number(following)
            earned = self._roles["reward"](state, chosen, self._states[number], noise, self._k, self._tables, ())
            return number, mean(earned)

        return outcomes(step, self._family.n_noise if given is None else 0)
