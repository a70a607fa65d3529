"""Least-squares policy iteration (Lagoudakis and Parr 2003) over a finite set of actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule

from lifelong_gym.agents.contract.arguments import CommonSettings
from lifelong_gym.agents.contract.base import MultiTaskAlgorithm
from lifelong_gym.agents.contract.checks import count, flag, number
from lifelong_gym.agents.contract.environment import idle_rows
from lifelong_gym.agents.contract.state import Parts
from lifelong_gym.agents.equivariant.action_features import ActionFeatures, features_of
from lifelong_gym.numerics.arrays import BoolArray, FloatArray, IntArray

SETTLED = 1e-10  # relative change of theta at which the iteration ends


@dataclass(frozen=True)
class Samples:
    """Transitions, in any order; see `policy_iteration`.

    Attributes:
        observations: shape (n, ...).
        actions: indices, shape (n,).
        rewards: shape (n,).
        next_observations: shape (n, ...).
        ended: whether nothing comes after the reward, shape (n,).
    """

    observations: npt.NDArray[Any]
    actions: IntArray
    rewards: FloatArray
    next_observations: npt.NDArray[Any]
    ended: BoolArray

    @classmethod
    def joined(cls, parts: Sequence[Samples], most: int) -> Samples:
        """Those of all parts, the last ``most`` of them."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*(np.concatenate(column)[-most:] for column in columns))


def policy_iteration(
    features: ActionFeatures,
    samples: Samples,
    theta: FloatArray,
    gamma: float,
    ridge: float = 0.0,
    n_iterations: int = 15,
) -> FloatArray:
    """Weights of the action value whose greedy policy is evaluated by least squares on the samples, until it settles.

    Args:
        features: of observations and actions.
        samples: transitions of any behaviour.
        theta: to begin with, shape (d,).
        gamma: discount, in [0, 1].
        ridge: added to the diagonal; at least 0.
        n_iterations: at most so many evaluations.

    Returns:
        Shape (d,).
    """
    now = features.of(samples.observations, samples.actions)
    goal, lives = now.T @ samples.rewards, (gamma * ~samples.ended)[:, None]
    for _ in range(n_iterations):
        greedy = features.values(samples.next_observations, theta).argmax(axis=1)
        after = features.of(samples.next_observations, greedy)
        matrix = now.T @ (now - lives * after) + ridge * np.eye(len(goal))
        before, theta = theta, np.asarray(np.linalg.lstsq(matrix, goal, rcond=None)[0], np.float64)
        if np.abs(theta - before).max() <= SETTLED * np.abs(theta).max():
            break
    return theta


