"""The bridge to Stable-Baselines3: row i of the VecEnv is agent ``task_i`` (or row i of a vector env)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from pettingzoo.utils.env import ParallelEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvStepReturn

from lifelong_gym.envs.adapter import OverCore, Renderer, metadata, row_infos, visible_tasks
from lifelong_gym.envs.backends.rollout_plan import theta_shape
from lifelong_gym.envs.core import Core
from lifelong_gym.envs.family import KernelFamily, never
from lifelong_gym.envs.parallel import LifelongParallelEnv
from lifelong_gym.envs.vector import LifelongVectorEnv
from lifelong_gym.errors import CheckpointError, integer
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.states import Change, State, StateReader, plain, together
from lifelong_gym.tasks.task_set import TaskSet
from lifelong_gym.wrappers.bridge import Bridge, Indices
from lifelong_gym.wrappers.parallel_vec_env import ParallelVecEnv

if TYPE_CHECKING:
    from lifelong_gym.wrappers.budget import Budget


def as_vec_env(env: str | ParallelEnv[Any, Any, Any] | LifelongVectorEnv | VecEnv, **settings: Any) -> VecEnv:
    """An SB3 VecEnv from an id, one of our parallel or vector envs, or a foreign ParallelEnv.

    Ours are stepped natively: the given env only says which tasks and settings, its own episodes are not touched.
    A `ParameterSharing` is handed on as the VecEnv's ``sharing``, for learners that exchange parameters.
    A foreign ParallelEnv must have agents with equal spaces that all end in the same step.

    Args:
        env: see above; an SB3 VecEnv is returned as it is.
        **settings: only with an id: as in ``pettingzoo.make``.

    Raises:
        ValueError: settings beside an env that has its own, or agents with different spaces.
        TypeError: anything else.
    """
    if isinstance(env, str):
        return CoreVecEnv.of(LifelongParallelEnv(env, **settings))
    if settings:
        raise ValueError(f"settings can only be given with an id. Received {', '.join(settings)}")
    if isinstance(env, VecEnv):
        return env
    if isinstance(env, (LifelongParallelEnv, LifelongVectorEnv)):
        return CoreVecEnv.of(env)
    from lifelong_gym.wrappers.parameter_sharing import ParameterSharing

    if isinstance(env, ParameterSharing):
        inner = as_vec_env(env.env)
        assert isinstance(inner, Bridge)
        inner.sharing = env
        return inner
    if isinstance(env, ParallelEnv):
        return ParallelVecEnv(env)
    raise TypeError(f"`env` must be an id, a ParallelEnv, a vector env of ours or a VecEnv. Received {type(env)}")


def _nothing(n_steps: int) -> None:
    """Nobody counts."""


class CoreVecEnv(OverCore, Bridge):
    """Rows of our core, stepped natively; an episode's end begins the next one in the same step.

    Infos carry ``task_id``, ``failed``, with ``constraints`` what `Settings` says of them, and, at an episode's end,
    SB3's ``terminal_observation``, ``TimeLimit.truncated`` and ``episode``.

    With a `Budget`, tasks get so many steps and no more. A row for which no step is left idles: it repeats its last
    observation with reward 0 and no end, and its info has ``"idle": True``; where it begins another episode, it shows
    that one's first observation instead.

    Attributes:
        core: the rows.
        before_steps: called with their number (at most) before environment steps are taken, be it in `step` or by a
            learner that simulates whole episodes at once; a benchmark evaluates here.
        budget: how many steps there are for each task; None: as many as one likes.
        sharing: the wrapper through which agents exchange parameters, None where they don't.
    """

    def __init__(self, core: Core, render_mode: str | None = None) -> None:
        """Take a core of any number of rows."""
        self.core = core
        self.before_steps: Callable[[int], None] = _nothing
        self.budget: Budget | None = None
        self.render_mode = render_mode
        self._renderer = Renderer(core, render_mode)
        super().__init__(core.n_rows, core.single_observation_space, core.single_action_space)
        self.metadata = metadata(core)
        self._public = core.family.observations.rows
        self._everybody = np.arange(core.n_rows)
        self._seeded = np.zeros(core.n_rows, bool)

    @classmethod
    def of(cls, env: LifelongParallelEnv | LifelongVectorEnv) -> CoreVecEnv:
        """The same tasks and settings as one of our envs."""
        settings = replace(env.core.settings, horizon=env.core.horizon)
        mode = None if env.render_mode is None else env.render_mode.removesuffix("_list")  # SB3 wants single frames
        return cls(Core(env.core.family, env.core.n_rows, settings), mode)

    @property
    def can_rollout(self) -> bool:
        """Whether `lifelong_gym.rollout` simulates exactly these rows."""
        settings, family = self.core.settings, self.core.family
        return (
            isinstance(family, KernelFamily)
            and theta_shape(family) is not None
            and settings.physics == "kernel"
            and settings.task_observation == "hide"
            and not settings.terminate_on_failure
            and not self.core.walk.in_rounds
            and (self.budget is None or family.terminated is never)  # else steps aren't known before
        )

    @property
    def tasks(self) -> TaskSet:
        """The tasks the rows are in."""
        return visible_tasks(self.core)

    @property
    def state(self) -> FloatArray:
        """Physical states, a copy of shape (num_envs, n_state)."""
        return self.core.states()

    def _attribute(self, name: str, row: int) -> Any:
        return self.state[row] if name == "state" else getattr(self, name)

    @property
    def present(self) -> IntArray:
        """The tasks that come up as things stand, in increasing order."""
        return self.core.present if self.budget is None else self.budget.present

    @property
    def episodes_left(self) -> IntArray | None:
        """Episodes of full length that each task may still run as things stand, (n_tasks,); None: no budget counts."""
        return None if self.budget is None else self.budget.left // self.core.horizon

    @property
    def idle(self) -> BoolArray:
        """Rows that idle until something changes, (num_envs,)."""
        return np.zeros(self.num_envs, bool) if self.budget is None else ~self.budget.running

    def announce(self, tasks: IntArray, n_steps: int) -> None:
        """Before a learner simulates the tasks by itself: ``n_steps`` in each of them count as taken here.

        Raises:
            ValueError: more than one of them has left, or rows are agents in rounds; nothing has been counted then.
        """
        if self.core.walk.in_rounds:
            raise ValueError("agents in rounds take their steps here: they don't know which task they are in")
        steps = n_steps * np.isin(np.arange(len(self.core.tasks)), tasks)
        if self.budget is not None:
            self.budget.check_steps(steps)
        self.before_steps(int(steps.sum()))
        if self.budget is not None:
            self.budget.take(steps)

    def reset(self) -> Any:
        """Begin all rows' next episodes; seeds from `seed` and options from `set_options` are used once."""
        return self.reset_rows(self._everybody)

    def reset_rows(self, rows: IntArray) -> Any:
        """Begin these rows' next episodes, as `reset` does; returns their observations."""
        tasks = self.core.check_tasks(self._chosen("task", rows), len(rows))
        states = self.core.check_states(self._chosen("state", rows), len(rows))
        given = {row: self._seeds[row] for row in rows.tolist() if self._seeds[row] is not None}
        seeds = {row: integer("seed", seed, 0, most=None) for row, seed in given.items()}
        if self.budget is not None:
            self.budget.check_tasks(tasks)
        unseeded = [row for row in rows.tolist() if row not in seeds and not self._seeded[row]]
        if unseeded:
            base = int(np.random.SeedSequence().generate_state(1)[0])
            seeds |= {row: base + row for row in unseeded}
        if seeds:
            self.core.seed(np.array(list(seeds)), seeds.values())
        self._seeded[rows] = True
        observations = self.core.empty_observations()
        self._begin(rows, observations, rows is not self._everybody, tasks, states)
        self._returns[rows], self._lengths[rows] = 0.0, 0
        self._began_now(rows)
        for row in rows.tolist():
            self._seeds[row], self._options[row] = None, {}
        return self._public(observations)[self._of(rows)]

    def _of(self, rows: IntArray) -> Any:
        """What picks the rows' entries, without a copy where these are all."""
        return slice(None) if rows is self._everybody else rows

    def _chosen(self, option: str, rows: IntArray) -> Any:
        """An option of `set_options`: of all these rows, or of none."""
        given = [self._options[row].get(option) for row in rows.tolist()]
        if all(value is None for value in given):
            return None
        if any(value is None for value in given):
            raise ValueError(f"option `{option}` must be given for every row or for none")
        return np.array(given)

    def step_wait(self) -> VecEnvStepReturn:
        """Step all rows; see `step_rows`."""
        return self.step_rows(self._everybody, self._actions)

    def step_rows(self, rows: IntArray, row_actions: Any) -> VecEnvStepReturn:
        """Step these rows, with an action each; the others stay as they are. What is returned is of these.

        Raises:
            ValueError: actions that aren't finite or have the wrong shape; nothing has changed then.
            ResetNeeded: before the first reset.
        """
        if not self.core.begun:
            raise ResetNeeded("no episode has begun: call `reset` first")
        mine, actions = self._of(rows), self.core.check_actions(row_actions, len(rows))
        if rows is not self._everybody:
            of_rows, actions = actions, np.zeros((self.num_envs, *actions.shape[1:]), actions.dtype)
            actions[rows] = of_rows
        active = self._next_rows(rows)
        results, n_ended = self.core.step(actions, active)
        if self.budget is not None:
            n_ended = self.budget.after_step(results, active, rows)
        self._count(results.rewards, active)
        self._renderer.stepped(actions, results.rewards, results.failed, active)
        infos = row_infos(self.core, results.failed[mine], None if rows is self._everybody else rows)
        done = waiting = (results.terminated | results.truncated)[mine]
        if self.budget is not None:
            idle = ~active[mine]
            cut = idle & (self._lengths[mine] > 0)  # whose task's steps others have spent in the meantime
            results.truncated[rows[cut]] = True
            done, waiting, n_ended = done | cut, done | idle, n_ended + int(np.count_nonzero(cut))
            for i in np.flatnonzero(idle).tolist():
                infos[i]["idle"] = True
        if n_ended:
            last = self._public(results.observations)
            for i in np.flatnonzero(done).tolist():
                row = rows[i]
                infos[i]["terminal_observation"] = last[row].copy()
                infos[i]["TimeLimit.truncated"] = bool(results.truncated[row] and not results.terminated[row])
                infos[i]["episode"] = self._episode(row)
        beginning = rows[waiting] if n_ended or self.budget is not None else rows[:0]
        if len(beginning):
            self._begin(beginning, results.observations, rows is not self._everybody)
            self._began_now(beginning)
        return self._public(results.observations)[mine], results.rewards[mine].astype(np.float32), done, infos

    def _began_now(self, rows: IntArray) -> None:
        self._renderer.began(rows)
        for row, info in zip(rows.tolist(), row_infos(self.core, np.zeros(len(rows), bool), rows), strict=True):
            self.reset_infos[row] = info

    def _next_rows(self, rows: IntArray) -> BoolArray:
        """Announce the next step of these rows; those that take it, shape (num_envs,)."""
        if self.budget is not None:
            among = None if rows is self._everybody else rows
            self.before_steps(int(np.count_nonzero(self.budget.active(among))))
            return self.budget.take_step(among)
        self.before_steps(len(rows))
        active = np.full(self.num_envs, rows is self._everybody)
        if rows is not self._everybody:
            active[rows] = True
        return active

    def _begin(self, rows: IntArray, observations: Any, alone: bool, tasks: Any = None, states: Any = None) -> None:
        """Begin episodes of rows; those that are stepped alone stay out of tasks that aren't theirs."""
        if self.budget is None:
            self.core.begin(rows, observations, tasks, states)
        else:
            self.budget.begin(rows, observations, tasks, states, stay=alone)

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list[Any]:
        """Of rows: ``"next_round"``, which only those of ``indices`` hear, and ``"set_weights"`` of all of them."""
        rows = list(self._get_indices(indices))
        if method_name == "next_round":
            self.next_round(*args, **{"rows": rows, **kwargs})
        elif method_name == "set_weights" and len(rows) == self.num_envs:
            self.set_weights(*args, **kwargs)
        else:
            super().env_method(method_name, *args, indices=indices, **kwargs)
        return [None] * len(rows)

    def _own_state(self) -> State:
        return {
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "seeded": self._seeded.copy(),
            "seeds": plain(self._seeds),
            "options": plain([{key: of[key] for key in ("task", "state") if key in of} for of in self._options]),
            "reset_infos": _columns(self.reset_infos),
            "budget": None if self.budget is None else self.budget.state_dict(),
        }

    def _loading(self, state: StateReader) -> Change:
        n = self.num_envs
        returns, lengths = state.array("returns", np.float64, n), state.array("lengths", np.int64, n)
        seeded, infos = state.array("seeded", np.bool_, n), _rows(state, "reset_infos", n)
        seeds, options = (plain(state[part]) for part in ("seeds", "options"))
        for part, given in (("seeds", seeds), ("options", options)):
            if not isinstance(given, list) or len(given) != n:
                raise CheckpointError(f"`{state.name(part)}` must be a list of {n}. Received {given!r}")

        def change() -> None:
            self._returns, self._lengths, self._seeded = returns, lengths, seeded
            self._seeds, self._options, self.reset_infos = seeds, options, infos

        if not state.optional("budget", self.budget is not None):
            return change
        assert self.budget is not None
        return together([self.budget.loading(state["budget"], state.name("budget")), change])

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """A frame per row."""
        return [self._renderer.show([row]) for row in range(self.num_envs)]

    def close(self) -> None:
        """Close the window and the simulators."""
        self._renderer.close()
        self.core.close()


def _columns(infos: Sequence[dict[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    """Infos of all rows, a key an array."""
    return {key: np.array([info[key] for info in infos]) for key in infos[0]}


def _rows(state: StateReader, part: str, n: int) -> list[dict[str, Any]]:
    """The inverse of `_columns`."""
    columns = state[part]
    if not isinstance(columns, dict) or not all(isinstance(a, np.ndarray) and len(a) == n for a in columns.values()):
        raise CheckpointError(f"`{state.name(part)}` must be a dict of arrays of length {n}. Received {columns!r}")
    each = {key: array.tolist() if array.ndim == 1 else list(array.copy()) for key, array in columns.items()}
    return [{key: values[row] for key, values in each.items()} for row in range(n)]
