"""The kernels on numba: blocks of 64 rows side by side, which LLVM vectorises; one row alone in a block of one.

A block is a flat float64 array of fields, each ``WIDTH`` lanes wide. Where there are many, blocks are packed: they hold
what a row can't do without, and are laid out one by one in a space that stays in the cache of a core, beside the
constants of their tasks, which blocks of one task find there already. Results depend on neither.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.backends.kernels import bind_family
from lifelong_gym.envs.backends.numba_compile import (
    compile_template,
    described,
    fields,
    lane_binder,
    noise_size,
    table_data,
)
from lifelong_gym.envs.backends.numba_math import choose, cursor, load, store
from lifelong_gym.envs.backends.numba_tables import tables_of
from lifelong_gym.envs.backends.rows import Clock, Episodes, Results
from lifelong_gym.envs.backends.text import Program, Text
from lifelong_gym.envs.backends.threads import in_chunks
from lifelong_gym.envs.family import KernelFamily
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray
from lifelong_gym.numerics.philox import uniform_pair
from lifelong_gym.tasks.task_set import TaskSet

LANES = 64
ITEM_BYTES = np.dtype(np.float64).itemsize
UNPACKED_BYTES = 12 * 2**20  # beyond, blocks leave the cache that cores share, and packed ones are faster
MIN_BLOCKS_A_THREAD = 100  # a hand-over to a thread costs about as much as 50 blocks

# ruff: noqa: F821 (names in capitals, and the family's roles, are filled in when a template is compiled)
# mypy: disable-error-code="name-defined, no-untyped-def"


def draw(b, j, out, first, n, step, stream):
    """Fill ``n`` noise lanes of ``out`` from field ``first`` on, for the row in lane j of block b."""
    for pair in range((n + 1) // 2):
        x, y = uniform_pair(
            np.uint64(step),
            np.uint64(b[UID * WIDTH + j]),
            np.uint64(b[VISIT * WIDTH + j]),
            np.uint64(stream + pair),
            np.uint64(b[KEY * WIDTH + j]),
            np.uint64(b[(KEY + 1) * WIDTH + j]),
        )
        out[(first + 2 * pair) * WIDTH + j] = x
        out[(first + 2 * pair + 1) * WIDTH + j] = y


def drawn_noise(b, data, steps, base, n):
    """The noise of a step, from the rows' streams; lanes beyond ``n`` repeat the last row's step."""
    if N_NOISE > 0:
        for j in range(WIDTH):
            draw(b, j, b, NOISE, N_NOISE, steps[base + min(j, n - 1)], TRANSITION)


def exogenous_noise(b, data, steps, base, n):
    """The noise of a step, from tables: a pass of its own, so that what reads it can be vectorised."""
    for j in range(WIDTH):
        tables = tables_of(data, b[SLOT * WIDTH + j])
        k = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS)
        store(b, NOISE, WIDTH, j, exogenous(load(b, STATE, WIDTH, j, N_STATE), k, tables))


def restart_rows(B, rows, slots, uids, visits, keys, K, data, states, n_states, obs, pitch):
    """Begin episodes; start states are given for the first ``n_states`` of them."""
    noise = np.empty(NOISE_SIZE * WIDTH)
    for i in range(len(rows)):
        b, j = B[rows[i] // WIDTH], rows[i] % WIDTH
        if len(b) == N_FIELDS * WIDTH:
            for m in range(N_CONSTANTS):
                b[(CONSTANTS + m) * WIDTH + j] = K[slots[i], m]
        b[SLOT * WIDTH + j] = slots[i]
        b[UID * WIDTH + j] = uids[i]
        b[VISIT * WIDTH + j] = visits[i]
        b[KEY * WIDTH + j] = keys[i, 0]
        b[(KEY + 1) * WIDTH + j] = keys[i, 1]
        b[FAILED * WIDTH + j] = 0.0
        k, tables = load(K, 0, 1, slots[i] * N_CONSTANTS, N_CONSTANTS), tables_of(data, slots[i])
        if i < n_states:
            for m in range(N_STATE):
                b[(STATE + m) * WIDTH + j] = states[i, m]
        else:
            draw(b, j, noise, 0, N_INITIAL, 0, INITIAL)
            store(b, STATE, WIDTH, j, initial(load(noise, 0, WIDTH, j, N_INITIAL), k, tables))
        show(load(b, STATE, WIDTH, j, N_STATE), k, tables, obs, rows[i] * pitch)


def observe_rows(B, rows, K, data, obs, pitch):
    """Write the observation of these rows."""
    for row in rows:
        b, j = B[row // WIDTH], row % WIDTH
        slot = np.int64(b[SLOT * WIDTH + j])
        k = load(K, 0, 1, slot * N_CONSTANTS, N_CONSTANTS)
        show(load(b, STATE, WIDTH, j, N_STATE), k, tables_of(data, slot), obs, row * pitch)


def unpack(p, b, K, held):
    """Lay a packed block out in b.

    Its lanes' constants are copied there too, unless all of them are in the slot ``held`` whose constants b has in all
    its lanes. Returns that slot, or -1 where the lanes are in several.
    """
    for i in range(N_UNPACKED * WIDTH):
        b[i] = p[i]
    slot, others = p[SLOT * WIDTH], 0
    for j in range(WIDTH):
        others += p[SLOT * WIDTH + j] != slot
    if others == 0 and slot == held:
        return held
    for j in range(WIDTH):
        store(b, CONSTANTS, WIDTH, j, load(K, 0, 1, np.int64(p[SLOT * WIDTH + j]) * N_CONSTANTS, N_CONSTANTS))
    return slot if others == 0 else -1.0


def pad(b, n):
    """Let the lanes from ``n`` on live the life of the row before them: whatever they read is there."""
    for field in range(ACTION):
        for j in range(n, WIDTH):
            b[field * WIDTH + j] = b[field * WIDTH + n - 1]


def take_actions(b, actions, active, base, n):
    """Copy a block's actions, and which of its rows are active."""
    a = cursor(actions, base * N_ACTION)
    for i in range(N_ACTION):
        for j in range(WIDTH):
            b[(ACTION + i) * WIDTH + j] = a[min(j, n - 1) * N_ACTION + i]
    for j in range(WIDTH):
        b[ACTIVE * WIDTH + j] = 1.0 if active[base + min(j, n - 1)] else 0.0


