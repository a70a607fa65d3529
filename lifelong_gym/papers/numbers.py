"""From the files of all cells to the numbers that a page is written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_gym.papers.cells import PaperCell
from lifelong_gym.papers.quantities import sweeps_to
from lifelong_gym.papers.specs import LEARNING, PaperSpec
from lifelong_gym.papers.sweeps import Values

SHOWN = ("n_tasks", "sweeps", "preset")  # values of every study of learning, which the page states


@dataclass(frozen=True)
class Numbers:
    """By study, system and method: quantities, each a list by seed, and the values of the runs."""

    content: Mapping[str, Any]  # JSON-native: ``quantities`` and ``values``, mappings by study, system and method

    def by_seed(self, study: str, system: str, method: str, of: str) -> list[Any]:
        """A quantity, by seed."""
        found: list[Any] = self.content["quantities"][study][system][method][of]
        return found

    def systems(self, study: str, among: Sequence[str]) -> list[str]:
        """Those that were run."""
        return [system for system in among if system in self.content["values"].get(study, {})]

    def values(self, study: str, system: str, method: str) -> Values:
        """What these runs were made with; ``seeds``: how many there are."""
        values: Values = self.content["values"][study][system][method]
        return values


def flat_times(by_seed: Sequence[Any]) -> list[float]:
    """Times of all runs, infinite where they never came; of a list a run, all of them.

    >>> flat_times([3, None]), flat_times([[1, None], [2, 4]])
    ([3.0, inf], [1.0, inf, 2.0, 4.0])
    """
    flat = [each for of_run in by_seed for each in (of_run if isinstance(of_run, list) else [of_run])]
    return [np.inf if each is None else float(each) for each in flat]


def collected(paper: PaperSpec, cells: Sequence[PaperCell], folder: Path) -> Numbers:
    """The quantities that the page shows, from the files of the cells, which are in their order.

    Raises:
        ValueError: a cell without a file, or a quantity that its figures don't have; the message names the cell.
    """
    needed = paper.needed()
    quantities: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for (study, system), beside in groupby(cells, lambda cell: cell.place[:2]):
        own = {method: list(of_method) for method, of_method in groupby(beside, lambda cell: cell.place[2])}
        found = {method: [cell.measured(folder) for cell in of_method] for method, of_method in own.items()}
        quantities.setdefault(study, {})[system] = {
            method: {
                of: sweeps_to(of, found).get(method)
                or [cell.quantity(of, figures) for cell, figures in zip(own[method], found[method], strict=True)]
                for of in sorted(needed.get((study, method), ()))
            }
            for method in own
        }
        values.setdefault(study, {})[system] = {method: _shown(paper, of_method) for method, of_method in own.items()}
    return Numbers({"quantities": quantities, "values": values})


def _shown(paper: PaperSpec, cells: Sequence[PaperCell]) -> dict[str, Any]:
    """Values that the page states, and those that claims need."""
    settings = cells[0].settings
    study = settings["study"]
    wanted = set(SHOWN if settings["measure"] == LEARNING else ())
    wanted |= {name for each in paper.comparisons() if each.study == study for name in (*each.needs, each.lasted)}
    wanted |= {table.lasted for table in paper.tables.values() if table.study == study}
    return {name: settings[name] for name in sorted(wanted)} | {"seeds": len(cells)}
