"""The kernels on numba: blocks of 64 rows side by side, which LLVM vectorises; one row alone in a block of one.

A block is a flat float64 array of fields, each ``WIDTH`` lanes wide. Results don't depend on the width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.backends.kernels import Text, bind_family
from lifelong_gym.envs.backends.numba_compile import compile_template, described, fields, lane_binder, noise_size
from lifelong_gym.envs.backends.numba_math import choose, cursor, load, store
from lifelong_gym.envs.backends.rows import Clock, Episodes, Results
from lifelong_gym.envs.backends.threads import in_chunks
from lifelong_gym.envs.family import Constants, KernelFamily
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.philox import uniform_pair
from lifelong_gym.tasks.task_set import TaskSet

LANES = 64
MIN_BLOCKS_A_THREAD = 100  # a hand-over to a thread costs about as much as 50 blocks

# ruff: noqa: F821 (names in capitals, and the family's roles, are filled in when a template is compiled)
# mypy: disable-error-code="name-defined, no-untyped-def"


def draw(b, j, first, n, step, stream):
    """Fill ``n`` noise lanes from field ``first`` on."""
    for pair in range((n + 1) // 2):
        x, y = uniform_pair(
            np.uint64(step),
            np.uint64(b[UID * WIDTH + j]),
            np.uint64(b[VISIT * WIDTH + j]),
            np.uint64(stream + pair),
            np.uint64(b[KEY * WIDTH + j]),
            np.uint64(b[(KEY + 1) * WIDTH + j]),
        )
        b[(first + 2 * pair) * WIDTH + j] = x
        b[(first + 2 * pair + 1) * WIDTH + j] = y


def restart_rows(B, rows, tasks, uids, visits, keys, K, states, n_states, obs, pitch):
    """Begin episodes; start states are given for the first ``n_states`` of them."""
    for i in range(len(rows)):
        b, j = B[rows[i] // WIDTH], rows[i] % WIDTH
        for m in range(N_CONSTANTS):
            b[(CONSTANTS + m) * WIDTH + j] = K[tasks[i], m]
        b[UID * WIDTH + j] = uids[i]
        b[VISIT * WIDTH + j] = visits[i]
        b[KEY * WIDTH + j] = keys[i, 0]
        b[(KEY + 1) * WIDTH + j] = keys[i, 1]
        b[FAILED * WIDTH + j] = 0.0
        k = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS)
        if i < n_states:
            for m in range(N_STATE):
                b[(STATE + m) * WIDTH + j] = states[i, m]
        else:
            draw(b, j, NOISE, N_INITIAL, 0, INITIAL)
            store(b, STATE, WIDTH, j, initial(load(b, NOISE, WIDTH, j, N_INITIAL), k))
        store(obs, 0, 1, rows[i] * pitch, observation(load(b, STATE, WIDTH, j, N_STATE), k))


def observe_rows(B, rows, obs, pitch):
    """Write the observation of these rows."""
    for row in rows:
        b, j = B[row // WIDTH], row % WIDTH
        k = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS)
        store(obs, 0, 1, row * pitch, observation(load(b, STATE, WIDTH, j, N_STATE), k))


def advance_block(b):
    """Step all lanes of a block in place; lanes not active stay."""
    for j in range(WIDTH):
        state = load(b, STATE, WIDTH, j, N_STATE)
        k = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS)
        action = load(b, ACTION, WIDTH, j, N_ACTION)
        noise = load(b, NOISE, WIDTH, j, N_NOISE)
        has_failed = b[FAILED * WIDTH + j] > 0.0
        moving = b[ACTIVE * WIDTH + j] > 0.0
        following, reward, terminated, failed = advance(state, action, noise, k, has_failed)
        store(b, STATE, WIDTH, j, choose(moving, following, state))
        b[REWARD * WIDTH + j] = reward
        b[TERMINATED * WIDTH + j] = 1.0 if terminated else 0.0
        b[FAILED * WIDTH + j] = 1.0 if (failed if moving else has_failed) else 0.0


def step_rows(
    first, last, B, n_rows, actions, active, steps, horizon, obs, pitch, rewards, terminated, truncated, failed
):
    """Step blocks ``first`` to ``last``; returns how many rows ended."""
    n_ended = 0
    for q in range(first, last):
        b = B[q]
        base = q * WIDTH
        n = min(WIDTH, n_rows - base)
        a = cursor(actions, base * N_ACTION)
        for i in range(N_ACTION):
            for j in range(WIDTH):
                b[(ACTION + i) * WIDTH + j] = a[min(j, n - 1) * N_ACTION + i]
        for j in range(WIDTH):
            b[ACTIVE * WIDTH + j] = 1.0 if active[base + min(j, n - 1)] else 0.0
        if N_NOISE > 0:
            for j in range(WIDTH):
                draw(b, j, NOISE, N_NOISE, steps[base + min(j, n - 1)], TRANSITION)
        advance_block(b)
        r = cursor(rewards, base)
        for j in range(n):
            r[j] = b[REWARD * WIDTH + j]
        for j in range(n):
            i = base + j
            steps[i] += active[i]
            terminated[i] = b[TERMINATED * WIDTH + j] > 0.0
            failed[i] = b[FAILED * WIDTH + j] > 0.0
            truncated[i] = steps[i] >= horizon
            n_ended += active[i] & (terminated[i] | truncated[i])
        for j in range(n):
            k = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS)
            store(obs, 0, 1, (base + j) * pitch, observation(load(b, STATE, WIDTH, j, N_STATE), k))
    return n_ended


def step_one(b, action, steps, horizon, obs):
    """Step the only row of a block of one; False as first result: an action that isn't finite, nothing was done."""
    for i in range(N_ACTION):
        u = np.float64(action[i])
        if not np.isfinite(u):
            return False, 0.0, False, False, False
        b[ACTION + i] = u
    if N_NOISE > 0:
        draw(b, 0, NOISE, N_NOISE, steps[0], TRANSITION)
    state = load(b, STATE, 1, 0, N_STATE)
    k = load(b, CONSTANTS, 1, 0, N_CONSTANTS)
    following, reward, terminated, failed = advance(
        state, load(b, ACTION, 1, 0, N_ACTION), load(b, NOISE, 1, 0, N_NOISE), k, b[FAILED] > 0.0
    )
    store(b, STATE, 1, 0, following)
    b[FAILED] = 1.0 if failed else 0.0
    store(obs, 0, 1, 0, observation(following, k))
    steps[0] += 1
    return True, reward, terminated, steps[0] >= horizon, failed


