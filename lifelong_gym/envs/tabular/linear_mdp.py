"""Linear Markov decision processes whose features all tasks share, and whose optimal value is a parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.arguments import Argument
from lifelong_gym.envs.family import Columns, Groups, KernelFamily
from lifelong_gym.envs.spaces import Discrete, Quantity
from lifelong_gym.envs.tabular.linear_models import LAYOUTS, LinearModels
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.numerics.scalar import Vector, where
from lifelong_gym.numerics.tabular import TabularModel
from lifelong_gym.tasks.distributions import Integer, Uniform
from lifelong_gym.tasks.joint import Listed
from lifelong_gym.tasks.parameter_space import ParameterSpace, Preset
from lifelong_gym.tasks.parameters import Parameter
from lifelong_gym.tasks.rules import Rule

STATE = (Quantity("stage", "1", "steps taken"), Quantity("state", "1", "which, of those of a stage"))
LAST_KERNEL = 999_999
# Per step of an episode: the lowest rung of a ladder of values, the highest one, and the gap that identifies tasks.
LOW, HIGH, SEPARATION = 0.27, 0.75, 0.05
N_RUNGS, MARGIN, CROWD = 10, 1.1, 0.3  # gaps of `separated` and `crowded` as multiples of the separation


def space_of(models: LinearModels) -> ParameterSpace:
    """Parameters of processes of these sizes: values grow with the number of stages."""
    n, draws = models.n_stages, Integer(0, LAST_KERNEL)

    def ladder(gap: float, meaning: str) -> Preset:
        rungs = tuple({"value": n * (LOW + gap * SEPARATION * j)} for j in range(N_RUNGS))
        return Preset({"kernel": draws}, meaning, joint=(Listed(rungs),))

    return ParameterSpace(
        [
            Parameter("kernel", "1", "draws what goes with the features", (0, LAST_KERNEL), draws, 0, integer=True),
            Parameter("value", "1", "optimal value of the start", (0.0, n), Uniform(LOW * n, HIGH * n), 0.5 * n),
            Parameter("contrast", "1", "scale of what rewards depend on", (0.01, 1.0), nominal=0.25),
        ],
        {
            "separated": ladder(MARGIN, f"values of ten tasks are {MARGIN} separations apart"),
            "crowded": ladder(CROWD, f"values of ten tasks are {CROWD} separations apart"),
            "twins": Preset({"kernel": draws}, "equal values, other dynamics"),
        },
        rules=[
            Rule(
                ("kernel", "value", "contrast"),
                "`value` must be one that the kernel reaches at this contrast with rewards in [0, 1]",
                models.within_reach,
                models.valid,
            )
        ],
    )


def transition_text(n_states: int) -> Callable[..., Vector]:
    """Inverse of the cumulative distribution, by counting: no branch, and never beyond the last entry."""

    def transition(state: Vector, action: Vector, noise: Vector, tables: Any, sizes: Vector) -> Vector:
        stage, drawn = min(state[0], sizes[2] - 1.0), 0.0
        start = int(((stage * sizes[0] + state[1]) * sizes[1] + action[0]) * sizes[0])
        for i in range(n_states - 1):
            drawn = drawn + where(noise[0] >= tables[0][start + i], 1.0, 0.0)
        return stage + 1.0, where(state[0] >= sizes[2], state[1], drawn)

    return transition


def reward_linear(state: Vector, action: Vector, tables: Any, sizes: Vector) -> float:
    """What the task pays for the action; nothing after the last stage."""
    stage = min(state[0], sizes[2] - 1.0)
    paid = tables[1][int((stage * sizes[0] + state[1]) * sizes[1] + action[0])]
    return where(state[0] >= sizes[2], 0.0, paid)


@final
class LinearMDP(KernelFamily):
    """Linear Markov decision processes: features are shared, what goes with them is the task.

    ## Description
    An episode has ``n_stages`` steps. At stage h, state s and action a have the features ``phi(s, a)``, ``d`` numbers
    in the probability simplex that all tasks share (``features``); the next state is drawn from ``phi(s, a) @ mu_h``,
    and the reward is ``contrast phi(s, a) @ eta_h + shift``, in [0, 1]. The parameter ``kernel`` draws mu and eta; the
    shift is such that the best policy earns exactly ``value``, and neither it nor ``contrast`` changes which policy
    that is. So tasks are as far apart as one likes, or alike in value and unlike in all else. Amani et al. (2023) tell
    tasks apart by their values.

    The argument ``layout="lock"`` builds combination locks instead, in which choosing at random finds the reward in one
    of ``n_actions ** (n_stages - 1)`` episodes; it wants ``d = n_actions + 1``.

    ## Action Space
    ``Discrete(n_actions)``, of 4 by default.

    ## Observation Space
    ``Discrete((n_stages + 1) n_states)``: stage and state, ``n_states stage + state``; 120 by default.

    | Num | State | Min | Max | Unit |
    |---|---|---|---|---|
    | 0 | stage, steps taken | 0 | n_stages | 1 |
    | 1 | state | 0 | n_states - 1 | 1 |

    ## Rewards
    ``linear``: see above.

    ## Starting State
    State 0 at stage 0.

    ## Episode End
    Termination after ``n_stages`` steps, 5 by default; a longer horizon is refused.

    ## Parameters
    | Parameter | Nominal | Default range | Unit | Meaning |
    |---|---|---|---|---|
    | ``kernel`` | 0 | 0 to 999999 | 1 | an integer that draws mu and eta |
    | ``value`` | 2.5 | 1.35 to 3.75 | 1 | optimal value of the start, V*_1(s_0) |
    | ``contrast`` | 0.25 | | 1 | scale of what rewards depend on |

    Values are of 5 stages, and in proportion to their number. One that rewards in [0, 1] can't give is refused with the
    interval that they can.

    ## Presets
    ``default``, ``single``, ``separated``: a ladder of ten values, 0.275 apart; ``crowded``: 0.075 apart; ``twins``:
    equal values.

    ## References
    - S. Amani et al.: Scaling Distributed Multi-task Reinforcement Learning with Experience Sharing. 2023.

    ## Version History
    - v0: first version.
    """

    state = STATE
    n_noise = 1
    arguments: ClassVar[tuple[Argument, ...]] = (
        Argument("d", int, 5, "numbers of a feature vector"),
        Argument("n_states", int, 20, "of a stage"),
        Argument("n_actions", int, 4, "in each state"),
        Argument("n_stages", int, 5, "steps of an episode"),
        Argument("layout", str, "random", "what is drawn", choices={layout: layout for layout in LAYOUTS}),
    )
    rewards = {"linear": reward_linear}  # noqa: RUF012 (declared as ClassVar in the base class)
    TABLES = (("cumulative", "task"), ("rewards", "task"))
    reference = "lifelong_gym.references.tabular:BackwardInduction"
    viewer = "lifelong_gym.envs.viewers.linear_mdp:LinearMDPViewer"
    render_fps = 2
    known = ("features",)
    d: int
    n_states: int
    n_actions: int
    n_stages: int
    layout: str

    def __init__(self, **arguments: Any) -> None:
        """Of these sizes.

        Raises:
            ValueError: see `LinearModels`.
        """
        super().__init__(**arguments)
        self.models = LinearModels(self.d, self.n_states, self.n_actions, self.n_stages, self.layout)
        self.parameters = space_of(self.models)
        self.actions = Discrete(self.n_actions)
        self.observations = Discrete((self.n_stages + 1) * self.n_states)
        self.horizon = self.longest = self.n_stages
        self.features: FloatArray = np.tile(self.models.features(), (self.n_stages + 1, 1, 1))  # (n_obs, n_actions, d)
        self.features.setflags(write=False)
        setattr(self, "transition", transition_text(self.n_states))  # noqa: B010 (a ClassVar in the base class)

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew from its arguments, wherever a pickle is read."""
        return partial(LinearMDP, **self.given_arguments), ()

    def constants(self, parameters: Columns) -> Groups:
        """The sizes, which tables are read by."""
        return {"sizes": (float(self.n_states), float(self.n_actions), float(self.n_stages))}

    def tables(self, parameters: Mapping[str, float], *shared: Any) -> tuple[npt.ArrayLike, ...]:
        """The distribution of the next state, cumulative, and the rewards, both by stage, state and action."""
        kernel, rewards = self.models.process(int(parameters["kernel"]), parameters["value"], parameters["contrast"])
        return np.cumsum(kernel, axis=-1), rewards

    def model(self, task: Mapping[str, float], reward: str) -> TabularModel:
        """See `Tabulated`: what running the text gives, sooner."""
        kernel, rewards = self.models.process(int(task["kernel"]), task["value"], task["contrast"])
        n, m, last = self.n_states, self.n_actions, self.n_states * self.n_stages
        P, R = np.zeros((last + n, m, last + n)), np.zeros((last + n, m))
        R[:last] = rewards.reshape(last, m)
        for stage in range(self.n_stages):
            P[stage * n : (stage + 1) * n, :, (stage + 1) * n : (stage + 2) * n] = kernel[stage]
        ends = np.arange(last + n) >= last
        P[ends] = np.eye(last + n)[ends][:, None]
        return TabularModel(P, R, np.eye(last + n)[0], ends)

    @staticmethod
    def initial() -> Vector:
        """The first state at the first stage."""
        return (0.0, 0.0)

    @staticmethod
    def terminated(state: Vector, sizes: Vector) -> bool:
        """After the last stage."""
        return state[0] >= sizes[2]

    @staticmethod
    def observation(state: Vector, sizes: Vector) -> Vector:
        """Stage and state as one number."""
        return (state[0] * sizes[0] + state[1],)

    def discrete_states(self) -> FloatArray:
        """Stage and state of each observation."""
        stages, states = np.divmod(np.arange((self.n_stages + 1) * self.n_states), self.n_states)
        return np.stack([stages, states], axis=1).astype(np.float64)

    def check_state(self, state: FloatArray) -> None:
        """Raise `ValueError` unless ``state`` is a stage and one of its states."""
        super().check_state(state)
        for value, channel, most in zip(state, STATE, (self.n_stages, self.n_states - 1), strict=True):
            if value != np.floor(value) or not 0 <= value <= most:
                raise ValueError(f"`state`: {channel.name} must be an integer from 0 to {most}. Received {value}")
