"""Finding learners by name, and making them: ours, Stable-Baselines3's, and anybody's."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from lifelong_gym.benchmark.normalised import Normalised, check_class, normalising
from lifelong_gym.envs.family import KnownFamily
from lifelong_gym.envs.task_features import TASK_OBSERVATIONS, kind_and_preset
from lifelong_gym.errors import LifelongGymError, MissingExtraError, unknown
from lifelong_gym.imports import load

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from lifelong_gym.wrappers import CoreVecEnv, HiddenTasks

GROUP, POLICY_GROUP = "lifelong_gym.agents", "lifelong_gym.policies"
BASELINES = {
    "random": "lifelong_gym.benchmark.baselines:Random",
    "zero": "lifelong_gym.benchmark.baselines:Zero",
    "reference": "lifelong_gym.benchmark.baselines:BestKnown",
    **{name: f"lifelong_gym.agents.allocation.constant:{name}" for name in ("CRP", "BAH", "BCRP")},
    **{name: f"lifelong_gym.agents.allocation.online:{name}" for name in ("EG", "ONS", "OLMAR", "PAMR")},
    **{name: f"lifelong_gym.agents.allocation.fitted:{name}" for name in ("MinimumVariance", "RiskParity")},
    "AccuracySoftmax": "lifelong_gym.agents.allocation.accuracy:AccuracySoftmax",
}
SB3 = ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")
CONTRIB = ("ARS", "CrossQ", "QRDQN", "RecurrentPPO", "TQC", "TRPO")
ALONE, NORM = "scratch", "norm"
TUNED = "tuned"
SUFFIXES = (*TASK_OBSERVATIONS, ALONE, NORM)
STEPS_AN_UPDATE = 2048  # of PPO and its relatives, as SB3's defaults have it for one environment
MINIBATCH = 64  # their default
GIVEN = ("env", "seed")  # arguments that every learner gets from us


class LearnerError(LifelongGymError, ValueError):
    """A learner that can't be made for an environment, or that lacks a method."""


def registered() -> dict[str, str]:
    """Name and ``module:Class`` of every registered learner, ours and others'."""
    return {point.name: point.value for point in sorted(entry_points(group=GROUP))}


def policies() -> dict[str, str]:
    """Name and ``module:Class`` of every registered policy for learners of Stable-Baselines3, ours and others'."""
    return {point.name: point.value for point in sorted(entry_points(group=POLICY_GROUP))}


def policy_class(kind: type[Any], name: str) -> Any:
    """What a learner of Stable-Baselines3 takes as policy: its own name for one, or a class.

    Args:
        kind: the learner's class.
        name: one of its own names, a registered one, or ``module:Class``.

    Raises:
        UnknownNameError: no such name; the nearest is suggested.
        ValueError: the module has no such class, or it is none for this learner.
    """
    own = policies()
    if name in kind.policy_aliases:
        return name
    if name not in own and ":" not in name:
        raise unknown("policy", name, [*kind.policy_aliases, *own])
    found = load(own.get(name, name))
    fitting = tuple(kind.policy_aliases.values())
    if not inspect.isclass(found) or (fitting and not issubclass(found, fitting)):
        wanted = ", ".join(sorted({base.__name__ for base in fitting}))
        raise ValueError(f"`policy` of {kind.__name__} must be a subclass of {wanted}. Received {name!r}")
    return found


def known() -> dict[str, str]:
    """Name and ``module:Class`` of everything that has a name: learners of SB3 and sb3-contrib and baselines too."""
    contrib = {name: f"sb3_contrib:{name}" for name in CONTRIB}
    return {**{name: f"stable_baselines3:{name}" for name in SB3}, **contrib, **BASELINES, **registered()}