def advance_block(b, data):
    """Step all lanes of a block in place; lanes not active stay."""
    for j in range(WIDTH):
        state = load(b, STATE, WIDTH, j, N_STATE)
        k = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS)
        tables = tables_of(data, b[SLOT * WIDTH + j])
        action = load(b, ACTION, WIDTH, j, N_ACTION)
        noise = load(b, NOISE, WIDTH, j, N_NOISE)
        has_failed = b[FAILED * WIDTH + j] > 0.0
        moving = b[ACTIVE * WIDTH + j] > 0.0
        following, reward, terminated, failed = advance(state, action, noise, k, tables, has_failed)
        store(b, STATE, WIDTH, j, choose(moving, following, state))
        b[REWARD * WIDTH + j] = reward
        b[TERMINATED * WIDTH + j] = 1.0 if terminated else 0.0
        b[FAILED * WIDTH + j] = 1.0 if (failed if moving else has_failed) else 0.0


def step_rows(
    first, last, B, n_rows, K, data, actions, active, steps, horizon, obs, pitch, rewards, terminated, truncated, failed
):
    """Step blocks ``first`` to ``last``; returns how many rows ended."""
    n_ended = 0
    packed = B.shape[1] < N_FIELDS * WIDTH
    space = np.empty(N_FIELDS * WIDTH) if packed else B[first]
    held = -1.0
    for q in range(first, last):
        b = B[q]
        if packed:
            held = unpack(B[q], space, K, held)
            b = space
        base = q * WIDTH
        n = min(WIDTH, n_rows - base)
        if N_TABLES > 0 and n < WIDTH:
            pad(b, n)
        take_actions(b, actions, active, base, n)
        make_noise(b, data, steps, base, n)
        advance_block(b, data)
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
            k, tables = load(b, CONSTANTS, WIDTH, j, N_CONSTANTS), tables_of(data, b[SLOT * WIDTH + j])
            show(load(b, STATE, WIDTH, j, N_STATE), k, tables, obs, (base + j) * pitch)
        if packed:
            for i in range(N_CHANGING * WIDTH):
                B[q, i] = b[i]
    return n_ended


