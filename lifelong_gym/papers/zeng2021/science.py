"""What is said of the measurements: tables beside the paper's, maps with their ways, frames, and counts of seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from lifelong_gym import registry
from lifelong_gym.envs.navigation.worlds import WORLDS
from lifelong_gym.envs.tabular.maps import grid_world_map
from lifelong_gym.measures.statistics import Interval
from lifelong_gym.papers.numbers import Numbers
from lifelong_gym.papers.specs import FigureSpec, TableSpec
from lifelong_gym.reports.grid_worlds import draw_grid_worlds, legend_handles
from lifelong_gym.reports.plots import new_figure, styles, tidy
from lifelong_gym.wrappers import as_vec_env

from . import drones, grids

WANTED: Mapping[str, tuple[int, float, float]] = {  # of maps: goals, and from which to which share of the optimum
    **{name: (goals, 0.95, 1.0) for name, goals in (("A", 4), ("B", 4), ("C", 3), ("E", 6))},
    "D": (5, 0.80, 0.86),
}
PRINTED: Mapping[str, str] = {  # Table 1: four single agents and DCPG, each in four worlds and in sum
    "PPO": "28.3 11.2 8.7 13.5 61.7, 1.1 75.3 1.6 1.6 79.6, 2.5 3.0 63.2 15.6 84.3, 1.9 1.2 14.3 139.0 156.4, "
    "26.3 66.7 144.0 195.2 432.2",
    "A2C": "21.8 7.0 15.1 14.9 58.8, 1.3 54.1 2.8 6.4 59.4, 1.8 3.9 105.2 9.9 120.8, 1.1 1.4 15.8 78.6 96.9, "
    "25.2 50.1 165.8 159.6 380.7",
    "REINFORCE": "15.9 4.5 4.1 3.6 28.1, 3.0 55.4 9.7 8.1 76.2, 1.5 0.8 21.1 2.0 25.4, 2.3 0.8 8.6 40.1 51.8, "
    "25.2 67.9 40.5 61.8 195.4",
}
FILMED, EVERY = 200, 2  # steps of a film, and those between two of its pictures
WHOSE = ("SA-0", "SA-1", "SA-2", "SA-3", "DCPG")
Table = tuple[list[str], list[list[str]]]


def reached(numbers: Numbers, study: str, systems: tuple[str, ...]) -> dict[str, Interval]:
    """In how many seeds DCPG has as many goals, and such a share of the optimum, as a map is known for."""
    found = {}
    for system in systems:
        goals, least, most = WANTED[system]
        shares, counts = (np.array(numbers.by_seed(study, system, "DCPG", of)) for of in ("share", "goals"))
        n = float(((counts == goals) & (shares >= least) & (shares <= most)).sum())
        found[system] = Interval(n, n, n)
    return found


def sparser(numbers: Numbers, study: str, systems: tuple[str, ...]) -> dict[str, Interval]:
    """The gradient that is left in the last system over that in the first one, literal form."""
    first, last = (numbers.by_seed(study, system, "literal", "gradient_end")[0] for system in (systems[0], systems[-1]))
    return {f"{systems[-1]} over {systems[0]}": Interval(*[last / first] * 3)}


def errors(numbers: Numbers, spec: TableSpec) -> Table:
    """Printed values beside the true ones, and which printed entries of matrices are wrong."""
    head, rows = ["", "π1", "printed", "π3", "printed", "wrong entries (row, column)"], []
    for system in spec.systems:
        row = [numbers.by_seed(spec.study, system, spec.methods[0], of)[0] for of in spec.of]
        rows.append([system, *(f"{value:.5f}" for value in row[:4]), ", ".join(row[4])])
    return head, rows


def table_1(numbers: Numbers, spec: TableSpec) -> Table:
    """Mean safe flights, in metres, by policy and world, of one algorithm, and the paper's own below."""
    system = spec.systems[0]
    rows = []
    for method in spec.methods:
        found = np.mean(numbers.by_seed(spec.study, system, method, spec.of[0]), axis=0)
        alone = method == "single agents"
        named = zip([f"SA-{i}" for i in range(len(found))], found, strict=True) if alone else [(method, found.mean(0))]
        shown = [*named, ("each SA at home", np.diag(found))] if alone else named
        rows += [[name, *(f"{value:.1f}" for value in (*row, row.sum()))] for name, row in shown]
    if "seen" in spec.of[0]:
        printed = zip(WHOSE, PRINTED[system].split(", "), strict=True)
        rows += [[f"{name} (paper)", *row.split()] for name, row in printed]
    return ["", *WORLDS, "sum"], rows