def learner_class(name: str) -> type[Any]:
    """The class behind a registered name, a name of SB3 or sb3-contrib, a baseline, or ``module:Class``.

    Raises:
        UnknownNameError: no such name; the nearest is suggested.
        MissingExtraError: sb3-contrib isn't installed.
        ValueError: the module has no such class.
    """
    if name not in known() and ":" not in name:
        raise unknown("agent", name, known())
    try:
        kind = load(known().get(name, name))
    except ModuleNotFoundError as error:
        if name in CONTRIB and error.name == "sb3_contrib":
            raise MissingExtraError("sb3-contrib", "contrib") from None
        module = name.partition(":")[0]
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise ValueError(f"there is no module {error.name!r}, which {name!r} names") from None
        raise
    if not inspect.isclass(kind):
        raise ValueError(f"{name!r} must name a class. Received {kind!r}")
    return kind


def _check_native(name: str, value: Any) -> None:
    """Raise `ValueError` unless JSON can hold a value; the message says where in ``name`` it can't."""
    if isinstance(value, Mapping):
        for key, within in value.items():
            _check_native(f"{name}.{key}", within)
    elif isinstance(value, list | tuple):
        for i, within in enumerate(value):
            _check_native(f"{name}[{i}]", within)
    elif not (
        value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
    ):
        raise ValueError(
            f"`{name}` must be what JSON can hold: finite numbers, text, true or false, lists and tables of them. "
            f"Received {value!r}"
        )


def first_line(kind: type[Any]) -> str:
    """What a class says it is."""
    return (inspect.getdoc(kind) or "").partition("\n")[0]


