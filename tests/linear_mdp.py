"""A family with tables of each task's own, of choices and numbers only: linear Markov decision processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Discrete, Quantity
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.tasks.distributions import Integer
from lifelong_gym.tasks.parameter_space import ParameterSpace
from lifelong_gym.tasks.parameters import Parameter

S, A, D = 6, 3, 4
FEATURES = np.random.default_rng(0).dirichlet(np.full(D, 0.3), (S, A))  # of all tasks, (n_states, n_actions, d)


def reward_worth(next_state: Vector, tables: Any) -> float:
    """What arriving there is worth."""
    return tables[1][int(next_state[0])]


class LinearMDP(KernelFamily):
    """Markov decision processes whose kernels are linear in features that all tasks share.

    ## Description
    Six states, three actions; which measures and worths go with the features is drawn from the task's number.

    ## Action Space
    ``Discrete(3)``.

    ## Observation Space
    ``Discrete(6)``.

    ## Rewards
    Worth of the next state.

    ## Starting State
    The first.

    ## Episode End
    After 20 steps.

    ## Parameters
    ``number``.

    ## Version History
    - v0: first version.
    """

    parameters = ParameterSpace(
        [Parameter("number", "1", "of the process", (0, 1e6), Integer(0, 999), 3, integer=True)]
    )
    state = (Quantity("state", "1", "which"),)
    actions = Discrete(A)
    observations = Discrete(S)
    horizon = 20
    n_noise = 1
    rewards: ClassVar[Mapping[str, Any]] = {"worth": reward_worth}
    reference = "lifelong_gym.references.tabular:ValueIteration"
    TABLES = (("cumulative", "task"), ("worth", "task"))

    def process(self, task: Mapping[str, float]) -> tuple[FloatArray, FloatArray]:
        """Its kernel, (n_states, n_actions, n_states), a mixture of measures as the features say, and states' worth."""
        rng = np.random.default_rng(int(task["number"]))
        return FEATURES @ rng.dirichlet(np.full(S, 0.3), D), rng.uniform(0, 1, S)

    def tables(self, parameters: Mapping[str, float], *shared: Any) -> tuple[npt.ArrayLike, ...]:
        """The distribution of the next state, cumulative, and what states are worth."""
        kernel, worth = self.process(parameters)
        return np.cumsum(kernel, axis=-1), worth

    def constants(self, parameters: Columns) -> Groups:
        """None."""
        return {}

    @staticmethod
    def initial() -> Vector:
        """The first state."""
        return (0.0,)

    @staticmethod
    def transition(state: Vector, action: Vector, noise: Vector, tables: Any) -> Vector:
        """Counting, not searching: no branch, and never beyond the last entry."""
        start, n = (int(state[0]) * A + int(action[0])) * S, 0
        for i in range(S - 1):
            n += noise[0] >= tables[0][start + i]
        return (float(n),)

    @staticmethod
    def observation(state: Vector, out: Any) -> None:
        """Which state."""
        out[0] = int(state[0])
