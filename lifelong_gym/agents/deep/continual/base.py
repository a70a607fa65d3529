"""What ways not to forget have in common: they hang on an algorithm's optimiser, and hear of tasks."""

from __future__ import annotations

import copy
from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch as th
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed

from lifelong_gym.agents.contract.kinds import State
from lifelong_gym.agents.deep.streams import RandomStreams
from lifelong_gym.errors import CheckpointError

Tensors = dict[str, th.Tensor]


class Remembered:
    """What a remedy remembers: nested dicts and lists of tensors, arrays and numbers.

    Attributes:
        values: as they are now.
    """

    def __init__(self, like: Mapping[str, th.nn.Parameter], groups: tuple[str, ...]) -> None:
        """Nothing yet; those named in ``groups`` will be tensors like the parameters."""
        self.values: dict[str, Any] = {}
        self._like, self._groups = like, groups

    def state_dict(self) -> State:
        """A copy."""
        return copy.deepcopy(self.values)

    def load_state_dict(self, state: State) -> None:
        """Go on from a `state_dict`.

        Raises:
            CheckpointError: it is of another network; nothing has changed then.
        """
        if not isinstance(state, dict):
            raise CheckpointError(f"it must be a mapping by name. Received {state!r}")
        shapes = {name: tuple(parameter.shape) for name, parameter in self._like.items()}
        for group in self._groups:
            found = state.get(group)
            if found is not None and {name: tuple(value.shape) for name, value in found.items()} != shapes:
                raise CheckpointError(f"{group!r} must be of parameters of shapes {shapes}")
        self.values = copy.deepcopy(state)


class Continual(BaseCallback, ABC):
    """A way not to forget, as a callback: ``DQN(...).learn(steps, callback=EWC())``.

    Where tasks begin and end, it must be told: benchmarks call `on_task_start` and `on_task_end` of every callback, and
    else one calls them oneself. What it adds to gradients is added after these were clipped, and isn't clipped itself.
    What it draws is drawn from streams of its own, so that where it changes nothing, an algorithm learns what it
    learns without, to the bit. It keeps what it knows in `parts`, in the forms that model files hold.

    Attributes:
        algorithms: those that it can serve.
        keeps_policies: whether it has a policy for each task, see `policy_of`.
        groups: what it keeps that is a tensor a parameter, by name.
        parameters: of the algorithm's optimiser, by name.
        kept: what it remembers.
        streams: what it draws from.
    """

    algorithms: ClassVar[tuple[type[BaseAlgorithm], ...]] = (DQN, PPO)
    keeps_policies: ClassVar[bool] = False
    groups: ClassVar[tuple[str, ...]] = ()
    parameters: dict[str, th.nn.Parameter]
    kept: Remembered
    streams: RandomStreams
    _served: BaseAlgorithm | None = None

    def attach(self, model: BaseAlgorithm) -> Self:
        """Serve this algorithm from now on, as the callback of a ``learn`` does by itself.

        Raises:
            TypeError: it can't serve algorithms of this kind.
            ValueError: it serves another one already.
        """
        if self._served is not None:
            if self._served is not model:
                raise ValueError(f"{type(self).__name__} serves an algorithm already: make another one for this")
            return self
        if not isinstance(model, self.algorithms):
            known = ", ".join(kind.__name__ for kind in self.algorithms)
            raise TypeError(f"{type(self).__name__} serves {known}. Received {type(model).__name__}")
        self.model = self._served = model
        served = {id(p) for group in self.optimiser.param_groups for p in group["params"]}
        self.parameters = {name: p for name, p in self.policy.named_parameters() if id(p) in served}
        self.kept, self.streams = Remembered(self.parameters, self.groups), RandomStreams(model.device)
        with self.streams:
            set_random_seed(int(np.random.SeedSequence([model.seed or 0, 1]).generate_state(1)[0]))
        self.optimiser.register_step_pre_hook(lambda *_: self.before_step())
        self.optimiser.register_step_post_hook(lambda *_: self.after_step())
        self.attached()
        return self

    @property
    def policy(self) -> Any:
        """The algorithm's."""
        return self.model.policy

    @property
    def optimiser(self) -> Any:
        """The algorithm's."""
        return self.policy.optimizer

    def parts(self) -> Mapping[str, Any]:
        """All that going on depends on."""
        return {"kept": self.kept, "streams": self.streams}

    def copies(self) -> Tensors:
        """The parameters as they are now."""
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def follow(self) -> None:
        """Let a target network be what the network is."""
        if isinstance(self.model, DQN):
            self.model.q_net_target.load_state_dict(self.model.q_net.state_dict())

    # What a way adds.

    def attached(self) -> None:
        """It serves an algorithm now."""

    def before_step(self) -> None:
        """Gradients are there, and the optimiser is about to step."""

    def after_step(self) -> None:
        """The optimiser has stepped."""

    def on_task_start(self, info: Mapping[str, Any]) -> None:
        """A task begins: ``{"task": i}``, or without a number, where it isn't known."""

    def on_task_end(self, info: Mapping[str, Any]) -> None:
        """It ends."""

    def policy_of(self, label: int) -> dict[str, th.Tensor] | None:
        """The ``state_dict`` of the policy that it keeps for a task that has ended; None: there is none."""
        del label
        return None

    # A callback's.

    def _init_callback(self) -> None:
        self.attach(self.model)

    def _on_step(self) -> bool:
        return True


def label_of(way: Continual, info: Mapping[str, Any]) -> int:
    """The number of a task.

    Raises:
        ValueError: it isn't told.
    """
    if "task" not in info:
        raise ValueError(f"{type(way).__name__} must be told which task begins and ends. Received {dict(info)}")
    return int(info["task"])


def add_to_gradients(way: Continual, of: Mapping[str, th.Tensor]) -> None:
    """Add to the gradients of parameters that have any."""
    for name, parameter in way.parameters.items():
        if parameter.grad is not None:
            parameter.grad.add_(of[name])
