"""Random streams of one's own, where libraries draw from global generators."""

from __future__ import annotations

import random
from typing import Any, Self

import numpy as np
import torch as th


class RandomStreams:
    """Python's, NumPy's and torch's global generators as one agent has them.

    Inside ``with streams:`` the global generators go on where this agent left them, and afterwards where everybody else
    did: so what an agent draws depends on nothing but itself.

    Args:
        device: whose generator torch draws from, besides the processor's.
    """

    def __init__(self, device: th.device) -> None:
        """With streams of no meaning: an agent that seeds itself inside them gives them one."""
        self._generators: dict[str, Any] = {
            "python": random.Random(),
            "numpy": np.random.RandomState(),
            "torch": th.Generator(),
        }
        if device.type == "cuda":
            self._generators["cuda"] = th.Generator(device)
        self._outside: dict[str, Any] | None = None

    def parts(self) -> dict[str, Any]:
        """The generators, by name."""
        return self._generators

    def __enter__(self) -> Self:
        """Put the agent's streams in the place of the global ones.

        Raises:
            RuntimeError: they are there already.
        """
        if self._outside is not None:
            raise RuntimeError("an agent's random streams are in use already")
        self._outside = self._global()
        own = self._generators
        self._set_global({name: _state(generator) for name, generator in own.items()})
        return self

    def __exit__(self, *_: object) -> None:
        """Keep the agent's, and give everybody else theirs back."""
        for name, state in self._global().items():
            _set_state(self._generators[name], state)
        assert self._outside is not None
        self._set_global(self._outside)
        self._outside = None

    def _global(self) -> dict[str, Any]:
        states = {
            "python": random.getstate(),
            "numpy": np.random.get_state(legacy=False),
            "torch": th.random.get_rng_state(),
        }
        if "cuda" in self._generators:
            states["cuda"] = th.cuda.get_rng_state(self._generators["cuda"].device)
        return states

    def _set_global(self, states: dict[str, Any]) -> None:
        random.setstate(states["python"])
        np.random.set_state(states["numpy"])
        th.random.set_rng_state(states["torch"])
        if "cuda" in states:
            th.cuda.set_rng_state(states["cuda"], self._generators["cuda"].device)


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)
