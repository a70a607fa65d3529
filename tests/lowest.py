"""Prints pip constraints: the lowest versions that ``pyproject.toml`` promises; see ``make lowest``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
BOUND = re.compile(r"([\w.-]+)>=([\d.]+)(?:; python_version < .*)?")
EXTRA = "test"
PINNED = "torch"  # comes with Stable-Baselines3; its build is chosen where it is installed


def requirements(names: Iterable[str], extras: dict[str, list[str]]) -> Iterator[str]:
    """Without our own extras, whose requirements stand in their place."""
    for name in names:
        own = re.fullmatch(r"lifelong-gym\[(.*)\]", name)
        yield from requirements((r for extra in own[1].split(",") for r in extras[extra]), extras) if own else [name]


def lowest() -> dict[str, str]:
    """Versions by name, of all that the package and its tests ask for.

    Raises:
        ValueError: a requirement without a lower bound.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    versions = {}
    for requirement in requirements([*project["dependencies"], *extras[EXTRA]], extras):
        bound = BOUND.fullmatch(requirement)
        if bound is None:
            raise ValueError(f"pyproject.toml: a requirement must be `name>=version`. Received {requirement!r}")
        versions[bound[1]] = bound[2]
    return versions


def main() -> None:
    """One line a package."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in pins if line.startswith(f"{PINNED}==")]
    print(*[f"{name}=={version}" for name, version in lowest().items()], *pinned, sep="\n")


if __name__ == "__main__":
    main()
