"""The page's tables of figures, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lifelong_gym.papers.bouammar2015 import game, methods, plan
from lifelong_gym.papers.bouammar2015.readings import exponent, fallen, until, until_studies
from lifelong_gym.papers.compare import mean_of, shown
from lifelong_gym.papers.findings import markdown
from lifelong_gym.papers.paper import Summary


def costs(summary: Summary, kind: str, labels: Sequence[str], key: str) -> str:
    """Mean cost a step: a row a method, a column a system; before learning and of the regulators too."""
    of = {system: summary["learning"][f"{kind}-{system}"] for system in plan.SYSTEMS}
    rows = [
        [name, *(f"{mean_of(study[labels[0]][first]).estimate:.3g}" for study in of.values())]
        for name, first in (("before learning", "start"), ("each task's own regulator", "optimal"))
    ]
    rows += [[label, *(shown(mean_of(study[label][key])) for study in of.values())] for label in labels]
    return markdown(["", *plan.SYSTEMS], rows)


def falls(summary: Summary) -> str:
    """Seeds in which some task's policy lost control for a while, without sets."""
    rows = [[label, *(fallen(summary, f"free-{system}", label) for system in plan.SYSTEMS)] for label in methods.FREE]
    return markdown(["", *plan.SYSTEMS], rows)


def violations(summary: Summary) -> str:
    """Executed policies outside their sets, and unstable tasks at the end, where sets leave the optimum out."""
    rows = []
    for label in methods.BOUND:
        row = [label]
        for system in plan.SYSTEMS:
            of = summary["learning"][f"bound-{system}"][label]
            row += [f"{of['executed_outside']} of {of['checked']}", str(sum(of["unstable"]))]
        rows.append(row)
    head = [cell for system in plan.SYSTEMS for cell in (f"{system}: outside", f"{system}: unstable")]
    return markdown(["", *head], rows)


def observations(summary: Summary) -> str:
    """Median observations of a task until its policy was safe first."""
    rows = []
    for system in plan.SYSTEMS:
        for name in until_studies(system):
            counts = (until(summary, name, label) for label in methods.UNTIL)
            rows.append([name.removeprefix("until-"), *(shown(count) for count in counts)])
    return markdown(["", *methods.UNTIL], rows)


def regret(summary: Summary) -> str:
    """Exponents of its growth: fitted to all horizons, and against the tasks' own optima."""
    rows = []
    for basis in game.BASES:
        for order in game.ORDERS:
            row = [f"{game.NAMES[basis]}, {order}"]
            for variant in game.VARIANTS:
                found = [exponent(summary, variant, order, basis, upper) for upper in (False, True)]
                cells = ["not above 0" if each is None else shown(each) for each in found]
                row.append(cells[0] if cells[0] == cells[1] else " / ".join(cells))
            rows.append(row)
    return markdown(["", *game.VARIANTS], rows)


def seconds(summary: Summary) -> str:
    """Milliseconds of processor time a round."""
    rows = []
    for label in dict.fromkeys([*methods.FREE, *methods.BOUND]):
        row = [label]
        for kind in ("free", "bound"):
            for system in plan.SYSTEMS:
                of = summary["learning"][f"{kind}-{system}"].get(label)
                row.append("-" if of is None else f"{1000 * np.mean(of['seconds']):.3g}")
        rows.append(row)
    return markdown(["ms", *plan.SYSTEMS, *(f"{system}, with sets" for system in plan.SYSTEMS)], rows)


def spectral(summary: Summary) -> str:
    """Mean final cost by p and q."""
    rows = []
    for kind in ("free", "bound"):
        for key in ("SM", "CP"):
            of = summary["learning"][f"spectral-{kind}-{key}"]
            for label in plan.SPECTRAL:
                name = f"{key} {'with' if kind == 'bound' else 'without'} sets, {label}"
                means = (np.mean(of[plan.spectral_name(label, bounds)]["final"]) for bounds in plan.BOUNDS)
                rows.append([name, *(f"{mean:.4g}" for mean in means)])
    return markdown(["", *(f"{p:g}, {q:g}" for p, q in plan.BOUNDS)], rows)
