"""Learners to and from model files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.vec_env import VecEnv

from lifelong_gym.agents.contract import checkpoint, state, trees
from lifelong_gym.agents.contract.arguments import argument_names
from lifelong_gym.agents.contract.kinds import State
from lifelong_gym.agents.contract.roster import Roster
from lifelong_gym.agents.contract.state import Stateful
from lifelong_gym.errors import CheckpointError


class Persistent(Stateful, Protocol):
    """What a model file needs of a learner, and what a learner made from one must let be set."""

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    learning_rate: float | Schedule
    seed: int | None
    noise_seed: int
    policy_name: str
    device: th.device
    _roster: Roster

    def __init__(
        self,
        policy: str,
        env: VecEnv | None,
        *,
        device: th.device | str,
        _init_setup_model: bool,
        **arguments: Any,
    ) -> None:
        """Of the named policy, with the learner's own arguments."""

    def _policy_arguments(self) -> dict[str, Any]: ...

    def _counters(self) -> dict[str, int]: ...

    def _settle(self, given: Set[str]) -> None: ...

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None: ...

    def set_env(self, env: Any) -> None:
        """Go on in this environment."""

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed all that is random."""


Learner = TypeVar("Learner", bound=Persistent)

NOT_SAVED = ("policy", "env", "device", "tensorboard_log", "verbose", "_init_setup_model")


def describe(model: Persistent) -> checkpoint.Description:
    """What a model file says of this model. A learning rate that is a function becomes None."""
    arguments = {name: getattr(model, name) for name in argument_names(type(model)) if name not in NOT_SAVED}
    if callable(arguments["learning_rate"]):
        arguments["learning_rate"] = None
    spaces = {name: checkpoint.encode_space(getattr(model, name)) for name in checkpoint.SPACES}
    policy = {"name": model.policy_name, **spaces, **model._policy_arguments()}
    tasks = model._roster.to_dict()
    return checkpoint.Description(type(model).__name__, policy, arguments, tasks, model._counters())


def flattened(parameters: Mapping[str, Any]) -> checkpoint.Arrays:
    """Tensors by module and name, as arrays by dotted name.

    Raises:
        CheckpointError: anything else.
    """
    found = {}
    for module, values in parameters.items():
        if not isinstance(values, Mapping):
            raise CheckpointError(f"parameters must be tensors by module and name. Received {values!r} for {module!r}")
        for name, value in values.items():
            try:
                found[f"{module}.{name}"] = th.as_tensor(value).detach().cpu().numpy()
            except (TypeError, ValueError, RuntimeError) as error:
                raise CheckpointError(f"{name!r} of {module!r} must be a tensor. Received {value!r}") from error
    return found


def parameters_of(model: Persistent) -> dict[str, dict[str, Any]]:
    """What modules and optimisers hold, by name, as SB3's `get_parameters` tells it."""
    kept = {**state.modules(model), **state.optimisers(model)}
    return {name: part.state_dict() for name, part in kept.items()}


def set_parameters(model: Persistent, given: Mapping[str, Any] | checkpoint.Target, exact_match: bool) -> None:
    """See `MultiTaskAlgorithm.set_parameters`."""
    optimisers = state.optimisers(model)
    if isinstance(given, Mapping):
        states = {name: value for name, value in given.items() if name in optimisers}
        arrays = flattened({name: value for name, value in given.items() if name not in optimisers})
    else:
        description, arrays = checkpoint.read(given)
        checkpoint.check_class(description, type(model).__name__)
        told = _decoded(description, arrays)
        states = {name: value for name, value in told.items() if name in optimisers}
    _replace(model, arrays, optimisers, states, exact_match)


def _decoded(description: checkpoint.Description, arrays: checkpoint.Arrays) -> dict[str, State]:
    """The states of parts that are no modules; their arrays are taken out of ``arrays``."""
    try:
        return {name: trees.decode(tree, arrays) for name, tree in description.parts.items()}
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the model file's parts are damaged: {error}") from error