@dataclass(frozen=True)
class LearnerSpec:
    """A learner as an experiment names it.

    Attributes:
        label: what tables and figures call it.
        kind: a name that `learner_class` knows, or ``module:Class``.
        arguments: of its constructor, JSON-native.
        task_observation: what it sees of the task, see `Settings`; ``"standardised"`` is by what the tasks that it
            learns are drawn from.
        alone: whether each task gets a fresh learner of its own, with the task's share of the budget.
        norm: whether it learns in SB3's VecNormalize, whose statistics are kept with the model and don't change in
            evaluations.
        command: that found its arguments; empty where nobody searched for them.
    """

    label: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    task_observation: str = "hide"
    alone: bool = False
    norm: bool = False
    command: str = ""

    @property
    def settings(self) -> str:
        """Where its arguments come from: ``"tuned"``, ``"given"`` or ``"default"``."""
        return TUNED if self.command else "given" if self.arguments else "default"

    @classmethod
    def of(cls, name: str, **given: Any) -> LearnerSpec:
        """From ``"PPO"``, ``"PPO+append"``, ``"PPO+scratch"``, ``"PPO+standardised+norm"``, and what a file says.

        A class may say itself what it wants to see, by an attribute ``task_observation``.

        Raises:
            ValueError: no such learner or suffix, suffixes that contradict each other, or ``norm`` of a learner that
                isn't SB3's.
        """
        label = name if "class" in given else _without_module(name)
        kind = given.pop("class", name)
        if not isinstance(kind, str):
            raise ValueError(f"`class` must be a name. Received {kind!r}")
        kind, *suffixes = kind.split("+")
        sees = _seen_by(suffixes)
        found = learner_class(kind)
        wish = sees or getattr(found, "task_observation", "hide")
        given = {"task_observation": wish, "alone": ALONE in suffixes, "norm": NORM in suffixes, **given}
        kind_and_preset(given["task_observation"])
        for flag in ("alone", "norm"):
            if not isinstance(given[flag], bool):
                raise ValueError(f"`{flag}` must be true or false. Received {given[flag]!r}")
        if not isinstance(given.get("arguments", {}), Mapping):
            raise ValueError(f"`arguments` must be a table. Received {given['arguments']!r}")
        _check_native("arguments", given.get("arguments", {}))
        if given["norm"]:
            check_class(kind, found)
        settings, command = given.pop("settings", None), given.get("command", "")
        if not isinstance(command, str) or settings not in (None, TUNED) or (settings == TUNED) != bool(command):
            raise ValueError(
                f'`settings` must be "{TUNED}", with the `command` that found them, or both be left out. '
                f"Received {settings!r} and {command!r}"
            )
        return cls(label, kind, **given)

    def to_dict(self) -> dict[str, Any]:
        """JSON-native."""
        return {
            "label": self.label,
            "class": self.kind,
            "arguments": dict(self.arguments),
            "task_observation": self.task_observation,
            "alone": self.alone,
            **({"norm": True} if self.norm else {}),
            **({"settings": TUNED, "command": self.command} if self.command else {}),
        }

    def make(self, env: CoreVecEnv | HiddenTasks, seed: int) -> Any:
        """The learner for an environment.

        Subclasses of SB3's BaseAlgorithm are made as ``kind(policy, env, seed=seed, **arguments)``, with their first
        policy by default; other classes as ``kind(env, seed=seed, **arguments)``.

        Raises:
            LearnerError: the class refuses the environment or its arguments, or it has no ``learn`` or ``predict``.
        """
        from stable_baselines3.common.base_class import BaseAlgorithm

        kind = learner_class(self.kind)
        missing = [name for name in ("learn", "predict") if not callable(getattr(kind, name, None))]
        if missing:
            raise LearnerError(f"learner {self.label!r} ({self.kind}) must have a method `{missing[0]}`")
        self._check_names(kind)
        try:
            if self.norm:
                seen = normalising(env, self._gamma(kind))
                return Normalised(kind(**self._sb3_arguments(kind, env), env=seen, seed=seed), seen)
            if issubclass(kind, BaseAlgorithm):
                return kind(**self._sb3_arguments(kind, env), env=env, seed=seed)
            return kind(env, seed=seed, **self.arguments)
        except (AssertionError, TypeError, ValueError) as error:
            where = "agents in rounds" if isinstance(env.family, KnownFamily) else type(env.family).__name__
            raise LearnerError(f"learner {self.label!r} can't be made for {where}: {error}") from error

    def _gamma(self, kind: type[Any]) -> float | None:
        """The discount factor that it learns with; None where it has none."""
        parameter = inspect.signature(kind).parameters.get("gamma")
        default = None if parameter is None or parameter.default is parameter.empty else parameter.default
        return self.arguments.get("gamma", default)

    def _check_names(self, kind: type[Any]) -> None:
        parameters = inspect.signature(kind).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return  # the class itself will say
        settable = [name for name in parameters if name not in GIVEN and not name.startswith("_")]
        for name in self.arguments:
            if name not in settable:
                raise LearnerError(f"learner {self.label!r}: {unknown('argument', name, settable)}")

    def _sb3_arguments(self, kind: type[Any], env: VecEnv) -> dict[str, Any]:
        """The arguments, with what they leave to us: the first policy, the CPU, and rollouts of SB3's usual size."""
        from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

        arguments = {"policy": next(iter(kind.policy_aliases)), "device": "cpu", **self.arguments}
        if isinstance(arguments["policy"], str):
            arguments["policy"] = policy_class(kind, arguments["policy"])
        n_steps = inspect.signature(kind).parameters.get("n_steps")
        is_long = n_steps is not None and n_steps.default * env.num_envs > STEPS_AN_UPDATE
        if issubclass(kind, OnPolicyAlgorithm) and is_long:
            arguments.setdefault("n_steps", _steps_a_row(env.num_envs))
        return arguments


def _without_module(name: str) -> str:
    """What to call ``module:Class+suffix``."""
    kind, plus, suffixes = name.partition("+")
    return f"{kind.rpartition(':')[2]}{plus}{suffixes}"


def _seen_by(suffixes: Sequence[str]) -> str | None:
    """The one among suffixes that says what is seen of the task; raises `ValueError` unless all of them fit."""
    for suffix in suffixes:
        if suffix.partition(":")[0] not in SUFFIXES:
            raise unknown("suffix", suffix, SUFFIXES)
    sees = [suffix for suffix in suffixes if suffix not in (ALONE, NORM)]
    if len(sees) > 1 or len({*suffixes}) < len(suffixes):
        raise ValueError(
            f"a learner must have each suffix once, and one at most that says what it sees. Received {suffixes}"
        )
    return sees[0] if sees else None


def _steps_a_row(n_rows: int) -> int:
    """So that an update sees about SB3's usual number of steps, in whole minibatches."""
    whole = MINIBATCH // math.gcd(MINIBATCH, n_rows)
    return max(1, STEPS_AN_UPDATE // n_rows // whole) * whole
