"""Learners of Stable-Baselines3 that learn from normalised observations and rewards."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lifelong_gym.envs.spaces import EntityBox
from lifelong_gym.errors import CheckpointError

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv, VecNormalize

PACKAGES = ("stable_baselines3", "sb3_contrib")
STATISTICS = "vec_normalize.npz"  # in a model's file, where SB3's `load` passes it over
MOMENTS = ("mean", "var", "count")
NUMBERS = ("clip_obs", "clip_reward", "gamma", "epsilon")


def check_class(name: str, kind: type[Any]) -> None:
    """Raise `ValueError` unless a class is, or is derived from, an algorithm of SB3 or sb3-contrib."""
    from stable_baselines3.common.base_class import BaseAlgorithm

    theirs = [c for c in kind.__mro__ if c.__module__.partition(".")[0] in PACKAGES and c is not BaseAlgorithm]
    if not (issubclass(kind, BaseAlgorithm) and theirs):
        raise ValueError(
            "`norm` must be false, or the learner one of Stable-Baselines3's or sb3-contrib's algorithms or a subclass "
            f"of them: only these are known to learn from a VecNormalize. Received {name!r}"
        )


def normalising(env: VecEnv, gamma: float | None) -> VecNormalize:
    """A training env in SB3's VecNormalize.

    Args:
        env: with observations that are vectors.
        gamma: the learner's discount factor, by which returns are discounted that rewards are scaled by; None: it has
            none, and SB3's default holds.

    Raises:
        ValueError: other observations, or some that say by 0 and 1 who is there.
    """
    from gymnasium import spaces
    from stable_baselines3.common.vec_env import VecNormalize

    space = env.observation_space
    if not isinstance(space, spaces.Box) or len(space.shape) != 1 or isinstance(space, EntityBox):
        raise ValueError(
            "`norm` must be false where observations are no plain vectors: pixels and names can't be normalised, and "
            f"of normalised entities nobody can tell who is there. Received observations {space}"
        )
    return VecNormalize(env) if gamma is None else VecNormalize(env, gamma=gamma)


class Normalised:
    """An algorithm, and the statistics of the VecNormalize that it learns in.

    It is used as the algorithm itself is, but for observations that it predicts from: these come as they are, and are
    normalised by the statistics, which nothing but training changes.

    Attributes:
        algorithm: the learner.
        statistics: the VecNormalize; of a loaded model one without an env.
    """

    def __init__(self, algorithm: BaseAlgorithm, statistics: VecNormalize) -> None:
        """Put both together."""
        self.algorithm, self.statistics = algorithm, statistics

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("algorithm", "for_task"):  # a task's policy would see raw observations
            raise AttributeError(f"a normalised learner has no attribute {name!r}")
        return getattr(self.algorithm, name)

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
        """As the algorithm's, for observations that aren't normalised."""
        return self.algorithm.predict(self.statistics.normalize_obs(observation), *args, **kwargs)

    def save(self, path: Path) -> None:
        """The algorithm's own file, with the statistics in it as arrays."""
        self.algorithm.save(path)
        content = io.BytesIO()
        moments = {"obs": self.statistics.obs_rms, "ret": self.statistics.ret_rms}
        arrays = {f"{of}_{part}": np.asarray(getattr(rms, part)) for of, rms in moments.items() for part in MOMENTS}
        arrays |= {name: np.asarray(getattr(self.statistics, name)) for name in NUMBERS}
        np.savez(content, allow_pickle=False, **arrays)
        with zipfile.ZipFile(path if path.suffix else path.with_suffix(".zip"), "a") as file:
            file.writestr(STATISTICS, content.getvalue())

    @classmethod
    def load(cls, kind: type[BaseAlgorithm], path: Path) -> Self:
        """What `save` wrote, to predict.

        Raises:
            CheckpointError: a model without statistics, or with others.
        """
        from stable_baselines3.common.running_mean_std import RunningMeanStd
        from stable_baselines3.common.vec_env import VecNormalize

        try:
            with zipfile.ZipFile(path) as file, np.load(io.BytesIO(file.read(STATISTICS)), allow_pickle=False) as found:
                arrays = {name: found[name] for name in found.files}
            state: dict[str, Any] = {name: float(arrays[name]) for name in NUMBERS}
            for of in ("obs", "ret"):
                state[f"{of}_rms"] = rms = RunningMeanStd()
                rms.mean, rms.var, rms.count = (arrays[f"{of}_{part}"] for part in MOMENTS)
        except (KeyError, ValueError, zipfile.BadZipFile) as error:
            raise CheckpointError(f"{path} holds no statistics of observations and rewards: {error}") from error
        algorithm = kind.load(path)
        statistics = VecNormalize.__new__(VecNormalize)  # as SB3 itself makes one that has no env yet
        space = {"observation_space": algorithm.observation_space, "norm_obs_keys": None}
        statistics.__setstate__({**state, **space, "norm_obs": True, "norm_reward": True, "training": False})
        return cls(algorithm, statistics)
