"""What the command ``lifelong`` prints: environments, agents, and who ended where."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from lifelong_gym import registry
from lifelong_gym.benchmark.learners import BASELINES, CONTRIB, SB3, first_line, learner_class, policies, registered
from lifelong_gym.envs.family import Family
from lifelong_gym.imports import load
from lifelong_gym.tasks.distributions import Choice, RandomSign, SameAs
from lifelong_gym.tasks.parameters import Parameter

N_EPISODES, EVALUATION_SEED = 8, 1_000_000  # of reference returns
POINTER = re.compile(r"## Parameters\n``lifelong list [^`]*`` prints the table\.\n\n")  # which is what we do
N_SHOWN = 3  # columns of a table that fit into a terminal
LONGEST = 60  # characters of an argument


def environments_table() -> Table:
    """Ids, with what they are and their presets."""
    table = Table(title="Environments", show_lines=True)
    table.add_column("id", no_wrap=True)
    table.add_column("what it is, and its presets")
    for id in registry.FAMILIES:
        table.add_row(Text(id), Text(_or_why_not(_summary, id)))
    return table


def _or_why_not(describe: Callable[[str], str], name: str) -> str:
    """A description, or why somebody's package can't be loaded: all others are listed nevertheless."""
    try:
        return describe(name)
    except Exception as error:
        return f"can't be loaded: {type(error).__name__}: {error}"


def _summary(id: str) -> str:
    family = registry.family(id)
    spaces = " -> ".join(_space(kind.space) for kind in (family.observations, family.actions))
    return f"{first_line(type(family))}\n{spaces}\n{', '.join(family.parameters.presets)}"


def _space(space: Any) -> str:
    return f"Box{space.shape}" if hasattr(space, "low") else str(space)


def agents_table() -> Table:
    """Names, with what they are."""
    table = Table(title="Agents")
    table.add_column("name")
    table.add_column("what it is")
    for name in [*registered(), *BASELINES]:
        table.add_row(Text(name), Text(_or_why_not(lambda name: first_line(learner_class(name)), name)))
    table.add_row(", ".join(SB3), "of Stable-Baselines3")
    table.add_row(", ".join(CONTRIB), "of sb3-contrib (extra `contrib`)")
    return table


def policies_table() -> Table:
    """Names, with what they are."""
    table = Table(title="Policies for learners of Stable-Baselines3 (`-a policy=NAME`)")
    table.add_column("name")
    table.add_column("what it is")
    for name, place in policies().items():
        table.add_row(Text(name), Text(_or_why_not(lambda place: first_line(load(place)), place)))
    return table


def describe_environment(
    console: Console, id: str, references: bool, arguments: Mapping[str, Any] | None = None
) -> None:
    """One family, made with these arguments: its text, parameters, presets, and if wanted its reference returns."""
    family = registry.family(id, **(arguments or {}))
    console.print(Markdown(f"# {id}\n\n{POINTER.sub('', inspect.getdoc(type(family)) or '')}"))
    if family.arguments:
        console.print(_arguments_table(family))
    parameters = Table(title="Parameters")
    for column in ("name", "unit", "nominal", "bounds", "meaning"):
        parameters.add_column(column)
    for p in family.parameters:
        valid = ", ".join(p.names) if p.names else f"{p.bounds[0]:g} to {p.bounds[1]:g}"
        cells = (p.name, p.unit, p.text(p.nominal), valid, p.meaning)
        parameters.add_row(*map(Text, cells))
    console.print(parameters)
    for rule in family.parameters.rules:
        console.print(Text(f"In every task: {rule.says}."))
    presets = Table(title="Presets")
    for column in ("name", "meaning", "draws"):
        presets.add_column(column)
    for name, preset in family.parameters.presets.items():
        draws = [f"{parameter} {_draws(family.parameters[parameter], d)}" for parameter, d in preset.draws.items()]
        presets.add_row(*map(Text, (name, preset.meaning, "; ".join([*draws, *map(str, preset.joint)]) or "nothing")))
    console.print(presets)
    if references:
        _print_references(console, id, family)


def _draws(parameter: Parameter, distribution: Any) -> str:
    if isinstance(distribution, SameAs):
        return f"= {distribution.parameter}"
    if isinstance(distribution, Choice):
        return f"from {', '.join(parameter.text(float(value)) for value in distribution.values)}"
    low, high = distribution.support
    if parameter.names:
        return f"from {', '.join(parameter.names[int(low) : int(high) + 1])}"
    if low == high:
        return f"{low:g}"
    return f"±{high:g}" if isinstance(distribution, RandomSign) else f"{low:.3g} to {high:.3g}"


def _arguments_table(family: Family) -> Table:
    table = Table(title="Arguments")
    for column in ("name", "type", "default", "here", "meaning"):
        table.add_column(column)
    for argument in family.arguments:
        here = family.argument_values[argument.name]
        cells = (argument.name, argument.type_names, _shortened(argument.default), _shortened(here), argument.meaning)
        table.add_row(*map(Text, cells))
    return table


def _shortened(value: Any) -> str:
    """Data may be thousands of numbers."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."


def _print_references(console: Console, id: str, family: Family) -> None:
    from lifelong_gym.benchmark.baselines import measured_references

    with console.status("measuring the references"):
        tasks, own = family.parameters.sample(10), family.given_arguments
        found = measured_references(id, tasks, N_EPISODES, EVALUATION_SEED, **own)
    if found is None:
        console.print("It names no reference: learners are compared by raw returns.")
        return
    table = Table(title=f"Reference returns of the ten default tasks (version {found['version']})")
    for heading in (f"best known: {found['how']}", "the scale's 0", "at random"):
        table.add_column(Text(heading))
    for row in zip(*(found[name] for name in ("best", "zero", "random")), strict=True):
        table.add_row(*[f"{value:.4g}" for value in row])
    console.print(table)


def final_tables(paths: list[Path]) -> Iterator[Table | Markdown]:
    """Of each family: who ended where, on the scale from doing nothing to the best policy known."""
    from lifelong_gym.benchmark.records import read_run, united
    from lifelong_gym.reports.metric_tables import tables
    from lifelong_gym.reports.study import studies
    from lifelong_gym.reports.tables import cell_text
    from lifelong_gym.reports.words import unmoved

    for study in studies(united(map(read_run, sorted(paths)))[0])[0]:
        metrics = tables(study)[0]
        shown = metrics.columns[:N_SHOWN]
        table = Table("", *[column.name for column in shown], title=Text(study.family))
        for learner, cells in metrics.rows.items():
            table.add_row(
                Text(learner), *[cell_text(cell, column.unit) for cell, column in zip(cells, shown, strict=False)]
            )
        yield table
        yield from (Markdown(sentence) for sentence in unmoved(study))
