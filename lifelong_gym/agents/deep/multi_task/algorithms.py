"""PPO and SAC of Stable-Baselines3 in envs that tell the task: what their kinds for many tasks have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from stable_baselines3 import PPO, SAC
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize

from lifelong_gym.agents.contract.checks import count, flag
from lifelong_gym.envs.core import Core

ONE_HOT = "one_hot"


def tasks_of(env: VecEnv, n_tasks: int | None) -> int:
    """How many columns, the last ones of observations, tell the task.

    Args:
        env: whose observations.
        n_tasks: what was given; None: an env of ours says it.

    Raises:
        ValueError: the env doesn't tell tasks, doesn't say how many there are, or has another number of them.
    """
    check_columns(env)
    try:
        core = env.get_attr("core")[0]
    except AttributeError:
        core = None
    if not isinstance(core, Core):
        if n_tasks is None:
            raise ValueError("`n_tasks` must be given where the env isn't one of ours. Received None")
        return n_tasks
    if core.settings.task_observation != ONE_HOT:
        sees = core.settings.task_observation
        raise ValueError(f'`env` must be made with `task_observation="{ONE_HOT}"`. Received {sees!r}')
    if n_tasks not in (None, len(core.tasks)):
        raise ValueError(f"`n_tasks` must be {len(core.tasks)}, as in the env. Received {n_tasks}")
    return len(core.tasks)


def check_columns(env: VecEnv) -> None:
    """Raise `ValueError` if an env changes the columns that tell the task."""
    normalising = unwrap_vec_normalize(env)
    if isinstance(normalising, VecNormalize) and normalising.norm_obs:
        raise ValueError("`env` must leave the task's columns as they are: `VecNormalize` needs `norm_obs=False`")


class _OfTasks:
    """Makes policies for as many tasks as the env has."""

    task_observation: ClassVar[str] = ONE_HOT
    env: VecEnv | None
    policy_kwargs: dict[str, Any]
    n_tasks: int | None
    pcgrad: bool

    def _setup_model(self) -> None:
        if self.env is not None:
            self.n_tasks = tasks_of(self.env, self.n_tasks)
        self.policy_kwargs = {**self.policy_kwargs, **self._of_policy()}
        super()._setup_model()  # type: ignore[misc]

    def _of_policy(self) -> dict[str, Any]:
        """Arguments of the policy."""
        return {"n_tasks": self.n_tasks, "pcgrad": self.pcgrad}

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Go on in another environment.

        Raises:
            ValueError: other spaces, or it changes the columns that tell the task.
        """
        if isinstance(env, VecEnv):
            tasks_of(env, self.n_tasks)
        super().set_env(env, force_reset)  # type: ignore[misc]


class TaskPPO(_OfTasks, PPO):
    """SB3's PPO with a policy for many tasks; see the subclasses.

    Args:
        policy: ``"MlpPolicy"``, or a class.
        env: as in SB3, with a column for each task at the end of observations, as ``task_observation="one_hot"`` adds.
        learning_rate: as in SB3.
        n_steps: as in SB3.
        n_tasks: how many tasks there are; None: what an env of ours says.
        pcgrad: whether tasks' gradients are brought together by PCGrad's surgery (Yu et al. 2020).
        **more: as of SB3's PPO.

    Raises:
        ValueError: a bad argument, or an env that doesn't tell tasks so.
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 2048,
        *,
        n_tasks: int | None = None,
        pcgrad: bool = False,
        **more: Any,
    ) -> None:
        """See the class."""
        self.n_tasks = None if n_tasks is None else count("n_tasks", n_tasks)
        self.pcgrad = flag("pcgrad", pcgrad)
        super().__init__(policy, env, learning_rate, n_steps, **more)  # type: ignore[arg-type]


class TaskSAC(_OfTasks, SAC):
    """SB3's SAC with a policy for many tasks; see the subclasses.

    Args:
        policy: ``"MlpPolicy"``, or a class.
        env: see `TaskPPO`.
        learning_rate: as in SB3.
        n_tasks: see `TaskPPO`.
        pcgrad: see `TaskPPO`; the actor's and the critics' gradients are operated on apart.
        **more: as of SB3's SAC.

    Raises:
        ValueError: see `TaskPPO`.
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 3e-4,
        *,
        n_tasks: int | None = None,
        pcgrad: bool = False,
        **more: Any,
    ) -> None:
        """See the class."""
        self.n_tasks = None if n_tasks is None else count("n_tasks", n_tasks)
        self.pcgrad = flag("pcgrad", pcgrad)
        super().__init__(policy, env, learning_rate, **more)  # type: ignore[arg-type]
