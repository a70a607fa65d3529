"""Who may know whom: the package's imports, read with `ast`, against three tables; circles, sizes and names.

Modules are named relative to `lifelong_gym`, itself ``.``; a pattern stands for a module and all below it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import resolve_name
from pathlib import Path

import networkx as nx
import pytest

SOURCE = Path(__file__).parents[1] / "lifelong_gym"

# Downward only. A module may import from its own room, but a family only from its own folder. Strings like
# "module:Class", resolved at run time, are no imports: the registry lives by them. Words in capitals are rooms
# that stand together below.
ROOMS = """
    room        | modules                      | may import from
    cli         | cli                          | papers reports benchmark measures testing agents BELOW_AGENTS
    papers      | papers                       | reports benchmark measures agents families BELOW_AGENTS
    reports     | reports                      | benchmark measures agents BELOW_AGENTS
    benchmark   | benchmark                    | measures agents BELOW_AGENTS
    agents      | agents                       | BELOW_AGENTS
    testing     | testing                      | BELOW_AGENTS
    wrappers    | wrappers                     | INTERFACES
    references  | references                   | INTERFACES
    front       | . envs                       | adapters registry GROUND
    adapters    | envs.single envs.vector      | core registry viewers GROUND
    adapters    | envs.parallel envs.rollout   | core registry viewers GROUND
    adapters    | envs.adapter                 | core registry viewers GROUND
    core        | envs.core envs.settings      | GROUND
    core        | envs.task_features           | GROUND
    registry    | registry                     | GROUND
    viewers     | envs.viewers                 | GROUND
    engines     | envs.engines                 | families GROUND
    models      | envs.models                  | families GROUND
    models      | envs.tabular.random_maps     | families GROUND
    families    | envs.control envs.tabular    | declaration tasks numerics ground
    families    | envs.allocation envs.arcade  | declaration tasks numerics ground
    families    | envs.navigation              | declaration tasks numerics ground
    backends    | envs.backends                | declaration tasks numerics ground
    declaration | envs.family envs.constraints | tasks numerics ground
    declaration | envs.tables envs.arguments   | tasks numerics ground
    declaration | envs.spaces envs.tally       | tasks numerics ground
    tasks       | tasks                        | numerics ground
    measures    | measures                     | numerics ground
    numerics    | numerics                     | ground
    ground      | errors imports               |
"""
for word, meaning in {
    "BELOW_AGENTS": "wrappers references INTERFACES",
    "INTERFACES": "front adapters core registry models GROUND",
    "GROUND": "backends declaration tasks numerics ground",
}.items():
    ROOMS = ROOMS.replace(word, meaning)

# Where a heavy library may be imported as soon as a module is; elsewhere, inside the function that needs it.
AT_MODULE_LEVEL = """
    library                                 | modules
    numba llvmlite                          | envs.backends.numba*
    torch stable_baselines3                 | agents wrappers.vec_env benchmark.evaluation benchmark.logs
    torch stable_baselines3                 | cli.demo papers wrappers.bridge wrappers.hidden_tasks
    torch stable_baselines3                 | wrappers.node_rows wrappers.parallel_vec_env
    scipy                                   | agents references benchmark measures reports papers wrappers
    networkx                                | agents wrappers
    matplotlib                              | reports papers
    mujoco pybullet                         | envs.engines
    ale_py                                  | envs.arcade
    pygame                                  | envs.viewers
    pydantic                                | papers
    flwr                                    | agents.allocation.flower
    pandas cvxpy clarabel ray wandb optuna  |
"""

# What a room may not import anywhere, not even inside a function.
NEVER = """
    room      | libraries                                  | except
    families  | gymnasium pettingzoo torch pygame numba    | gymnasium.spaces
"""


def rows(table: str) -> list[list[list[str]]]:
    """The rows of a table below its heading; each cell is a list of words."""
    return [[cell.split() for cell in line.split("|")] for line in table.strip().splitlines()[1:]]


def matching(name: str, patterns: Iterable[str]) -> list[str]:
    """The patterns that stand for a dotted name, the most specific last."""
    return sorted((p for p in patterns if fnmatchcase(name, p) or fnmatchcase(name, f"{p}.*")), key=len)


PATTERN_ROOM = {pattern: room for (room,), patterns, _ in rows(ROOMS) for pattern in patterns}
MAY_IMPORT_FROM = {room: below for (room,), _, below in rows(ROOMS)}
HOMES: dict[str, list[str]] = {}
for libraries, homes in rows(AT_MODULE_LEVEL):
    for library in libraries:
        HOMES.setdefault(library, []).extend(homes)


def pattern_of(name: str) -> str | None:
    """The pattern that decides a module's room; those of the front stand for themselves only."""
    exact = [p for p, room in PATTERN_ROOM.items() if room == "front"]
    found = [name] if name in exact else matching(name, PATTERN_ROOM.keys() - exact)
    return found[-1] if found else None


