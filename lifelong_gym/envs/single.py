"""The Gymnasium interface: one row, walking through its tasks."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from lifelong_gym.envs.adapter import (
    RENDER_MODES,
    NativeSpec,
    OverCore,
    Renderer,
    check_options,
    check_seed,
    generator_state,
    make_core,
    metadata,
    visible_tasks,
)
from lifelong_gym.numerics.states import Change, State, StateReader, generator
from lifelong_gym.tasks.task_set import TaskSet

ROW = np.zeros(1, np.int64)
ACTIVE = np.ones(1, bool)
FLOATS = np.dtype(np.float32), np.dtype(np.float64)
NO_EPISODE = "the episode has ended or not begun: call `reset` first"


class LifelongEnv(OverCore, NativeSpec, gym.Env[Any, Any]):
    """One task at a time, the next one at every reset.

    Args:
        family: id of the task family.
        render_mode: None, ``"rgb_array"`` or ``"human"``.
        **settings: see `lifelong_gym.envs.settings.Settings`.

    ``horizon=n`` sets the length of episodes, and ``spec.max_episode_steps`` says it. ``gym.make`` keeps its argument
    ``max_episode_steps=n`` for a `TimeLimit` of its own, which can only shorten them: more than the horizon has no
    effect. It makes one of a spec's number too: ``gym.make(env.spec, horizon=n, max_episode_steps=-1)`` lengthens.

    ``reset(options={"task": i, "state": x})`` picks a task, without advancing the schedule, and a physical start
    state. Infos hold ``task_id`` (int), ``failed`` (bool) and, with ``constraints``, ``constraint_values`` (float64,
    shape (n_constraints,)) and ``constraint_violation`` (bool). Under ``schedule={"rounds": ...}`` they hold ``round``
    (int) in place of ``task_id``, and the env stays in its task until `next_round`. Families may tell more: see their
    ``tallied``.
    """

    metadata = {"render_modes": RENDER_MODES, "render_fps": 50}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(self, family: str, render_mode: str | None = None, **settings: Any) -> None:
        """See the class."""
        self.core = make_core(type(self), family, 1, settings)
        self.metadata = metadata(self.core)
        self.render_mode = render_mode
        self.observation_space = self.core.single_observation_space
        self.action_space = self.core.single_action_space
        self._renderer = Renderer(self.core, render_mode)
        self._step_one = self.core.step_one
        self._action_shape = (self.core.family.actions.size,)
        self._observation_shape = self.observation_space.shape
        self._public = self.core.family.observations.one
        self._hide = self.core.settings.hide_task_id
        self._safety = self.core.safety
        self._tally = self.core.tally
        self._in_rounds = self.core.walk.in_rounds
        self._task = 0
        self._seeded = False
        self._running = False

    @property
    def tasks(self) -> TaskSet:
        """The tasks it walks through."""
        return visible_tasks(self.core)

    @property
    def state(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The physical state, a copy of shape (n_state,); may be set within an episode."""
        return self.core.states()[0]

    @state.setter
    def state(self, state: Any) -> None:
        if not self._running:
            raise ResetNeeded(NO_EPISODE)
        self.core.set_states(state)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode; a seed also restarts the schedule and the noise.

        Raises:
            ValueError: options that are no dict, a task or state in them that doesn't exist, or no seed; nothing has
                changed then.
        """
        check_seed(seed)
        chosen = check_options(options)
        tasks = self.core.check_tasks(chosen.get("task"), 1)
        states = self.core.check_states(chosen.get("state"), 1)
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(2**63))
        if seed is not None:
            self.core.seed(ROW, [seed])
            self._seeded = True
        observations = self.core.empty_observations()
        self.core.begin(ROW, observations, tasks, states)
        self._renderer.began(ROW)
        self._task = int(self.core.task_of_row[0])
        self._running = True
        if self.render_mode == "human":
            self.render()
        return self._public(observations[0]), self._info(False)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step.

        Raises:
            ValueError: an action that isn't finite or has the wrong shape; nothing has changed then.
            ResetNeeded: before the first reset or after an episode's end.
        """
        if not self._running:
            raise ResetNeeded(NO_EPISODE)
        if (
            self._step_one is not None
            and type(action) is np.ndarray
            and action.shape == self._action_shape
            and action.dtype in FLOATS
        ):
            observation: Any = np.empty(self._observation_shape, np.float32)
            valid, reward, terminated, truncated, failed = self._step_one(action, self.core.clock, observation)
            if not valid:
                self.core.family.actions.check_values(np.array(action, np.float64)[None])
        else:
            observation, reward, terminated, truncated, failed = self._step_rows(action)
        self._running = not (terminated or truncated)
        if self.render_mode is not None:
            self._renderer.stepped(action, reward, failed)
            if self.render_mode == "human":
                self.render()
        return observation, reward, terminated, truncated, self._info(failed)

    def _step_rows(self, action: Any) -> tuple[Any, float, bool, bool, bool]:
        actions = self.core.check_actions(self.core.check_action(action)[None], 1)
        results, _ = self.core.step(actions, ACTIVE)
        terminated, truncated, failed = (bool(flags[0]) for flags in results[2:])
        return self._public(results.observations[0]), float(results.rewards[0]), terminated, truncated, failed

    def _info(self, failed: bool) -> dict[str, Any]:
        info: dict[str, Any] = {"failed": failed} if self._hide else {"task_id": self._task, "failed": failed}
        if self._in_rounds:
            info["round"] = int(self.core.walk.rounds[0])
        if self._tally is not None:
            info.update(self._tally.infos([0])[0])
        return info if self._safety is None else {**info, **self._safety.infos()[0]}

    def _own_state(self) -> State:
        state = {"seeded": self._seeded, "running": self._running, "seed": self._np_random_seed}
        return {**state, "np_random": generator_state(self._np_random)}

    def _loading(self, state: StateReader) -> Change:
        seeded, running, seed = state.flag("seeded"), state.flag("running"), state.integer("seed")
        np_random = generator(state["np_random"], state.name("np_random"))

        def change() -> None:
            self._seeded, self._running, self._np_random_seed, self._np_random = seeded, running, seed, np_random

        return change

    def load_state_dict(self, state: Any) -> None:
        """See `OverCore.load_state_dict`."""
        super().load_state_dict(state)
        self._task = int(self.core.task_of_row[0])

    def render(self) -> Any:
        """A frame (rgb_array: uint8, shape (height, width, 3)), or None."""
        if self.render_mode is None:
            gym.logger.warn("`render` was called on an env made without `render_mode`: it shows nothing")
            return None
        return self._renderer.show([0])

    def close(self) -> None:
        """Close the window and the simulators."""
        self._renderer.close()
        self.core.close()
