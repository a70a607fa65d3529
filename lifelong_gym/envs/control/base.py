"""What all control families share: goal, sensors, start states, the papers' rewards, absorbing failure."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Bounded, Quantity
from lifelong_gym.numerics.scalar import Vector, beyond, mul, scale, shift, sqrt, sub, total
from lifelong_gym.tasks.distributions import Distribution
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter

MAX_SENSOR_OFFSET = 2.0
EFFORT_WEIGHT = 0.1


def reward_norm(action: Vector, next_state: Vector, goal: Vector) -> float:
    """The papers' reward: ``-||x - x*|| - ||a||``."""
    error = sub(next_state, goal)
    return -sqrt(total(mul(error, error))) - sqrt(total(mul(action, action)))


def reward_quadratic(action: Vector, next_state: Vector, goal: Vector) -> float:
    """``-(x - x*)'(x - x*) - 0.1 a'a``, for which LQR is exactly optimal on linear systems."""
    error = sub(next_state, goal)
    return -total(mul(error, error)) - EFFORT_WEIGHT * total(mul(action, action))


class ControlFamily(KernelFamily):
    """A mechanical system to be held at a goal.

    ## Actions
    The env's action u in [-1, 1] is clipped and multiplied by a bound: ``a = bound * u``. Rewards and linear
    policies count in a; the physical input is a times the family's unit of force times ``actuator_gain``,
    held for a step.

    ## Observations
    What the sensors say of the state x, in float32: ``y = sensor_gain * x - sensor_offset``. The Box reaches to twice
    the failure limits, where failed states end, plus 2 for the offsets.

    ## Rewards
    ``norm`` (default): ``-||x - x*|| - ||a||`` of the next state x and the clipped action; the goal x* is
    seen by the reward alone. ``quadratic``: ``-(x - x*)'(x - x*) - 0.1 a'a``, for which LQR is optimal on
    linear systems.

    ## Starting State
    Uniform in [-start, start], independently per channel.

    ## Episode End
    After 150 steps (truncation). A state beyond its limits *fails*: it is clipped to twice the limits and
    frozen, and this and every later step costs the family's failure cost (its square under ``quadratic``),
    which is more than an untrained policy's steps cost on average: an early end is never attractive.
    ``terminate_on_failure=True`` ends the episode instead.

    ## Constraints
    ``constraints={"angle": 0.2, "force": 1.5, "force_change": 0.5}`` puts into every info ``constraint_values``,
    ``|x| - limit`` of state channels, clipped actions a and their changes from step to step, and
    ``constraint_violation``, whether one is positive; rewards and episodes stay what they are. See `SafetySignal`.

    ## Parameters
    Besides its own each family has, for state channels i = 1 ... n,

    | Parameter | Nominal | Meaning |
    |---|---|---|
    | ``actuator_gain`` | 1 | factor on the physical input, of either sign |
    | ``goal_i`` | 0 | the goal x* |
    | ``sensor_gain_i`` | 1 | factor on a sensor, of either sign |
    | ``sensor_offset_i`` | 0 | subtracted by a sensor |
    | ``start_i`` | the family's | half-width of the start |

    ## Presets
    ``default``: the published ranges. ``single``: one nominal task. ``wide``: ranges [low/2, 2 high].
    ``paper``: Table 1 of Zhan et al. (2017) as printed, where it has the system. ``hetero``: tasks so
    different that no single linear policy serves them all. ``known_basis``: the nominal system behind rotated
    or shifted sensors and actuators, so that the optimal linear policies of all tasks are known combinations
    of a few basis vectors. ``safe2015``: the default ranges with the quadratic reward, for the systems of Bou
    Ammar et al. (2015).

    ## References
    - Y. Zhan, H. Bou Ammar, M. E. Taylor: Scalable Lifelong Reinforcement Learning. Pattern Recognition,
      2017.
    - H. Bou Ammar, R. Tutunov, E. Eaton: Safe Policy Search for Lifelong Reinforcement Learning with
      Sublinear Regret. ICML, 2015.
    """

    rewards: ClassVar[Mapping[str, Any]] = {"norm": reward_norm, "quadratic": reward_quadratic}
    horizon = 150
    reference = "lifelong_gym.references.linear:LinearSearch"

    @staticmethod
    def initial(noise: Vector, start: Vector) -> Vector:
        """Uniform in ``[-start, start]``."""
        return mul(start, shift(-1.0, scale(2.0, noise)))

    @staticmethod
    def observation(state: Vector, sensor_gain: Vector, sensor_offset: Vector) -> Vector:
        """What the sensors say."""
        return sub(mul(sensor_gain, state), sensor_offset)

    @staticmethod
    def failed(state: Vector, limits: Vector) -> bool:
        """A state beyond its limit, or not a number."""
        return beyond(state, limits)

    def cost_of_failing(self, reward: str | None) -> float:
        """The family's cost, squared under the quadratic reward, so that failing is worse than erring there too."""
        return self.failure_cost**2 if reward == "quadratic" else self.failure_cost

    @abstractmethod
    def physics(self, p: Columns) -> Groups:
        """The groups of constants of the system itself, from the columns of the task table."""

    def constants(self, parameters: Columns) -> Groups:
        """The system's groups, and those that all control families have."""
        numbers = range(1, len(self.state) + 1)
        shared = {
            group: tuple(parameters[f"{group}_{i}"] for i in numbers)
            for group in ("goal", "sensor_gain", "sensor_offset", "start")
        }
        return {**self.physics(parameters), "limits": self.state_limits, **shared}


