"""What `lifelong tune` searches, by learner: as data, and how a trial draws from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lifelong_gym.benchmark.learners import learner_class
from lifelong_gym.errors import LifelongGymError
from lifelong_gym.imports import load

ATTRIBUTE = "search_space"


@dataclass(frozen=True)
class Between:
    """A number in ``[low, high]``: an integer where both are, and uniform in its logarithm where ``log`` says so."""

    low: float
    high: float
    log: bool = False

    def draw(self, trial: Any, name: str) -> Any:
        """What a trial of Optuna suggests."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class OneOf:
    """One of these numbers or names."""

    values: tuple[Any, ...]

    def draw(self, trial: Any, name: str) -> Any:
        """What a trial of Optuna suggests."""
        return trial.suggest_categorical(name, self.values)


Space = Mapping[str, Between | OneOf]

_DISCOUNTS = OneOf((0.9, 0.95, 0.98, 0.99, 0.995))
_SIGMA = Between(0.1, 1.5, log=True)
_ON_POLICY: Space = {
    "learning_rate": Between(3e-5, 3e-3, log=True),
    "n_steps": OneOf((32, 64, 128, 256)),  # of a row
    "gamma": _DISCOUNTS,
    "gae_lambda": OneOf((0.8, 0.9, 0.95, 0.98)),
    "ent_coef": Between(1e-6, 1e-2, log=True),
}
_OFF_POLICY: Space = {
    "learning_rate": Between(1e-4, 3e-3, log=True),
    "batch_size": OneOf((64, 128, 256, 512)),
    "gamma": _DISCOUNTS,
    "tau": Between(1e-3, 5e-2, log=True),
    "gradient_steps": OneOf((1, 2, 4, 8)),
}
_EPISODES: Space = {"n_trajectories": OneOf((5, 10, 20)), "sigma": _SIGMA}
_BASIS: Space = {
    **_EPISODES,
    "learning_rate": Between(0.02, 1.0, log=True),
    "n_basis": Between(1, 5),
    "sparsity": Between(1e-5, 1e-1, log=True),
    "ridge": Between(1e-6, 1e-2, log=True),
}
SPACES: dict[str, Space] = {
    "A2C": {**_ON_POLICY, "n_steps": OneOf((5, 10, 20, 50))},
    "PPO": {
        **_ON_POLICY,
        "batch_size": OneOf((64, 128, 256, 512)),
        "n_epochs": OneOf((5, 10, 20)),
        "clip_range": OneOf((0.1, 0.2, 0.3)),
    },
    "TRPO": {
        "learning_rate": Between(1e-4, 1e-2, log=True),
        "n_steps": OneOf((32, 64, 128, 256)),
        "gamma": _DISCOUNTS,
        "gae_lambda": OneOf((0.8, 0.9, 0.95, 0.98)),
        "target_kl": Between(1e-3, 5e-2, log=True),
    },
    "SAC": {**_OFF_POLICY, "ent_coef": OneOf(("auto", "auto_0.1", 0.01, 0.1))},
    "TQC": {**_OFF_POLICY, "ent_coef": OneOf(("auto", "auto_0.1", 0.01, 0.1))},
    "DDPG": _OFF_POLICY,
    "TD3": {**_OFF_POLICY, "policy_delay": OneOf((1, 2, 4))},
    "REINFORCE": {**_EPISODES, "learning_rate": Between(0.02, 1.0, log=True)},
    "ENAC": {
        "n_trajectories": OneOf((25, 50, 100)),
        "sigma": _SIGMA,
        "learning_rate": Between(0.5, 20.0, log=True),
        "max_kl": Between(3e-3, 0.3, log=True),
    },
    "RWR": {**_EPISODES, "beta": Between(0.5, 10.0, log=True), "max_kl": Between(3e-3, 0.3, log=True)},
    "PGELLA": _BASIS,
    "GOMTL": _BASIS,
    "ScalablePGELLA": {**_BASIS, "learning_rate": Between(0.1, 2.0, log=True)},
}


class SearchSpaceError(LifelongGymError, ValueError):
    """A learner for which nobody says what to search, or a space that is none."""


@dataclass(frozen=True)
class Search:
    """What a study draws from.

    Attributes:
        kind: name of the learner's class.
        given: ``module:NAME`` of a table or a function, instead of the class's own; None: its attribute
            ``search_space``, or what `SPACES` has of it.
    """

    kind: str
    given: str | None = None

    def _found(self) -> Any:
        if self.given is not None:
            return load(self.given)
        found = getattr(learner_class(self.kind), ATTRIBUTE, SPACES.get(self.kind))
        if found is None:
            raise SearchSpaceError(
                f"nothing says what to search for {self.kind!r}: give its class an attribute `{ATTRIBUTE}`, or pass "
                f"--space module:NAME; without one there are {', '.join(SPACES)}"
            )
        return found

    def describe(self) -> str:
        """All that it depends on, as text.

        Raises:
            SearchSpaceError: there is none, or it is neither a table of `Between` and `OneOf` nor a function.
        """
        found = self._found()
        if callable(found):
            return f"{found.__module__}:{found.__qualname__}"
        if not isinstance(found, Mapping) or not found or not all(_is_entry(e) for e in found.values()):
            raise SearchSpaceError(
                f"`{ATTRIBUTE}` must be a function of a trial, or a table of `Between` and `OneOf`. Received {found!r}"
            )
        return repr(dict(sorted(found.items())))

    def draw(self, trial: Any) -> dict[str, Any]:
        """Arguments of the learner's constructor that a trial of Optuna suggests."""
        found: Space | Callable[[Any], dict[str, Any]] = self._found()
        if callable(found):
            return dict(found(trial))
        return {name: entry.draw(trial, name) for name, entry in found.items()}


def _is_entry(entry: Any) -> bool:
    if isinstance(entry, OneOf):
        return isinstance(entry.values, Sequence) and len(entry.values) > 0
    return isinstance(entry, Between) and entry.low <= entry.high