def _replace(
    model: Persistent,
    arrays: checkpoint.Arrays,
    parts: state.Parts,
    states: Mapping[str, State],
    exact_match: bool = True,
) -> None:
    """Write arrays into the tensors of a model's modules, and states into other parts; if they don't fit, none."""
    own = state.tensors(model)
    expected = {name: tensor for name, tensor in own.items() if exact_match or name in arrays}
    checkpoint.check_arrays(arrays, {name: tensor.cpu().numpy() for name, tensor in expected.items()})
    for name in sorted(parts.keys() ^ states.keys()) if exact_match else ():
        raise CheckpointError(f"part {name!r} is {'missing' if name in parts else 'not known here'}")
    state.check(parts, states)
    before = state.copied(model)
    for name, array in arrays.items():
        own[name].copy_(th.from_numpy(array))
    try:
        model._settle(arrays.keys())
        state.take_up(parts, states)
    except BaseException:
        state.put_back(model, before)
        raise


def content(model: Persistent) -> bytes:
    """The model's file, tried: a model like this one has been made from it.

    Raises:
        CheckpointError: none can be made.
    """
    arrays = flattened({name: module.state_dict() for name, module in state.modules(model).items()})
    told = state.told(state.others(model))
    parts = {name: trees.encode(value, name, arrays) for name, value in told.items()}
    content = checkpoint.encoded(replace(describe(model), parts=parts), arrays)
    global_state = np.random.get_state()
    try:
        with th.random.fork_rng(devices=[]):
            changes = {"learning_rate": model.learning_rate} if callable(model.learning_rate) else {}
            description, arrays = checkpoint.read(io.BytesIO(content))
            _restore(_made(type(model), description, None, model.device, changes), description, arrays)
    except CheckpointError as error:
        raise CheckpointError(f"nothing was saved, as `load` would refuse it: {error}") from error
    finally:
        np.random.set_state(global_state)
    return content


def load(
    kind: type[Learner],
    source: checkpoint.Target,
    env: VecEnv | None,
    device: Any,
    changes: Mapping[str, Any],
    print_versions: bool,
) -> Learner:
    """A model from a file; see `MultiTaskAlgorithm.load`."""
    description, arrays = checkpoint.read(source)
    if print_versions:
        print("\n".join(f"{name} {version}" for name, version in description.versions.items()))
    model = _made(kind, description, env, device, changes)
    model.set_random_seed(model.seed)  # before generators among the parts go on where they were
    _restore(model, description, arrays)
    if "seed" in changes:
        model.set_random_seed(model.seed)
    return model


def _made(
    kind: type[Learner],
    description: checkpoint.Description,
    env: VecEnv | None,
    device: Any,
    changes: Mapping[str, Any],
) -> Learner:
    checkpoint.check_class(description, kind.__name__)
    arguments = {**description.arguments, **changes}
    if arguments.get("learning_rate") is None:
        raise CheckpointError("the learning rate was a function, which no file holds: pass `learning_rate` to `load`")
    policy = dict(description.policy)
    try:
        spaces = {name: checkpoint.decode_space(policy.pop(name)) for name in checkpoint.SPACES}
        model = kind(policy.pop("name"), env, device=device, _init_setup_model=False, **arguments)
        for name, value in spaces.items():
            setattr(model, name, value)
        _restore_counters(model, description.counters)
        if "seed" in changes and model.seed is not None:
            model.noise_seed = model.seed
        model._roster = Roster(description.counters["n_tasks"], saved=description.tasks)
        if env is not None:
            model.set_env(env)
        model._setup_model(policy)
    except (KeyError, TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise CheckpointError(f"the model file doesn't fit: {error}") from error
    return model


def _restore(model: Persistent, description: checkpoint.Description, arrays: checkpoint.Arrays) -> None:
    """Let a model that has just been made know what the file's had learned."""
    states = _decoded(description, arrays)
    _replace(model, arrays, state.others(model), states)


def _restore_counters(model: Persistent, counters: Mapping[str, int]) -> None:
    known = model._counters().keys()
    for name in sorted(known ^ counters.keys()):
        raise CheckpointError(f"counter {name!r} is {'missing' if name in known else 'not known here'}")
    for name in known - {"n_tasks"}:
        setattr(model, name, counters[name])
