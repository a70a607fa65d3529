"""A mass on a spring, with a damper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import numpy as np

from lifelong_gym.envs.control.base import ControlFamily, control_parameters, default_draws, safe2015, sensors
from lifelong_gym.envs.control.integrators import linear_step, zero_order_hold
from lifelong_gym.envs.family import Columns, Groups
from lifelong_gym.envs.spaces import Continuous, Quantity
from lifelong_gym.numerics.scalar import Vector
from lifelong_gym.tasks.distributions import LogUniform, RandomSign, Uniform
from lifelong_gym.tasks.parameter_space import Preset
from lifelong_gym.tasks.parameters import Parameter

DT = 0.05
FORCE = 10.0
LIMITS = (10.0, 10.0)
STATE = (
    Quantity("position", "m", "of the mass, from where the spring is relaxed"),
    Quantity("velocity", "m/s", "of the mass"),
)
OWN = (
    Parameter("mass", "kg", "mass", (0.1, 100.0), Uniform(3.0, 5.0)),
    Parameter("stiffness", "N/m", "of the spring", (0.0, 100.0), Uniform(1.0, 7.0)),
    Parameter("damping", "N s/m", "of the damper", (0.0, 10.0), Uniform(0.01, 0.2)),
)
PRESETS = {
    "paper": Preset(
        {"mass": Uniform(3.0, 5.0), "stiffness": Uniform(1.0, 7.0)},
        "Table 1 of Zhan et al. (2017), which names no damping",
    ),
    "hetero": Preset(
        {
            **default_draws(OWN),
            "mass": LogUniform(1.0, 10.0),
            "stiffness": Uniform(0.5, 3.0),
            "actuator_gain": RandomSign(LogUniform(1.0, 10.0)),
            "goal_1": Uniform(-1.5, 1.5),
        },
        "strength and direction of the force, mass and goal differ",
    ),
    "known_basis": Preset(
        {"actuator_gain": RandomSign(), "sensor_offset_1": Uniform(-1.5, 1.5)},
        "one system, direction of force and zero of sensor differ: 2 basis vectors give every optimum",
    ),
    "safe2015": safe2015(OWN),
}


@final
class SimpleMass(ControlFamily):
    """A mass on a spring and a damper, to be held still at the goal by a force.

    ## Description
    ``m x'' = F - k x - d x'``, solved exactly while the force is held (50 ms).

    ## Action Space
    ``Box(-1, 1, (1,))``, a = 2u.

    | Num | Action | a | Unit |
    |---|---|---|---|
    | 0 | force on the mass | -2 to 2 | 10 N |

    ## Observation Space
    ``Box(shape=(2,))``; the limits below are those beyond which a state fails.

    | Num | Observation | Min | Max | Unit |
    |---|---|---|---|---|
    | 0 | position | -10 | 10 | m |
    | 1 | velocity | -10 | 10 | m/s |

    ## Rewards
    ``norm`` or ``quadratic``, see `ControlFamily`; a failed step costs 10, or 100.

    ## Starting State
    Position and velocity uniform in [-1, 1].

    ## Episode End
    After 150 steps of 50 ms; a state beyond the limits above fails, see `ControlFamily`.

    ## Parameters
    ``lifelong list LifelongSimpleMass-v0`` prints the table.

    ## Arguments
    Those of every env, see `LifelongEnv`; ``reward="norm"`` or ``"quadratic"``; ``physics="mujoco"`` (extra
    ``mujoco``) replaces the kernel's transition.

    ## Presets
    ``default``, ``single``, ``wide``, ``paper``, ``hetero``, ``known_basis``, ``safe2015``.

    ## References
    See `ControlFamily`.

    ## Version History
    - v0: first version; failure cost 10.
    """

    parameters = control_parameters(OWN, STATE, LIMITS, (1.0, 1.0), PRESETS)
    state = STATE
    actions = Continuous((Quantity("force", "10 N", "on the mass, before actuator_gain"),), (2.0,))
    observations = sensors(STATE, LIMITS)
    time_step = DT
    n_initial_noise = 2
    state_limits = LIMITS
    failure_cost = 10.0
    simulators: ClassVar[Mapping[str, str]] = {
        "mujoco": "lifelong_gym.envs.engines.mujoco.masses:MujocoSimpleMass",
    }
    viewer = "lifelong_gym.envs.viewers.simple_mass:SimpleMassViewer"

    @staticmethod
    def transition(state: Vector, action: Vector, system: Vector, input_matrix: Vector) -> Vector:
        """One step, exact."""
        return linear_step(state, action, system, input_matrix)

    def physics(self, p: Columns) -> Groups:
        """The matrices of one step."""
        a, b = np.zeros((2, 2, len(p["mass"]))), np.zeros((2, 1, len(p["mass"])))
        a[0, 1] = 1.0
        a[1] = -p["stiffness"] / p["mass"], -p["damping"] / p["mass"]
        b[1, 0] = FORCE * p["actuator_gain"] / p["mass"]
        return zero_order_hold(a, b, DT)
