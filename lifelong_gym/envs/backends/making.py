"""Which rows a core gets: by the family's kind, the physics and the backend."""

from __future__ import annotations

from typing import Any

from lifelong_gym.envs.backends.family_simulator import family_simulator
from lifelong_gym.envs.backends.painted_rows import PaintedRows
from lifelong_gym.envs.backends.rows import Rows
from lifelong_gym.envs.backends.simulator_rows import SimulatorRows, kernel_simulator
from lifelong_gym.envs.family import Family, SimulatorFamily
from lifelong_gym.errors import one_of
from lifelong_gym.imports import load
from lifelong_gym.tasks.task_set import TaskSet

BACKENDS = ("numba", "numpy", "python")


def numba_compiles() -> bool:
    """Whether numba's compiler is on; ``NUMBA_DISABLE_JIT`` turns it off, to debug or to measure coverage."""
    from numba import config

    return not config.DISABLE_JIT  # type: ignore[attr-defined]


def make_rows(
    physics: str, backend: str, n_rows: int, family: Family, tasks: TaskSet, reward: str, terminate_on_failure: bool
) -> Rows:
    """Rows of a family's tasks; a simulator family, and other physics than the kernel, run the same on any backend.

    Raises:
        UnknownNameError: physics that the family doesn't have.
        ValueError: more rows than an engine has room for.
    """
    arguments: tuple[Any, ...] = family, tasks, reward, terminate_on_failure
    if physics != "kernel":
        one_of("physics", physics, ["kernel", *family.simulators])
        engine = load(family.simulators[physics])
        engine.check_rows(n_rows)
        return SimulatorRows(n_rows, engine.maker, *arguments)
    one_of("backend", backend, BACKENDS)
    if isinstance(family, SimulatorFamily):
        return SimulatorRows(n_rows, family_simulator, *arguments)
    rows = _kernel_rows(backend, n_rows, arguments)
    painter = getattr(family, "painter", None)
    return rows if painter is None else PaintedRows(rows, load(painter)(family, tasks), n_rows)


def _kernel_rows(backend: str, n_rows: int, arguments: tuple[Any, ...]) -> Rows:
    family, tasks, reward, terminate_on_failure = arguments
    if backend == "python" or (backend == "numba" and not numba_compiles()):
        return SimulatorRows(n_rows, kernel_simulator, *arguments)
    kind = load(f"lifelong_gym.envs.backends.{backend}_rows:{backend.capitalize()}Rows")
    rows: Rows = kind(family, tasks, n_rows, reward, terminate_on_failure)
    return rows