@functools.lru_cache(maxsize=64)
def compiled(text: Text, width: int) -> SimpleNamespace:
    """The templates for a family, compiled at their first call or read from numba's cache on disk."""
    kernels = bind_family(text, lane_binder())
    known = described(text, kernels, width)
    layout = fields(
        STATE=known["N_STATE"],
        CONSTANTS=known["N_CONSTANTS"],
        ACTION=known["N_ACTION"],
        NOISE=noise_size(text),
        REWARD=1,
        TERMINATED=1,
        FAILED=1,
        ACTIVE=1,
        UID=1,
        VISIT=1,
        KEY=2,
    )
    given = {**known, **layout}
    given["draw"] = kernels.binder.bind(draw, given)
    given["advance_block"] = compile_template(advance_block, kernels, given)
    templates: tuple[Callable[..., Any], ...] = (
        restart_rows,
        observe_rows,
        step_rows,
        *([step_one] if width == 1 else []),
    )
    functions = {t.__name__: compile_template(t, kernels, given) for t in templates}
    return SimpleNamespace(**functions, advance_block=given["advance_block"], n_fields=layout["N_FIELDS"], **layout)


class NumbaRows:
    """Rows in blocks."""

    def __init__(
        self,
        family: KernelFamily,
        tasks: TaskSet,
        n_rows: int,
        reward: str | None,
        terminate_on_failure: bool,
        width: int | None = None,
    ) -> None:
        """Compile (or load) the family and allocate the blocks."""
        self._n_rows = n_rows
        self._n_state = len(family.state)
        self._width = width or (1 if n_rows == 1 else LANES)
        self._arguments = family, tasks, reward, terminate_on_failure
        self._bind()
        n_blocks = -(-n_rows // self._width)
        self._blocks = np.zeros((n_blocks, self._code.n_fields * self._width))
        self._block = self._blocks[0]

    def _bind(self) -> None:
        family, tasks, reward, terminate_on_failure = self._arguments
        constants = Constants.of(family, tasks.values)
        self._table = constants.table
        self._code = compiled(Text.of(family, constants, reward, terminate_on_failure), self._width)
        self._step_one: Any = getattr(self._code, "step_one", None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_code": None, "_block": None, "_step_one": None, "_table": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()
        self._block = self._blocks[0]

    def restart(self, episodes: Episodes, observations: npt.NDArray[Any]) -> None:
        """See `Rows`."""
        given = episodes.states is not None
        states = np.ascontiguousarray(episodes.states, np.float64) if given else np.zeros((1, self._n_state))
        self._code.restart_rows(
            self._blocks,
            episodes.rows,
            episodes.tasks,
            episodes.uids,
            episodes.visits,
            episodes.keys,
            self._table,
            states,
            len(episodes.rows) if given else 0,
            observations,
            observations.shape[1],
        )

    def step(self, actions: FloatArray, active: BoolArray, clock: Clock, results: Results) -> int:
        """See `Rows`."""
        observations, rewards, terminated, truncated, failed = results
        arguments = (
            self._blocks,
            self._n_rows,
            actions,
            active,
            clock.steps,
            clock.horizon,
            observations,
            observations.shape[1],
            rewards,
            terminated,
            truncated,
            failed,
        )
        return in_chunks(self._code.step_rows, len(self._blocks), MIN_BLOCKS_A_THREAD, arguments)

    def step_one(
        self, action: npt.NDArray[Any], clock: Clock, observation: npt.NDArray[Any]
    ) -> tuple[bool, float, bool, bool, bool]:
        """The latency path of a single row: ``(action was finite, reward, terminated, truncated, failed)``."""
        result: tuple[bool, float, bool, bool, bool] = self._step_one(
            self._block, action, clock.steps, clock.horizon, observation
        )
        return result

    def _field(self, name: str, size: int) -> FloatArray:
        blocks = self._blocks.reshape(len(self._blocks), -1, self._width)
        first = getattr(self._code, name)
        return blocks[:, first : first + size].transpose(0, 2, 1).reshape(-1, size)[: self._n_rows]

    def states(self) -> FloatArray:
        """See `Rows`."""
        return self._field("STATE", self._n_state).copy()

    def set_state(self, row: int, state: FloatArray) -> None:
        """See `Rows`."""
        block, lane = self._blocks[row // self._width].reshape(-1, self._width), row % self._width
        block[self._code.STATE : self._code.STATE + self._n_state, lane] = state
        block[self._code.FAILED, lane] = 0.0

    def observe(self, rows: IntArray, observations: npt.NDArray[Any]) -> None:
        """See `Rows`."""
        self._code.observe_rows(self._blocks, rows, observations, observations.shape[1])

    def close(self) -> None:
        """Nothing to release."""