@dataclass(frozen=True)
class Import:
    """One imported name, such as ``numpy.linalg.norm``.

    Attributes:
        target: absolute dotted name.
        line: line of the statement.
        deferred: empty where it is carried out when the module is imported, else ``"types"`` or ``"call"``.
    """

    target: str
    line: int
    deferred: str


def imports(node: ast.AST, package: str, deferred: str = "") -> Iterator[Import]:
    """All imports below a node of a module that lies in ``package``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, deferred) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = resolve_name("." * child.level + (child.module or ""), package)
            for alias in child.names:
                yield Import(base if alias.name == "*" else f"{base}.{alias.name}", child.lineno, deferred)
        else:
            yield from imports(child, package, deferred or defers(child))


def defers(node: ast.AST) -> str:
    """A function's body runs later, and what stands under ``if TYPE_CHECKING`` never."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return "call"
    return "types" if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") else ""


def relative(name: str) -> str | None:
    """A dotted name relative to the package, or None for another package's."""
    top, _, rest = name.partition(".")
    return (rest or ".") if top == SOURCE.name else None


def fault(module: str, pattern: str, found: Import) -> str | None:
    """What is wrong with an import in a module, or None."""
    room = PATTERN_ROOM[pattern]
    target = relative(found.target)
    if target is not None:
        known = pattern_of(target)
        target_room = PATTERN_ROOM[known] if known else "front"  # a name that the front exports
        is_own = known == pattern if room == "families" else target_room == room
        if not is_own and target_room not in MAY_IMPORT_FROM[room]:
            return f"{room} may not import from {target_room}"
        return None
    for (limited,), libraries, exceptions in rows(NEVER):
        if room == limited and matching(found.target, libraries) and not matching(found.target, exceptions):
            return f"{room} never import {found.target}"
    homes = HOMES.get(found.target.split(".")[0])
    if homes is not None and not found.deferred and not matching(module, homes):
        return f"{found.target} is too heavy to be imported at module level here"
    return None


def violations(source: Path) -> Iterator[str]:
    """Every import under a source tree that breaks a rule, and every module that no room claims."""
    for path in sorted(source.rglob("*.py")):
        place = path.relative_to(source.parent)
        parts = place.with_suffix("").parts
        package = ".".join(parts[:-1])
        module = relative(package if path.name == "__init__.py" else ".".join(parts))
        assert module is not None
        pattern = pattern_of(module)
        if pattern is None:
            yield f"{place}: belongs to no room; add it to the table"
            continue
        for found in imports(ast.parse(path.read_text(encoding="utf-8")), package):
            problem = fault(module, pattern, found)
            if problem is not None:
                yield f"{place}:{found.line}: {problem} ({found.target})"


def test_the_package_keeps_the_rules() -> None:
    """No module knows one that it may not know."""
    assert list(violations(SOURCE)) == []


def found_in(tree: Path, place: str, text: str) -> list[str]:
    """The violations in a package that consists of one module."""
    path = tree / SOURCE.name / place
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return list(violations(tree / SOURCE.name))


@pytest.mark.parametrize(
    ("place", "text", "problem"),
    [
        ("envs/core.py", "from lifelong_gym.envs import single", "core may not import from adapters"),
        ("envs/core.py", "from . import vector", "core may not import from adapters"),
        ("envs/core.py", "from ..agents import PGELLA", "core may not import from agents"),
        ("envs/vector.py", "import lifelong_gym.envs.control.ch47", "adapters may not import from families"),
        (
            "envs/vector.py",
            "def f():\n    from .control import ch47",
            "adapters may not import from families",
        ),
        (
            "envs/control/ch47.py",
            "from lifelong_gym.envs.tabular import maze",
            "families may not import from families",
        ),
        (
            "envs/control/ch47.py",
            "from lifelong_gym.envs.backends import bind",
            "families may not import from backends",
        ),
        ("envs/control/ch47.py", "from lifelong_gym import rollout", "families may not import from front"),
        ("envs/control/ch47.py", "import gymnasium as gym", "families never import gymnasium"),
        ("envs/control/ch47.py", "from gymnasium import Env, spaces", "families never import gymnasium.Env"),
        ("envs/control/ch47.py", "def f():\n    import numba", "families never import numba"),
        ("wrappers/topology.py", "from lifelong_gym.agents import *", "wrappers may not import from agents"),
        (
            "agents/linear/enac.py",
            "from lifelong_gym.envs.control import ch47",
            "agents may not import from families",
        ),
        (
            "registry.py",
            "from lifelong_gym.envs.control import ch47",
            "registry may not import from families",
        ),
        ("wrappers/topology.py", "import torch", "torch is too heavy"),
        ("agents/safety/projection.py", "import cvxpy", "cvxpy is too heavy"),
        ("envs/parallel.py", "import networkx as nx", "networkx is too heavy"),
        ("numerics/philox.py", "if True:\n    from numba import njit", "numba.njit is too heavy"),
        ("cli/main.py", "import matplotlib.pyplot as plt", "matplotlib.pyplot is too heavy"),
        ("tasks/task_set.py", "import pandas", "pandas is too heavy"),
        ("surprise.py", "", "belongs to no room"),
    ],
)
def test_a_violation_is_found(tmp_path: Path, place: str, text: str, problem: str) -> None:
    """The rules catch what they forbid, and name the place."""
    (message,) = found_in(tmp_path, place, text)
    assert message.startswith(f"lifelong_gym/{place}")
    assert problem in message


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (
            "envs/control/ch47.py",
            "from gymnasium import spaces\nfrom lifelong_gym.numerics.scalar import clip",
        ),
        (
            "envs/control/ch47.py",
            "from lifelong_gym.envs.control import helpers\nfrom .helpers import inertia",
        ),
        ("envs/backends/numba_lanes.py", "import numba"),
        ("wrappers/vec_env.py", "from stable_baselines3.common.vec_env import VecEnv"),
        ("wrappers/topology.py", "import networkx as nx\nfrom scipy import sparse"),
        ("tasks/task_set.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas"),
        ("tasks/task_set.py", "def to_frame():\n    import pandas"),
        ("agents/linear/enac.py", "import torch\nfrom lifelong_gym import __version__, rollout"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, place: str, text: str) -> None:
    """The rules catch nothing else."""
    assert found_in(tmp_path, place, text) == []