def control_parameters(
    own: Iterable[Parameter],
    state: tuple[Quantity, ...],
    limits: tuple[float, ...],
    start: tuple[float, ...],
    presets: Mapping[str, Preset],
) -> ParameterSpace:
    """The system's own parameters followed by those of every control family.

    Args:
        own: the system's; the preset ``wide`` widens those that the default draws.
        state: its channels.
        limits: largest magnitude of each channel that doesn't fail; goals and starts lie within.
        start: nominal half-width of each channel's start.
        presets: besides ``default``, ``single`` and ``wide``.
    """
    own = tuple(own)
    channels = [(i, *row) for i, row in enumerate(zip(state, limits, start, strict=True), 1)]
    offset = (-MAX_SENSOR_OFFSET, MAX_SENSOR_OFFSET)
    shared = [Parameter("actuator_gain", "1", "factor on the physical input", (-20.0, 20.0), nominal=1.0)]
    for i, x, limit, _ in channels:
        shared.append(Parameter(f"goal_{i}", x.unit, f"goal of {x.name}", (-limit, limit), nominal=0.0))
    for i, x, _, _ in channels:
        meaning = f"factor on the sensor of {x.name}"
        shared.append(Parameter(f"sensor_gain_{i}", "1", meaning, (-1.0, 1.0), nominal=1.0))
    for i, x, _, _ in channels:
        meaning = f"subtracted by the sensor of {x.name}"
        shared.append(Parameter(f"sensor_offset_{i}", x.unit, meaning, offset, nominal=0.0))
    for i, x, limit, width in channels:
        meaning = f"half-width of the start of {x.name}"
        shared.append(Parameter(f"start_{i}", x.unit, meaning, (0.0, limit), nominal=width))
    return ParameterSpace([*own, *shared], presets, wide=default_draws(own))


def default_draws(own: Iterable[Parameter]) -> dict[str, Distribution]:
    """What the ``default`` preset draws."""
    return {parameter.name: parameter.draws for parameter in own if parameter.draws is not None}


def safe2015(own: Iterable[Parameter]) -> Preset:
    """The preset of that name."""
    return Preset(default_draws(own), "the published ranges, with the quadratic reward", reward="quadratic")


def sensors(state: tuple[Quantity, ...], limits: tuple[float, ...]) -> Bounded:
    """Observations wide enough for the clipped failed state under every sensor gain and offset."""
    return Bounded(state, tuple(2.0 * limit + MAX_SENSOR_OFFSET for limit in limits))
