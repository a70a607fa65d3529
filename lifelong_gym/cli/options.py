"""Options of the command, and what is made of their texts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

EnvArgument = Annotated[
    str, typer.Argument(help="Id of an environment (`lifelong list` shows them), `module:Id` or `module:Class`.")
]
EnvArguments = Annotated[
    list[str] | None,
    typer.Option("--env-argument", "-e", help="Argument of the family itself, `name=value` (value as JSON)."),
]
ExperimentFile = Annotated[
    Path | None, typer.Argument(help="A TOML file that describes the experiment, instead of the options.")
]
Agents = Annotated[
    str,
    typer.Option(
        help="Learners: ours, SB3's, `random`, `zero`, `reference`, `module:Class`, separated by commas. "
        "`PPO+append` sees the task's parameters, `PPO+standardised` on the scale of what the preset draws, "
        "`PPO+one_hot` its number; `PPO+norm` normalises what it sees and earns; `PPO+scratch` is one PPO per task."
    ),
]
Envs = Annotated[
    str,
    typer.Option(
        help="Ids of environments, `module:Id` or `module:Class`, separated by commas; `LABEL=ID` gives another name."
    ),
]
ProtocolName = Annotated[
    str, typer.Option(help="`multi_task`, `lifelong`, `transfer`, `distributed`, `generalise` or `rounds`.")
]
Seeds = Annotated[
    str | None, typer.Option(help="How many runs of each learner on each family, or which seeds: `5:10`, `3,5`.")
]
Reward = Annotated[str | None, typer.Option(help="Name of the family's reward; default: the preset's.")]
Physics = Annotated[str | None, typer.Option(help="`kernel`, or an engine, `mujoco` or `pybullet`.")]
Horizon = Annotated[int | None, typer.Option(min=1, help="Steps of an episode; default: the family's.")]
Constraints = Annotated[
    list[str] | None,
    typer.Option("--constraint", help="Limit on a channel, such as `angle=0.2`: violations are counted."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        help="Under `generalise`, by what a further set of tasks differs, `NAME:key=value`: `wide:preset=wide`, "
        "`other:physics=mujoco`, `big:arguments.size=7`. The same name again adds to it."
    ),
]
NAgents = Annotated[int | None, typer.Option(min=1, help="Of `rounds`; default: as many as tasks.")]
Rounds = Annotated[
    str | None, typer.Option(help="Of `rounds`, how agents meet tasks: `uniform` or `permutation`; default: `uniform`.")
]
TunedFile = Annotated[
    Path | None, typer.Option(help="What `lifelong tune` found: for learners without arguments of their own.")
]
Only = Annotated[
    str | None, typer.Option(help="Of the experiment, only these learners or families, separated by commas.")
]


def arguments_of(texts: list[str] | None) -> dict[str, Any]:
    """Values by name, from ``name=value``."""
    return once("an argument", (_argument(text) for text in texts or []))


def once(what: str, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A dict of these; raises `ValueError` on a name that is given twice, as one of them would be lost."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{what} must be given once. Received {name!r} twice")
        found[name] = value
    return found


def _argument(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ValueError(f"an argument must be `name=value`. Received {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def sets_of(texts: list[str] | None) -> dict[str, dict[str, Any]]:
    """Further sets of tasks, by name, from ``NAME:key=value``."""
    sets: dict[str, dict[str, Any]] = {}
    for text in texts or []:
        name, colon, setting = text.partition(":")
        if not colon or not name:
            raise ValueError(f"a set of tasks must be `NAME:key=value`. Received {text!r}")
        key, value = _argument(setting)
        table = sets.setdefault(name, {})
        *tables, last = key.split(".", 1)
        for within in tables:
            table = table.setdefault(within, {})
        table |= once(f"a setting of {name!r}", [*table.items(), (last, value)])
    return sets


def families_of(text: str, family: dict[str, Any]) -> dict[str, Any]:
    """Tables by family's name, from ``ID`` or ``LABEL=ID``, separated by commas."""
    names = [one.partition("=") for one in text.split(",")]
    return once("a family", ((name, {"id": id, **family} if equals else family) for name, equals, id in names))
