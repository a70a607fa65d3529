"""What a learner that must not know its tasks is given: rows of ours, and nothing behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from lifelong_gym.envs.family import KnownFamily
from lifelong_gym.wrappers.bridge import Bridge
from lifelong_gym.wrappers.vec_env import CoreVecEnv

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from lifelong_gym.numerics.arrays import BoolArray
    from lifelong_gym.wrappers.channel import Channel


class HiddenTasks(Bridge):
    """The rows of a VecEnv of ours, through which no task can be read: neither which there are, nor who is in which.

    It is reset, seeded and stepped as that env is, and whoever counts steps there counts these. What tells of tasks has
    no place here: ``tasks``, ``core``, ``spec``, ``state_dict``, pictures, the option ``"task"``. `next_round` is its
    owner's to call.

    Args:
        env: made with ``hide_task_id=True``, or rows that are agents in rounds, where this is the default.

    Attributes:
        family: what is known of the family, see `KnownFamily`.

    Raises:
        TypeError: not a VecEnv that `as_vec_env` made of an env of ours.
        ValueError: its infos or observations tell the task.
    """

    def __init__(self, env: CoreVecEnv) -> None:
        """See the class."""
        if not isinstance(env, CoreVecEnv):
            raise TypeError(f"`env` must be a VecEnv that `as_vec_env` made of an env of ours. Received {type(env)}")
        if not env.hide_task_id:
            raise ValueError("`env` must be made with hide_task_id=True: its infos tell the task")
        observed = env.core.settings.task_observation
        if observed != "hide":
            raise ValueError(f'`env` must be made with task_observation="hide". Received {observed!r}')
        self._env, self.render_mode = env, None
        super().__init__(env.num_envs, env.observation_space, env.action_space)
        self.family = KnownFamily(env.core.family)

    @property
    def horizon(self) -> int:
        """Steps after which an episode is truncated."""
        return self._env.core.horizon

    @property
    def hide_task_id(self) -> bool:
        """True."""
        return True

    @property
    def in_rounds(self) -> bool:
        """Whether rows are agents that stay in their tasks for a round, which infos tell."""
        return self._env.core.walk.in_rounds

    @property
    def idle(self) -> BoolArray:
        """Rows that idle until something changes, (num_envs,)."""
        return self._env.idle

    @property
    def channel(self) -> Channel | None:
        """Through which agents exchange parameters; None where they don't."""
        return self._env.channel

    def before_steps(self, n_steps: int) -> None:
        """Tell whoever counts that at most so many steps are about to be taken."""
        self._env.before_steps(n_steps)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Of the next reset; row i gets ``seed + i``."""
        return self._env.seed(seed)

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Options for the next reset, see `Bridge.set_options`.

        Raises:
            ValueError: ``"task"`` is among them, or they don't fit; nothing has changed then.
        """
        for one in options if isinstance(options, list) else [options]:
            if one is not None and "task" in one:
                raise ValueError(f'option "task" can\'t be given where tasks are hidden. Received {one["task"]!r}')
        self._env.set_options(options)

    def reset(self) -> Any:
        """Begin all rows' next episodes."""
        observations = self._env.reset()
        self.reset_infos = self._env.reset_infos
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Step all rows."""
        self._env.step_async(self._actions)
        result = self._env.step_wait()
        self.reset_infos = self._env.reset_infos
        return result

    def _attribute(self, name: str, row: int) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"rows have no attribute {name!r}")
        return super()._attribute(name, row)

    def get_images(self) -> Sequence[npt.NDArray[Any] | None]:
        """None of each row: pictures tell of tasks."""
        return [None] * self.num_envs

    def close(self) -> None:
        """Close the env."""
        self._env.close()