def test_importing_the_package_imports_nothing_heavy() -> None:
    """``import lifelong_gym`` registers every id and yet costs about what ``import gymnasium`` costs."""
    code = "import sys, lifelong_gym; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HOMES.keys() & set(done.stdout.split()) == set()


def circles(source: Path) -> Iterator[list[str]]:
    """Rings of modules in which each imports the next when it is imported itself, or for its types."""
    needs: dict[str, set[str]] = {}
    for path in source.rglob("*.py"):
        parts = path.relative_to(source.parent).with_suffix("").parts
        package = ".".join(parts[:-1])
        found = imports(ast.parse(path.read_text(encoding="utf-8")), package)
        module = package if path.name == "__init__.py" else ".".join(parts)
        needs[module] = {one.target for one in found if one.deferred != "call"}
    graph = nx.DiGraph()
    for module, targets in needs.items():
        homes = {target if target in needs else target.rpartition(".")[0] for target in targets}
        graph.add_edges_from((module, home) for home in homes & needs.keys() - {module})
    return nx.simple_cycles(graph)


def test_no_modules_need_each_other() -> None:
    """No module imports one that imports it, on whatever way round, and be it for types alone."""
    assert list(circles(SOURCE)) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    """Also one that only a type checker would walk; what a call imports may look back."""
    tree = tmp_path / SOURCE.name
    tree.mkdir()
    (tree / "upper.py").write_text("from lifelong_gym.lower import number", encoding="utf-8")
    below = "from .upper import Kind"
    (tree / "lower.py").write_text(f"if TYPE_CHECKING:\n    {below}", encoding="utf-8")
    (ring,) = circles(tree)
    assert sorted(ring) == ["lifelong_gym.lower", "lifelong_gym.upper"]
    (tree / "lower.py").write_text(f"def number():\n    {below}", encoding="utf-8")
    assert list(circles(tree)) == []


def oversized(source: Path, most_lines: int = 400, most_of_a_function: int = 60) -> Iterator[str]:
    """Files and functions that are too long to be read in one go."""
    for path in sorted(source.rglob("*.py")):
        text, place = path.read_text(encoding="utf-8"), path.relative_to(source.parent)
        if (n_lines := text.count("\n")) > most_lines:
            yield f"{place}: {n_lines} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                n_lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if n_lines > most_of_a_function:
                    yield f"{place}:{node.lineno}: {node.name} has {n_lines} lines"


def test_files_and_functions_are_short() -> None:
    """No file of the package has more than 400 lines, and no function more than 60, its docstring included."""
    assert list(oversized(SOURCE)) == []


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    """With its place and length."""
    tree = tmp_path / SOURCE.name
    tree.mkdir()
    (tree / "long.py").write_text("def f():\n    x = 1\n    y = 2\n", encoding="utf-8")
    assert list(oversized(tree, 2, 3)) == ["lifelong_gym/long.py: 3 lines"]
    assert list(oversized(tree, 3, 2)) == ["lifelong_gym/long.py:1: f has 3 lines"]


def test_a_name_stands_for_one_class() -> None:
    """No two public classes of the package have the same name."""
    places: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(SOURCE)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_what_strings_name_is_there() -> None:
    """Modules that are found by a string, such as ``"lifelong_gym.cli.main:app"``, have their file."""
    written = re.compile(rf"{SOURCE.name}(\.\w+)+(?=:\w+)")
    named = {found[0] for path in SOURCE.rglob("*.py") for found in written.finditer(path.read_text(encoding="utf-8"))}
    assert named
    places = {name: SOURCE.parent.joinpath(*name.split(".")) for name in named}
    lost = {name for name, at in places.items() if not at.with_suffix(".py").is_file() and not at.is_dir()}
    assert lost == set()
