"""Shares of a whole whose worth is drawn anew at every step: a contextual bandit with a known optimum."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Entities, Quantity, Simplex, simplex_or_logits
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import TWO_PI, Vector, log, mul, put, sincos, sqrt, total, where
from lifelong_gym.tasks.joint import Permuted
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter

M, LARGEST = 10, 100  # entities by default, and at most
LOGITS = 5.0  # bound: one share may be 22,000 times another
SMALLEST = 1e-300  # a normal float: 0 times its logarithm is 0
EPSILONS = (0.0, 0.2, 0.4, 0.6, 0.8)
DEFAULT = 0.4
NEWTON = 60  # steps at most; a handful suffice, more where temperatures differ a hundredfold

SEEN = (
    Quantity("worth", "1", "of the whole, if all went here"),
    Quantity("present", "1", "1: it is there, 0: it isn't"),
)


def entropies(action: Vector) -> Vector:
    """``-a ln a`` of each share, 0 at 0."""
    result = action
    for i in range(len(action)):
        result = put(result, i, -action[i] * log(max(action[i], SMALLEST)))
    return result


def reward_worth(state: Vector, action: Vector, noise: Vector, temperatures: Vector, spread: Vector) -> float:
    """``sum x_i a_i - sum beta_i a_i ln a_i``, and noise."""
    radius = sqrt(-2.0 * log(1.0 - noise[-2]))
    disturbed = spread[0] * radius * sincos(TWO_PI * noise[-1])[1]
    return total(mul(state, action)) + total(mul(temperatures, entropies(action))) + disturbed


def optimal_shares(worth: npt.ArrayLike, temperatures: npt.ArrayLike, present: npt.ArrayLike = True) -> FloatArray:
    """The shares a that maximise ``sum x_i a_i - sum beta_i a_i ln a_i``.

    They are ``a_i = exp((x_i - l) / beta_i - 1)`` with the one number l for which they sum to 1.

    Args:
        worth: x, shape (..., m).
        temperatures: beta, positive, shape (..., m).
        present: which entities are there, shape (..., m); the others get 0. One at least must be.

    Returns:
        Shape (..., m).
    """
    x, beta, there = np.broadcast_arrays(
        np.asarray(worth, np.float64), np.asarray(temperatures, np.float64), np.asarray(present, bool)
    )
    # The sum is convex and falls with l; from where one share alone is 1, Newton's steps never go too far.
    multiplier = np.where(there, x - beta, -np.inf).max(axis=-1, keepdims=True)
    for _ in range(NEWTON):
        shares = np.where(there, np.exp(np.minimum((x - multiplier) / beta - 1.0, 0.0)), 0.0)
        step = (shares.sum(axis=-1, keepdims=True) - 1.0) / (shares / beta).sum(axis=-1, keepdims=True)
        multiplier = multiplier + step
        if np.abs(step).max() < 1e-15:
            break
    optimal: FloatArray = shares / shares.sum(axis=-1, keepdims=True)
    return optimal


def evenly(epsilon: float, m: int) -> tuple[float, ...]:
    """Temperatures evenly spaced on ``[0.5 - epsilon / 2, 0.5 + epsilon / 2]``."""
    return tuple(np.linspace(0.5 - 0.5 * epsilon, 0.5 + 0.5 * epsilon, m).tolist())


def space_of(m: int) -> ParameterSpace:
    """The parameters of tasks with up to m entities."""
    names = tuple(f"beta_{i + 1}" for i in range(m))

    def preset(epsilon: float, meaning: str) -> Preset:
        return Preset({}, meaning, joint=(Permuted(names, evenly(epsilon, m)),))

    words = "temperatures evenly spaced on 0.5 ± {:g}, in random order"
    presets = {f"eps{epsilon:g}": preset(epsilon, words.format(0.5 * epsilon)) for epsilon in EPSILONS}
    meanings = [f"temperature: what spreading to entity {i + 1} is worth" for i in range(m)]
    return ParameterSpace(
        [
            *[
                Parameter(name, "1", meaning, (0.01, 2.0), nominal=0.5)
                for name, meaning in zip(names, meanings, strict=True)
            ],
            Parameter("n_entities", "1", "how many are there, the first ones", (1, m), nominal=m, integer=True),
            Parameter("noise", "1", "standard deviation of the reward's noise", (0.0, 10.0), nominal=0.05),
        ],
        {**presets, "default": preset(DEFAULT, f"as eps{DEFAULT:g}")},
    )


@final
class Allocation(KernelFamily):
    """A whole is shared among entities, each with a worth of its own that is drawn anew at every step.

    ## Description
    The more an entity is worth the more it should get, but shares are worth more when they are spread: entity i's
    share a_i adds ``-beta_i a_i ln a_i``. Next states don't depend on actions, so this is a contextual bandit, and its
    optimum is known: ``a_i = exp((x_i - l) / beta_i - 1)``, with the one number l for which these sum to 1. Where all
    temperatures beta_i are equal the optimum is equivariant: permute the entities, and the shares are permuted. The
    further they are apart (eps, in the presets) the more a policy loses that knows an entity by its worth alone.

    The argument ``m`` is the number of entities. A task may have fewer: the last ones are then absent.

    ## Action Space
    Shares: ``Box(0, 1, (m,))``, which is divided by its sum, or with ``actions="logits"`` ``Box(-1, 1, (m,))``, whose
    softmax at a bound of 5 they are.

    ## Observation Space
    Entities side by side, ``Box(0, 1, (2 m,))``; of each one:

    | Num | Observation | Min | Max | Unit |
    |---|---|---|---|---|
    | 0 | worth x; 0 where it is absent | 0 | 1 | 1 |
    | 1 | whether it is there | 0 | 1 | 1 |

    ## Rewards
    ``worth``: ``sum x_i a_i - sum beta_i a_i ln a_i``, and normal noise.

    ## Starting State
    Every worth is uniform on [0, 1], as at every other step.

    ## Episode End
    Truncation after 50 steps.

    ## Parameters
    | Parameter | Nominal | Unit | Meaning |
    |---|---|---|---|
    | ``beta_1`` ... ``beta_m`` | 0.5 | 1 | temperatures |
    | ``n_entities`` | m | 1 | how many are there, the first ones |
    | ``noise`` | 0.05 | 1 | standard deviation of the reward's noise |

    ## Presets
    ``eps0``, ``eps0.2``, ``eps0.4``, ``eps0.6``, ``eps0.8``: temperatures evenly spaced on 0.5 ± eps / 2,
    each task's in a random order; ``default`` is ``eps0.4``.

    ## References
    - Multi-Task Learning for Resource Allocation with Permutation Invariance (anonymous).

    ## Version History
    - v0: first version.
    """

    arguments: ClassVar[tuple[Argument, ...]] = (
        Argument("m", int, M, "number of entities"),
        simplex_or_logits(M, LOGITS),
    )
    m: int
    actions: Simplex
    observations: Entities
    horizon = 50
    rewards = {"worth": reward_worth}  # noqa: RUF012 (declared as ClassVar in the base class)
    reference = "lifelong_gym.references.closed_form:ClosedForm"
    viewer = "lifelong_gym.envs.viewers.allocation:AllocationViewer"
    render_fps = 5

    def __init__(self, **arguments: Any) -> None:
        """With so many entities.

        Raises:
            ValueError: ``m`` isn't from 1 to 100.
        """
        super().__init__(**arguments)
        if not 1 <= self.m <= LARGEST:
            raise ValueError(f"`m` must be from 1 to {LARGEST}. Received {self.m}")
        self.parameters = space_of(self.m)
        self.state = tuple(Quantity(f"worth_{i + 1}", "1", "of the whole, if all went here") for i in range(self.m))
        self.actions = replace(self.actions, m=self.m)
        self.observations = Entities(self.m, SEEN, (1.0, 1.0), (0.0, 0.0))
        self.n_initial_noise, self.n_noise = self.m, self.m + 2

    def constants(self, parameters: Columns) -> Groups:
        """Temperatures, who is there, and how much noise there is."""
        there = tuple((parameters["n_entities"] > i).astype(np.float64) for i in range(self.m))
        temperatures = tuple(parameters[f"beta_{i + 1}"] for i in range(self.m))
        return {"temperatures": temperatures, "there": there, "spread": (parameters["noise"],)}

    @staticmethod
    def initial(noise: Vector) -> Vector:
        """Any worths."""
        return noise

    @staticmethod
    def present(there: Vector) -> Vector:
        """The first ones."""
        return there

    @staticmethod
    def transition(noise: Vector) -> Vector:
        """Any worths, whatever happened."""
        return noise[:-2]

    @staticmethod
    def observation(state: Vector, there: Vector, out: Any) -> None:
        """Entity by entity its worth, and whether it is there."""
        for i in range(len(there)):
            out[2 * i] = where(there[i] > 0.0, state[i], 0.0)
            out[2 * i + 1] = there[i]

    def best_actions(self, parameters: Columns, observations: Any, reward: str) -> Any:
        """The optimum in closed form, as far as float32 and the bound of logits let it be asked for."""
        temperatures = np.stack([parameters[f"beta_{i + 1}"] for i in range(self.m)], axis=-1)
        worth = self.observations.blocks(observations)[..., 0]
        return self.actions.asking_for(optimal_shares(worth, temperatures, self.observations.present(observations)))

    def check_state(self, state: FloatArray) -> None:
        """Raise `ValueError` unless all worths are in [0, 1]."""
        super().check_state(state)
        for channel, value in zip(self.state, state.tolist(), strict=True):
            if not 0.0 <= value <= 1.0 or math.isnan(value):
                raise ValueError(f"`state`: {channel.name} must be in [0, 1]. Received {value}")
