"""One node's rows as a VecEnv of their own, which steps them alone: what an algorithm beside others learns in."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvStepReturn

from lifelong_gym.envs.core import Core
from lifelong_gym.errors import unknown
from lifelong_gym.numerics.arrays import IntArray
from lifelong_gym.wrappers.bridge import Bridge, Indices
from lifelong_gym.wrappers.hidden_tasks import HiddenTasks
from lifelong_gym.wrappers.vec_env import CoreVecEnv

if TYPE_CHECKING:
    from lifelong_gym.wrappers.topology import Node


def rows_of_nodes(env: VecEnv) -> dict[Node, IntArray]:
    """The rows of each node that has any: the agents of each member of a `ParameterSharing`.

    Without one, each row is a node of its own, ``row_0``, ``row_1``, ...
    """
    inner = _stepped(env) if isinstance(env, HiddenTasks | CoreVecEnv) else env.unwrapped
    sharing = getattr(inner, "sharing", None)
    if sharing is None:
        return {f"row_{i}": np.array([i]) for i in range(env.num_envs)}
    place = {agent: i for i, agent in enumerate(sharing.possible_agents)}
    members = {node: np.array([place[agent] for agent in agents], np.int64) for node, agents in sharing.members.items()}
    return {node: rows for node, rows in members.items() if len(rows)}


def _stepped(env: VecEnv) -> CoreVecEnv:
    """The env that steps the rows, which a learner isn't shown where tasks are hidden."""
    inner = env._env if isinstance(env, HiddenTasks) else env
    if not isinstance(inner, CoreVecEnv):
        raise TypeError(
            "the rows of a node can be stepped apart from others in a VecEnv that `as_vec_env` made of an env of ours, "
            f"without wrappers. Received {type(env)}"
        )
    return inner


def rows_of(env: VecEnv, node: Node) -> NodeRows:
    """The rows of one node as a VecEnv that steps them alone.

    Args:
        env: of `as_vec_env`, or `HiddenTasks` of one; our own, not wrapped: wrap the rows of each node instead.
        node: of its `ParameterSharing`, or without one ``row_0``, ``row_1``, ...

    Raises:
        TypeError: rows that can't be stepped apart from each other.
        UnknownNameError: no such node, or one without agents.
    """
    nodes = rows_of_nodes(env)
    if node not in nodes:
        raise unknown("node", node, nodes)
    rows = NodeRows(env.observation_space, env.action_space, nodes[node])
    rows.attach(env)
    return rows


def steps_left(env: VecEnv) -> int | None:
    """Environment steps until a budget's stage ends, all rows together, 0 after the last one; None: no budget."""
    inner = _stepped(env)
    return None if inner.budget is None else int(inner.budget.left.sum())


class NodeRows(Bridge):
    """Some rows of a VecEnv of ours. Stepping and beginning them leaves all other rows as they are.

    Row i of it is row ``rows[i]`` of the env; seeded with ``seed``, it gets ``seed + i``. Several of these may share an
    env, in turns.

    Args:
        observation_space: of a row.
        action_space: of a row; a copy of it is kept, whose samples are this one's own.
        rows: which, shape (num_envs,).

    Attributes:
        rows: as given.
    """

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], rows: IntArray) -> None:
        """In no env yet; see `attach`."""
        self.rows = np.asarray(rows, np.int64)
        self.render_mode: str | None = None
        self._shown: VecEnv | None = None
        super().__init__(len(self.rows), observation_space, copy.deepcopy(action_space))

    def attach(self, env: VecEnv) -> None:
        """Let these be rows of this env.

        Raises:
            TypeError: rows that can't be stepped apart from each other.
        """
        self.metadata = _stepped(env).metadata
        self._shown, self.render_mode = env, env.render_mode

    def _attached(self) -> VecEnv:
        if self._shown is None:
            raise ValueError("there is no environment to step: pass `env` to `load`, or call `set_env`")
        return self._shown

    @property
    def _env(self) -> CoreVecEnv:
        return _stepped(self._attached())

    @property
    def is_attached(self) -> bool:
        """Whether these are rows of an env."""
        return self._shown is not None

    @property
    def horizon(self) -> int:
        """Steps of an episode, at most."""
        return self._env.core.horizon

    @property
    def core(self) -> Core:
        """What steps the rows.

        Raises:
            ValueError: there is no env, or the rows' tasks are hidden.
        """
        env = self._env
        if isinstance(self._attached(), HiddenTasks) or env.core.settings.hide_task_id:
            raise ValueError("the rows' tasks must be known to whoever uses their models. They are hidden here")
        return env.core

    @property
    def tasks(self) -> IntArray:
        """The tasks whose agent these rows' one is: i where row ``i mod n_rows`` of the env is among them."""
        all_tasks = np.arange(len(self.core.tasks))
        own: IntArray = all_tasks[np.isin(all_tasks % self._env.num_envs, self.rows)]
        return own

    @property
    def can_rollout(self) -> bool:
        """Whether `lifelong_gym.rollout` simulates exactly these rows."""
        hidden = isinstance(self._attached(), HiddenTasks) or self._env.core.settings.hide_task_id
        return not hidden and self._env.can_rollout and self._env.core.settings.backend in ("numba", "numpy")

    def announce(self, n_steps: int) -> None:
        """Before these tasks are simulated apart from the rows; see `CoreVecEnv.announce`."""
        self._env.announce(self.tasks, n_steps)

    @property
    def idle(self) -> npt.NDArray[np.bool_]:
        """Rows that idle until something changes, (num_envs,)."""
        return self._env.idle[self.rows]

    def _attribute(self, name: str, row: int) -> Any:
        if name == "render_mode":
            return self.render_mode
        return self._attached().get_attr(name, [int(self.rows[row])])[0]

    def reset(self) -> Any:
        """Begin the rows' next episodes; seeds from `seed` and options from `set_options` are used once."""
        env = self._env
        for row, seed, options in zip(self.rows.tolist(), self._seeds, self._options, strict=True):
            env._seeds[row], env._options[row] = seed, options
        observations = env.reset_rows(self.rows)
        self._reset_seeds()
        self._reset_options()
        self._tell_infos()
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Step the rows.

        Raises:
            ValueError: actions that aren't finite or have the wrong shape; nothing has changed then.
            ResetNeeded: before the first reset.
        """
        result = self._env.step_rows(self.rows, self._actions)
        self._tell_infos()
        return result

    def _tell_infos(self) -> None:
        self.reset_infos = [self._env.reset_infos[row] for row in self.rows.tolist()]

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list[Any]:
        """Of these rows of the env."""
        chosen = [int(self.rows[i]) for i in self._get_indices(indices)]
        return self._attached().env_method(method_name, *args, indices=chosen, **kwargs)

    def get_images(self) -> list[npt.NDArray[np.uint8] | None]:
        """A frame a row."""
        frames = self._attached().get_images()
        return [frames[row] for row in self.rows.tolist()]

    def close(self) -> None:
        """Leave the env, which others may go on in."""
        self._shown = None