class GreedyPolicy(BasePolicy):
    """The action of largest value in a finite set, or with probability ``epsilon`` any of them.

    Args:
        observation_space: of the env.
        action_space: ``Discrete``, or shares; see `features_of`.
        lr_schedule: not used; part of Stable-Baselines3's signature.
        n_actions: size of the set among shares.
        tied: whether entities share their features' weights.
        epsilon: of acting at random where actions aren't deterministic, in [0, 1].
        seed: of the set among shares.

    Attributes:
        theta: float64 parameter, shape (n_features,).
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule | None = None,
        *,
        n_actions: int = 1000,
        tied: bool = True,
        epsilon: float = 1.0,
        seed: int = 0,
    ) -> None:
        """See the class."""
        del lr_schedule
        super().__init__(observation_space, action_space)
        self.arguments: dict[str, Any] = {"n_actions": n_actions, "tied": tied, "epsilon": epsilon, "seed": seed}
        self.features = features_of(observation_space, action_space, n_actions, tied, seed)
        self.theta = th.nn.Parameter(th.zeros(self.features.size, dtype=th.float64), requires_grad=False)

    def best(self, observations: npt.NDArray[Any]) -> IntArray:
        """Indices of the actions of largest value, shape (n,); of equal ones the first."""
        best: IntArray = self.features.values(observations, self.theta.numpy()).argmax(axis=1)
        return best

    def explored(self, best: IntArray, rng: np.random.Generator) -> IntArray:
        """The same indices, some of them replaced by any."""
        anything = rng.integers(len(self.features.actions), size=len(best))
        return np.where(rng.random(len(best)) < self.arguments["epsilon"], anything, best)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        assert isinstance(observation, th.Tensor)
        best = self.best(observation.cpu().numpy())
        if not deterministic:
            best = self.explored(best, np.random.default_rng(int(th.randint(2**62, ()))))
        return th.from_numpy(self.features.actions[best])

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {"observation_space": self.observation_space, "action_space": self.action_space, **self.arguments}


@dataclass(frozen=True)
class WholeEpisodes:
    """Whole episodes of a sweep, shapes (n_rows, n_trajectories)."""

    returns: FloatArray
    steps: IntArray


class _Ended:
    """Counts the first episodes of each row."""

    def __init__(self, n_rows: int, n_trajectories: int) -> None:
        self._n, self._sums, self._steps = n_trajectories, np.zeros(n_rows), np.zeros(n_rows, np.int64)
        self._whole: list[list[tuple[float, int]]] = [[] for _ in range(n_rows)]

    @property
    def enough(self) -> BoolArray:
        return np.array([len(row) >= self._n for row in self._whole])

    def count(self, rewards: FloatArray, dones: BoolArray, took: BoolArray) -> None:
        self._sums += np.where(took, rewards, 0.0)
        self._steps += took
        for row in np.flatnonzero(dones):
            self._whole[row].append((float(self._sums[row]), int(self._steps[row])))
            self._sums[row], self._steps[row] = 0.0, 0

    def episodes(self) -> WholeEpisodes:
        """Those of rows that have enough."""
        whole = [row[: self._n] for row, enough in zip(self._whole, self.enough, strict=True) if enough]
        returns, steps = np.array(whole, np.float64).reshape(-1, self._n, 2).transpose(2, 0, 1)
        return WholeEpisodes(returns, steps.astype(np.int64))


class KeptSamples(th.nn.Module):
    """Transitions as tensors, which go into model files."""

    def __init__(self, samples: Samples) -> None:
        """See the class."""
        super().__init__()
        for name, array in vars(samples).items():
            self.register_buffer(name, th.from_numpy(np.ascontiguousarray(array)))

    @property
    def samples(self) -> Samples:
        """As arrays, not copied."""
        return Samples(**{name: tensor.numpy() for name, tensor in self.named_buffers()})


class LSPI(MultiTaskAlgorithm):
    """One policy for all tasks by least-squares policy iteration over a finite set of actions.

    Each sweep runs episodes in all rows, acting at random with probability ``epsilon``; all transitions so far are then
    solved for a linear action value. Actions are ``Discrete``, whose features are the observation for each of them
    apart (a table where observations are ``Discrete``, too); or shares among entities, from a finite set of them. Their
    features are each entity's channels times its share a, and ``-a log a``: an entity's own, or, ``tied``, summed over
    all, which makes the value independent of the entities' order.

    Paper: Lagoudakis and Parr, Least-squares policy iteration, Journal of Machine Learning Research 4, 2003.

    Args:
        policy: ``"GreedyPolicy"``.
        env: an id, a PettingZoo ParallelEnv, a vector env of ours, or any SB3 VecEnv.
        learning_rate: how far theta goes to the solution, in (0, 1], or a function of the remaining progress.
        gamma: discount, in [0, 1].
        n_trajectories: episodes a row and sweep, at least 1.
        epsilon: probability of acting at random while learning, in [0, 1].
        n_actions: size of the set among shares; above the number of entities.
        tied: whether the features of entities share their weights.
        ridge: added to the diagonal of the system, which sums over transitions.
        n_iterations: at most so many evaluations a sweep.
        buffer_size: at most so many transitions are kept, the last ones.
        tensorboard_log: folder for TensorBoard; None: no logging.
        verbose: 0: silent, 1: the log, 2: more.
        seed: decides everything that is random; None: different every time.
        device: part of SB3's signature; the arithmetic is NumPy's.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"GreedyPolicy": GreedyPolicy}
    policy: GreedyPolicy
    _rollouts: WholeEpisodes

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule = 1.0,
        *,
        gamma: float = 0.9,
        n_trajectories: int = 5,
        epsilon: float = 1.0,
        n_actions: int = 1000,
        tied: bool = True,
        ridge: float = 1e-2,
        n_iterations: int = 15,
        buffer_size: int = 100_000,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        """See the class."""
        self.gamma, self.epsilon = _share("gamma", gamma), _share("epsilon", epsilon)
        self.n_trajectories, self.n_actions = count("n_trajectories", n_trajectories), count("n_actions", n_actions)
        self.tied, self.ridge = flag("tied", tied), number("ridge", ridge)
        self.n_iterations, self.buffer_size = count("n_iterations", n_iterations), count("buffer_size", buffer_size)
        if not callable(learning_rate):
            learning_rate = _share("learning_rate", learning_rate)
        self._n_kept = self._n_sweeps = 0
        common = CommonSettings(tensorboard_log, verbose, seed, device, _init_setup_model)
        super().__init__(policy, env, learning_rate, **vars(common))

    def _parts(self) -> Parts:
        return {**super()._parts(), "kept": self.kept}

    def _counters(self) -> dict[str, int]:
        return {**super()._counters(), "_n_kept": self._n_kept, "_n_sweeps": self._n_sweeps}

    def _policy_arguments(self) -> dict[str, Any]:
        return self.policy.arguments

    def _setup_model(self, policy_arguments: dict[str, Any] | None = None) -> None:
        own: dict[str, Any] = {
            "n_actions": self.n_actions,
            "tied": self.tied,
            "epsilon": self.epsilon,
            "seed": self.noise_seed,
        }
        self.policy = GreedyPolicy(self.observation_space, self.action_space, **(policy_arguments or own))
        shape, dtype = self.observation_space.shape, self.observation_space.dtype
        seen = np.zeros((self._n_kept, *(shape or ())), dtype)
        each = np.zeros(self._n_kept, np.int64), np.zeros(self._n_kept)
        self.kept = KeptSamples(Samples(seen, *each, seen.copy(), np.zeros(self._n_kept, bool)))

    def _policy_of(self, task: int) -> BasePolicy:
        policy = GreedyPolicy(self.observation_space, self.action_space, **self.policy.arguments)
        policy.load_state_dict(self.policy.state_dict())
        return policy

    def _grow(self, n_tasks: int) -> None:
        """The policy is that of all tasks."""

    def collect_rollouts(self) -> tuple[WholeEpisodes, int]:
        """Run ``n_trajectories`` episodes in every row; what rows do while others still run is kept, too."""
        assert self.env is not None
        rng = np.random.default_rng([self.noise_seed, self._n_sweeps])
        self.env.seed(int(rng.integers(2**31)))
        self._n_sweeps += 1
        ended = _Ended(self.env.num_envs, self.n_trajectories)
        observations, parts = np.asarray(self.env.reset()), [self.kept.samples]
        while not (ended.enough | idle_rows(self.env)).all():
            chosen = self.policy.explored(self.policy.best(observations), rng)
            after, rewards, dones, infos = self.env.step(self.policy.features.actions[chosen])
            took = np.array([not info.get("idle", False) for info in infos])
            following = np.asarray(after)
            parts.append(_transitions(observations, chosen, rewards, following, dones, infos, took))
            ended.count(np.asarray(rewards), dones, took)
            observations = following
        self.kept = KeptSamples(Samples.joined(parts, self.buffer_size))
        self._n_kept = len(self.kept.samples.rewards)
        return ended.episodes(), sum(len(part.rewards) for part in parts[1:])

    def train(self) -> None:
        """Solve for the policy's weights on all transitions that are kept."""
        theta = self.policy.theta.numpy().copy()
        how = (self.gamma, self.ridge, self.n_iterations)
        solved = policy_iteration(self.policy.features, self.kept.samples, theta, *how)
        self.policy.theta.copy_(th.from_numpy(theta + self._step_size() * (solved - theta)))


def _transitions(
    observations: npt.NDArray[Any],
    chosen: IntArray,
    rewards: npt.NDArray[Any],
    after: npt.NDArray[Any],
    dones: BoolArray,
    infos: Sequence[dict[str, Any]],
    took: BoolArray,
) -> Samples:
    """Of the rows that took a step; an episode that was cut off might have gone on."""
    following = after.copy()
    for row in np.flatnonzero(dones).tolist():
        following[row] = infos[row]["terminal_observation"]
    cut = np.array([info.get("TimeLimit.truncated", False) for info in infos])
    gained = np.asarray(rewards, np.float64)
    return Samples(observations[took], chosen[took], gained[took], following[took], (dones & ~cut)[took])


def _share(name: str, value: object) -> float:
    """A number in [0, 1]."""
    checked = number(name, value)
    if checked > 1.0:
        raise ValueError(f"`{name}` must be at most 1. Received {value!r}")
    return checked
