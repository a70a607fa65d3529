"""Policies in Stable-Baselines3's form that act in one task or in many."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule

from lifelong_gym.agents.contract import checkpoint
from lifelong_gym.agents.contract.checks import flag, number
from lifelong_gym.errors import CheckpointError
from lifelong_gym.numerics.arrays import FloatArray, IntArray


class LinearGaussianPolicy(BasePolicy):
    """``a ~ N(theta phi, sigma^2 I)`` with features ``phi = (y / c, 1)`` of the observation y, one theta a task.

    The environment receives ``a / action_bound``, clipped to [-1, 1] and stretched over its action space. All
    arithmetic is NumPy's, in float64, whatever the device.

    Args:
        observation_space: a one-dimensional Box.
        action_space: a bounded one-dimensional Box.
        lr_schedule: not used; part of Stable-Baselines3's signature.
        n_policies: number of thetas.
        feature_scale: c, one number an observation; default: all 1.
        action_bound: largest |a| that the actuators take, one number an action; default: all 1.
        sigma: standard deviation of the exploration, in units of a.
        bias: whether phi ends in the constant 1.

    Attributes:
        theta: float64 parameter of shape (n_policies, n_actions * n_features), row-major in (action, feature).

    Raises:
        ValueError: spaces that a linear policy can't serve, or scales that don't fit them.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule | None = None,
        *,
        n_policies: int = 1,
        feature_scale: Sequence[float] | None = None,
        action_bound: Sequence[float] | None = None,
        sigma: float = 0.3,
        bias: bool = True,
    ) -> None:
        """See the class."""
        del lr_schedule
        super().__init__(observation_space, action_space)
        n_observations = _width("observation", observation_space)
        self.n_actions = _width("action", action_space)
        self.feature_scale = _scale("feature_scale", feature_scale, n_observations)
        self.action_bound = _scale("action_bound", action_bound, self.n_actions)
        self.sigma = number("sigma", sigma)
        self.bias = flag("bias", bias)
        self.n_features = n_observations + bias
        theta = th.zeros((n_policies, self.n_actions * self.n_features), dtype=th.float64)
        self.theta = th.nn.Parameter(theta, requires_grad=False)

    @property
    def n_policies(self) -> int:
        """Number of thetas."""
        return len(self.theta)

    @property
    def thetas(self) -> FloatArray:
        """The parameters as a NumPy array, a copy of shape (n_policies, n_actions * n_features)."""
        return self.theta.cpu().numpy().copy()

    @thetas.setter
    def thetas(self, thetas: FloatArray) -> None:
        self.theta.copy_(th.from_numpy(np.ascontiguousarray(thetas)))

    def only(self, index: int) -> LinearGaussianPolicy:
        """A policy of its own for one task, with a copy of its theta."""
        return self.with_thetas(self.thetas[[index]])

    def with_thetas(self, thetas: FloatArray) -> LinearGaussianPolicy:
        """A policy of its own with these parameters, shape (n_policies, n_actions * n_features)."""
        policy = LinearGaussianPolicy(**{**self._get_constructor_parameters(), "n_policies": len(thetas)})
        policy.thetas = thetas
        return policy

    def features(self, observations: npt.NDArray[Any]) -> FloatArray:
        """Phi, shape (n_rows, n_features), of observations of shape (n_rows, n_observations)."""
        scaled = observations.astype(np.float64) / self.feature_scale
        return np.column_stack([scaled, np.ones(len(scaled))]) if self.bias else scaled

    def means(self, features: FloatArray, policies: IntArray) -> FloatArray:
        """Mean actions a, shape (n_rows, n_actions), of row i under theta ``policies[i]``."""
        gains = self.thetas[policies].reshape(-1, self.n_actions, self.n_features)
        means: FloatArray = (gains @ features[:, :, None])[:, :, 0]
        return means

    def for_environment(self, actions: FloatArray) -> npt.NDArray[Any]:
        """Actions a as the environment takes them: clipped, stretched over the action space, in its dtype."""
        assert isinstance(self.action_space, spaces.Box)
        low, high = self.action_space.low.astype(np.float64), self.action_space.high.astype(np.float64)
        unit = np.clip(actions / self.action_bound, -1.0, 1.0)
        stretched = 0.5 * (low + high) + 0.5 * (high - low) * unit
        return np.clip(stretched.astype(self.action_space.dtype), self.action_space.low, self.action_space.high)

    def policy_of_row(self, n_rows: int) -> IntArray:
        """Row i of a batch belongs to task ``i mod n_policies``; other batches are refused."""
        if n_rows % self.n_policies:
            raise ValueError(
                f"`observation` must have one row for each of the {self.n_policies} tasks (or a multiple of that). "
                f"Received {n_rows}. To act in task i alone, use `model.for_task(i)`"
            )
        return np.arange(n_rows) % self.n_policies

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        assert isinstance(observation, th.Tensor)
        rows = observation.cpu().numpy()
        actions = self.means(self.features(rows), self.policy_of_row(len(rows)))
        if not deterministic:
            actions = actions + self.sigma * th.randn(actions.shape, dtype=th.float64).numpy()
        return th.from_numpy(self.for_environment(actions))

    def save(self, path: checkpoint.Target) -> None:
        """Write a model file of this policy alone; ``.zip`` is added where there is no suffix.

        Raises:
            CheckpointError: it could not be loaded again; nothing has been written then.
        """
        checkpoint.check_target(path, "write")
        arguments = self._get_constructor_parameters()
        arguments |= {name: checkpoint.encode_space(arguments[name]) for name in checkpoint.SPACES}
        described = checkpoint.Description(type(self).__name__, policy=arguments)
        content = checkpoint.encoded(described, {"theta": self.thetas})
        type(self).load(io.BytesIO(content))
        checkpoint.write(path, content)

    @classmethod
    def load(cls, path: checkpoint.Target, device: th.device | str = "auto") -> Self:
        """Read what `save` wrote. Nothing in it is executed.

        Args:
            path: where, with or without ``.zip``.
            device: not used: the arithmetic is NumPy's.

        Raises:
            FileNotFoundError: no such file.
            CheckpointError: truncated, foreign, or no policy of this class.
        """
        del device
        description, arrays = checkpoint.read(path)
        checkpoint.check_class(description, cls.__name__)
        arguments = dict(description.policy)
        try:
            arguments |= {name: checkpoint.decode_space(arguments[name]) for name in checkpoint.SPACES}
            policy = cls(**arguments)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"the policy's file doesn't fit: {error}") from error
        checkpoint.check_arrays(arrays, {"theta": policy.thetas})
        policy.thetas = arrays["theta"]
        return policy

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "n_policies": self.n_policies,
            "feature_scale": self.feature_scale.tolist(),
            "action_bound": self.action_bound.tolist(),
            "sigma": self.sigma,
            "bias": self.bias,
        }


def _width(kind: str, space: spaces.Space[Any]) -> int:
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise ValueError(f"a linear policy needs {kind}s in a one-dimensional Box. Received {space}")
    if kind == "action" and not space.is_bounded():
        raise ValueError(f"a linear policy needs a bounded action space. Received {space}")
    return int(space.shape[0])


def _scale(name: str, given: Sequence[float] | None, width: int) -> FloatArray:
    scale = np.ones(width) if given is None or len(given) == 0 else np.array(given, np.float64)
    if scale.shape != (width,) or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError(f"`{name}` must be {width} positive numbers. Received {given}")
    return scale