def step_one(b, data, action, steps, horizon, obs):
    """Step the only row of a block of one; False as first result: an action that isn't finite, nothing was done."""
    for i in range(N_ACTION):
        u = np.float64(action[i])
        if not np.isfinite(u):
            return False, 0.0, False, False, False
        b[ACTION + i] = u
    make_noise(b, data, steps, 0, 1)
    state = load(b, STATE, 1, 0, N_STATE)
    k, tables = load(b, CONSTANTS, 1, 0, N_CONSTANTS), tables_of(data, b[SLOT])
    following, reward, terminated, failed = advance(
        state, load(b, ACTION, 1, 0, N_ACTION), load(b, NOISE, 1, 0, N_NOISE), k, tables, b[FAILED] > 0.0
    )
    store(b, STATE, 1, 0, following)
    b[FAILED] = 1.0 if failed else 0.0
    show(following, k, tables, obs, 0)
    steps[0] += 1
    return True, reward, terminated, steps[0] >= horizon, failed


@functools.lru_cache(maxsize=64)
def compiled(text: Text, width: int) -> SimpleNamespace:
    """The templates for a family, compiled at their first call or read from numba's cache on disk."""
    kernels = bind_family(text, lane_binder())
    known = described(text, kernels, width)
    layout = fields(
        STATE=text.n_state,
        FAILED=1,
        SLOT=1,
        UID=1,
        VISIT=1,
        KEY=2,
        CONSTANTS=text.n_constants,  # a packed block ends here
        ACTION=text.n_action,
        NOISE=noise_size(text),
        REWARD=1,
        TERMINATED=1,
        ACTIVE=1,
    )
    given = {
        **known,
        **layout,
        "N_TABLES": len(text.tables),
        "NOISE_SIZE": noise_size(text),
        "N_CHANGING": layout["SLOT"],
        "N_UNPACKED": layout["UID"] if text.n_noise == 0 else layout["CONSTANTS"],
    }
    given["draw"] = kernels.binder.bind(draw, given)
    given["make_noise"] = kernels.binder.bind(drawn_noise if kernels.exogenous is None else exogenous_noise, given)
    given["take_actions"] = kernels.binder.bind(take_actions, given)
    for block in (unpack, pad, advance_block):
        given[block.__name__] = compile_template(block, kernels, given)
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
        packed: bool | None = None,
    ) -> None:
        """Compile (or load) the family and allocate the blocks; ``width`` and ``packed`` are for tests."""
        self._n_rows = n_rows
        self._n_state = len(family.state)
        self._width = width or (1 if n_rows == 1 else LANES)
        self._arguments = family, tasks, reward, terminate_on_failure
        self._bind()
        n_blocks = -(-n_rows // self._width)
        if packed is None:
            packed = n_blocks * self._width * self._code.N_FIELDS * ITEM_BYTES > UNPACKED_BYTES
        n_fields = self._code.CONSTANTS if packed else self._code.N_FIELDS
        self._blocks = np.zeros((n_blocks, n_fields * self._width))
        self._block = self._blocks[0]

    def _bind(self) -> None:
        family, tasks, reward, terminate_on_failure = self._arguments
        self._program = Program.of(family, tasks, reward, terminate_on_failure)
        self._data = table_data(self._program)
        self._code = compiled(self._program.text, self._width)
        self._step_one: Any = getattr(self._code, "step_one", None)

    def __getstate__(self) -> dict[str, Any]:
        made = "_code", "_block", "_step_one", "_program", "_data"
        return {**self.__dict__, **dict.fromkeys(made)}

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
            self._program.tables.slots[episodes.tasks],
            episodes.uids,
            episodes.visits,
            episodes.keys,
            self._program.constants,
            self._data,
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
            self._program.constants,
            self._data,
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
            self._block, self._data, action, clock.steps, clock.horizon, observation
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
        self._code.observe_rows(
            self._blocks, rows, self._program.constants, self._data, observations, observations.shape[1]
        )

    def close(self) -> None:
        """Nothing to release."""