def maps(numbers: Numbers, spec: FigureSpec) -> Figure:
    """The most likely way on every map, of the first seed."""
    figure = new_figure(12.6, 9.0)
    panels = np.ravel(figure.subplots(2, 3))
    panels[-1].axis("off")
    for axes, system in zip(panels, spec.systems, strict=False):
        tasks = registry.family(grids.ID).parameters.tasks(grid_world_map(system))
        draw_grid_worlds(axes, tasks, numbers.by_seed(spec.study, system, spec.methods[0], spec.of[0])[0])
        axes.set_title(f"({system.lower()})", fontsize=10)
    panels[-1].legend(handles=legend_handles(), loc="center", frameon=False)
    return figure


def gaps(numbers: Numbers, spec: FigureSpec) -> Figure:
    """What is left after all rounds against 1 / (1 - sigma_2), a panel a quantity."""
    figure = new_figure(4.2 * (len(spec.of) - 1), 3.6)
    look = styles(list(spec.methods))
    for axes, of in zip(np.ravel(figure.subplots(1, len(spec.of) - 1)), spec.of[1:], strict=True):
        for method in spec.methods:
            x, y = (
                [numbers.by_seed(spec.study, s, method, each)[0] for s in spec.systems] for each in (spec.of[0], of)
            )
            axes.plot(x, np.maximum(y, 1e-12), "o", color=look[method].colour, label=method)
        axes.set(xscale="log", yscale="log", xlabel="1 / (1 - σ2)", ylabel=of)
        tidy(axes)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def frames(numbers: Numbers, spec: FigureSpec) -> Figure:
    """What the camera sees at the start, two layouts a world."""
    del numbers, spec
    figure = new_figure(10.0, 5.4)
    tasks = [task for world in WORLDS for task in drones.layouts(world, 2, 0)]
    env: Any = as_vec_env(drones.ID, tasks=tasks, resolution=103)
    env.seed(0)
    for i, (axes, seen) in enumerate(zip(np.ravel(figure.subplots(2, len(WORLDS)).T), env.reset(), strict=True)):
        axes.imshow(seen)
        axes.axis("off")
        axes.set_title("" if i % 2 else WORLDS[i // 2], fontsize=10)
    return figure


def flight(numbers: Numbers, spec: FigureSpec) -> Iterator[npt.NDArray[np.uint8]]:
    """The recorded actions of one policy, flown again in all worlds side by side; the last pictures of flights stay."""
    told = numbers.by_seed(spec.study, spec.systems[0], spec.methods[0], spec.of[0])[0]
    env: Any = as_vec_env(drones.ID, tasks=told["tasks"], render_mode="rgb_array")
    env.seed(drones.EVALUATION_SEED)
    env.reset()
    shown, lengths = list(env.get_images()), [len(actions) for actions in told["actions"]]
    for step in range(1, min(max(lengths), FILMED) + 1):
        env.step(np.array([actions[min(step, len(actions)) - 1] for actions in told["actions"]]))
        if step % EVERY == 0:
            shown = [new if step < n else old for new, old, n in zip(env.get_images(), shown, lengths, strict=True)]
            small = np.stack([picture[::2, ::2] for picture in shown])
            yield np.concatenate([np.concatenate(list(row), axis=1) for row in (small[:2], small[2:])])
