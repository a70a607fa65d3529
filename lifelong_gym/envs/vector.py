"""The Gymnasium vector interface: native rows, each with parameters of its own."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from lifelong_gym.envs.adapter import (
    FRAME_LISTS,
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
from lifelong_gym.envs.backends.rows import Results
from lifelong_gym.errors import integer
from lifelong_gym.numerics.arrays import BoolArray, IntArray
from lifelong_gym.numerics.states import Change, State, StateReader, generator
from lifelong_gym.tasks.task_set import TaskSet

try:
    from gymnasium.vector import AutoresetMode
except ImportError:  # Gymnasium 1.0 has the first of them only, and no name for it

    class AutoresetMode(Enum):  # type: ignore[no-redef]
        """When a row whose episode has ended begins the next one, as from Gymnasium 1.1 on."""

        NEXT_STEP = "NextStep"
        SAME_STEP = "SameStep"
        DISABLED = "Disabled"


VECTOR_RENDER_MODES = [*RENDER_MODES, FRAME_LISTS]


class LifelongVectorEnv(OverCore, NativeSpec, VectorEnv[Any, Any, Any]):
    """``num_envs`` rows; row i runs task ``(i + k num_envs) mod n_tasks`` in its k-th episode.

    Row i equals the single env that is reset with ``seed + i`` and follows the same tasks, to the bit.

    Args:
        family: id of the task family.
        num_envs: number of rows.
        max_episode_steps: shortens episodes to so many steps; None or -1: they last their horizon, which ``horizon=``
            sets.
        autoreset_mode: an `AutoresetMode` or its value; all three are supported. SAME_STEP keeps the last
            observation in ``infos["final_obs"]`` and its info in ``infos["final_info"]``.
        render_mode: None, ``"rgb_array"``, ``"human"``, or ``"rgb_array_list"``: `render` then gives, per row, the
            frames of its episode since the last call.
        **settings: see `lifelong_gym.envs.settings.Settings`.

    ``reset(options={"task": i, "state": x, "reset_mask": mask})``: tasks and states may be arrays, one per row.

    Under ``schedule={"rounds": ...}`` each row is an agent, which stays in its task until `next_round`.
    """

    metadata = {  # noqa: RUF012 (Gymnasium's own form)
        "render_modes": VECTOR_RENDER_MODES,
        "render_fps": 50,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }
    # Without it, `make_vec` would hand a spec's own number on beside a new `horizon`, and shorten that.
    _spec_defaults = {"max_episode_steps": -1}  # noqa: RUF012

    def __init__(
        self,
        family: str,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        """See the class."""
        self.closed = True  # until there is something to close: Gymnasium 1.0 calls `close` in `__del__`
        self.core = make_core(type(self), family, num_envs, settings)
        self.core.clock.horizon = _shortened(self.core.horizon, max_episode_steps)
        self.num_envs = self.core.n_rows
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {
            **metadata(self.core),
            "render_modes": VECTOR_RENDER_MODES,
            "autoreset_mode": self.autoreset_mode,
        }
        self.render_mode = render_mode
        self.single_observation_space = self.core.single_observation_space
        self.single_action_space = self.core.single_action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._renderer = Renderer(self.core, render_mode, VECTOR_RENDER_MODES)
        self.closed = False
        self._public = self.core.family.observations.rows
        self._all = np.ones(self.num_envs, bool)
        self._active = self._all.copy()
        self._n_ended = 0
        self._seeded = False

    @property
    def tasks(self) -> TaskSet:
        """The tasks the rows are in."""
        return visible_tasks(self.core)

    @property
    def state(self) -> npt.NDArray[np.float64]:
        """Physical states, a copy of shape (num_envs, n_state); may be set row by row within episodes."""
        return self.core.states()

    @state.setter
    def state(self, states: Any) -> None:
        self.core.set_states(states)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes in all rows, or in those of ``options["reset_mask"]``.

        Args:
            seed: row i gets ``seed + i``; or one seed per row, None leaving that row's noise going on.
            options: see the class; never modified.

        Raises:
            ValueError: options that are no dict, or tasks, states, seeds or a mask that don't fit; nothing has changed
                then.
        """
        given = check_options(options)
        rows = self._masked(given.get("reset_mask"))
        tasks = self.core.check_tasks(given.get("task"), self.num_envs)
        states = self.core.check_states(given.get("state"), self.num_envs)
        seeds = self._seeds(seed)
        chosen = [row for row in rows.tolist() if seeds[row] is not None]
        if isinstance(seed, int):
            self._np_random, self._np_random_seed = seeding.np_random(seed)
        if chosen:
            self.core.seed(np.array(chosen), [seeds[row] for row in chosen])
        self._seeded = True
        observations = self.core.empty_observations()
        if len(rows) < self.num_envs:
            self.core.observe(np.arange(self.num_envs), observations)
        self.core.begin(
            rows, observations, None if tasks is None else tasks[rows], None if states is None else states[rows]
        )
        self._renderer.began(rows)
        self._renderer.collect(rows)
        self._active[rows] = True
        self._n_ended = int(np.count_nonzero(~self._active))
        mask = np.zeros(self.num_envs, bool)
        mask[rows] = True
        return self._public(observations), self._infos(np.zeros(self.num_envs, bool), mask)

    def _masked(self, mask: Any) -> IntArray:
        if mask is None:
            return np.arange(self.num_envs)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ValueError(f"`reset_mask` must be a bool array of shape ({self.num_envs},). Received {mask!r}")
        if not mask.any():
            raise ValueError(f"`reset_mask` must choose at least one row. Received {mask!r}")
        if not self.core.begun and not mask.all():
            raise ResetNeeded("the first reset must begin all rows: call `reset` without `reset_mask`")
        return np.flatnonzero(mask)

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            seeds: list[int | None] = [None] * self.num_envs
        elif isinstance(seed, Sequence):
            seeds = list(seed)
        else:
            check_seed(seed)
            seeds = [seed + i for i in range(self.num_envs)]
        if len(seeds) != self.num_envs:
            raise ValueError(f"`seed` must be an integer or {self.num_envs} of them. Received {len(seeds)}")
        for one in seeds:
            check_seed(one)
        if self._seeded:
            return seeds
        base = int(self.np_random.integers(2**62))
        return [base + i if one is None else one for i, one in enumerate(seeds)]

    def step(
        self, actions: Any
    ) -> tuple[Any, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Step every row; rows whose episode ended are begun anew as ``autoreset_mode`` says.

        Raises:
            ValueError: actions that aren't finite or have the wrong shape; nothing has changed then.
            ResetNeeded: before the first reset, or (DISABLED) with an ended row not reset.
        """
        if not self.core.begun:
            raise ResetNeeded("no episode has begun: call `reset` first")
        if self._n_ended and self.autoreset_mode == AutoresetMode.DISABLED:
            ended = np.flatnonzero(~self._active)[:5].tolist()
            raise ResetNeeded(f"rows {ended} have ended: call `reset` with `reset_mask` first")
        checked = self.core.check_actions(actions, self.num_envs)
        active = self._active
        results, n_ended = self.core.step(checked, active)
        if self.render_mode is not None:
            self._renderer.stepped(checked, results.rewards, results.failed, active)
        if self._n_ended:
            self._begin_waiting(np.flatnonzero(~active), results)
        infos = self._infos(results.failed)
        if n_ended and self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos = self._begin_ended(results)
        elif n_ended or self._n_ended:
            self._active = ~(results.terminated | results.truncated)
            self._n_ended = n_ended
        if self.render_mode is not None:
            self._renderer.collect(range(self.num_envs))
        if self.render_mode == "human":
            self.render()
        return self._public(results.observations), results.rewards, results.terminated, results.truncated, infos

    def _begin_waiting(self, rows: IntArray, results: Results) -> None:
        """NEXT_STEP: rows that ended in the last step begin instead of stepping."""
        self.core.begin(rows, results.observations)
        self._renderer.began(rows)
        results.rewards[rows] = 0.0
        for flags in results[2:]:
            flags[rows] = False

    def _begin_ended(self, results: Results) -> dict[str, Any]:
        """SAME_STEP: rows that ended begin now; what they ended with goes into the infos."""
        done = results.terminated | results.truncated
        rows = np.flatnonzero(done)
        final_info = self._infos(results.failed & done, done)
        final_obs = np.full(self.num_envs, None, object)
        public = self._public(results.observations)
        for row in rows.tolist():
            final_obs[row] = public[row].copy()
        self.core.begin(rows, results.observations)
        self._renderer.began(rows)
        return {
            "final_obs": final_obs,
            "_final_obs": done.copy(),
            "final_info": final_info,
            "_final_info": done.copy(),
            **self._infos(results.failed & ~done),
        }

    def _infos(self, failed: BoolArray, present: BoolArray | None = None) -> dict[str, Any]:
        tasks = self.core.memory.copy(self.core.task_of_row) if present is None else self.core.task_of_row * present
        present = self._all if present is None else present
        infos: dict[str, Any] = {"failed": failed, "_failed": present.copy()}
        if self.core.safety is not None:
            infos |= self.core.safety.vector_infos(present)
        if self.core.tally is not None:
            infos |= self.core.tally.vector_infos(present)
        if self.core.walk.in_rounds:
            infos |= {"round": self.core.walk.rounds * present, "_round": present.copy()}
        if self.core.settings.hide_task_id:
            return infos
        return {"task_id": tasks, "_task_id": present.copy(), **infos}

    def _own_state(self) -> State:
        state = {"seeded": self._seeded, "active": self._active.copy(), "seed": self._np_random_seed}
        mode = {"autoreset_mode": self.autoreset_mode.value}
        return {**state, **mode, "np_random": generator_state(self._np_random)}

    def _loading(self, state: StateReader) -> Change:
        state.same("autoreset_mode", self.autoreset_mode.value)
        seeded, active = state.flag("seeded"), state.array("active", np.bool_, self.num_envs)
        seed, np_random = state.integer("seed"), generator(state["np_random"], state.name("np_random"))

        def change() -> None:
            self._seeded, self._active, self._n_ended = seeded, active, int(np.count_nonzero(~active))
            self._np_random_seed, self._np_random = seed, np_random

        return change

    def render(self) -> Any:
        """A frame per row (rgb_array), a list of them (rgb_array_list), or one window with all rows (human)."""
        if self.render_mode == FRAME_LISTS:
            return self._renderer.collected()
        if self.render_mode == "rgb_array":
            return tuple(self._renderer.show([row]) for row in range(self.num_envs))
        if self.render_mode == "human":
            self._renderer.show(range(self.num_envs))
        return None

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window and the simulators."""
        self._renderer.close()
        self.core.close()


def _shortened(horizon: int, max_episode_steps: int | None) -> int:
    """The length of episodes; -1 is Gymnasium's way to ask for no limit of its own."""
    if max_episode_steps is None or max_episode_steps == -1:
        return horizon
    if integer("max_episode_steps", max_episode_steps) > horizon:
        raise ValueError(
            f"`max_episode_steps` must be at most {horizon}, the horizon: it only shortens episodes, `horizon=` "
            f"lengthens them. Received {max_episode_steps}"
        )
    return int(max_episode_steps)
