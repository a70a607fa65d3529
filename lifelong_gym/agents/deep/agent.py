"""One of Stable-Baselines3's algorithms as a part of a learner: its rows, its streams, what it keeps."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.type_aliases import TrainFrequencyUnit
from stable_baselines3.common.vec_env import VecTransposeImage

from lifelong_gym.agents.contract.kinds import Attributes
from lifelong_gym.agents.deep.streams import RandomStreams
from lifelong_gym.wrappers import NodeRows

COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_current_progress_remaining",
    "exploration_rate",
    "_n_calls",
)


class Tally(BaseCallback):
    """Counts what one collecting brings.

    Attributes:
        n_steps: environment steps, rows that idle left out.
        returns: of the episodes that ended.
        lengths: theirs, in steps.
        tasks: theirs, by number; -1 where that is hidden.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__()
        self.n_steps, self.returns, self.lengths, self.tasks = 0, list[float](), list[int](), list[int]()

    def _on_rollout_start(self) -> None:
        self.n_steps, self.returns, self.lengths, self.tasks = 0, [], [], []

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            self.n_steps += "idle" not in info
            if "episode" in info:
                self.returns.append(info["episode"]["r"])
                self.lengths.append(info["episode"]["l"])
                self.tasks.append(info.get("task_id", -1))
        return True


def copy_of_policy(policy: BasePolicy) -> BasePolicy:
    """One that can act by itself, with parameters as they are now; no global generator is drawn from."""
    with RandomStreams(policy.device):  # whose first parameters are thrown away
        made = type(policy)(**policy._get_constructor_parameters()).to(policy.device)
    made.load_state_dict(policy.state_dict())
    made.set_training_mode(False)
    return made


def refuse_memory(name: str, kind: type[BaseAlgorithm]) -> None:
    """Raise `TypeError` unless an algorithm's policies look at the present alone; what others remember isn't kept."""
    if any("lstm_states" in inspect.signature(policy.forward).parameters for policy in kind.policy_aliases.values()):
        raise TypeError(f"`{name}` must have no recurrent policies, whose memory isn't kept. Received {kind}")


class Agent:
    """An on-policy or off-policy algorithm of SB3's over the rows of one node, with random streams of its own.

    However many there are in a process, in whatever order they take turns, each does what it would do alone: what
    ``kind(policy, env, seed=seed, **arguments).learn(...)`` does in an env of its rows only, to the bit.

    Args:
        kind: of the algorithm.
        policy: name of one of its policies, or the class of one.
        node: whose rows they are.
        rows: where it acts; see `NodeRows`.
        seed: decides everything that is random.
        device: where it computes.
        arguments: others of the algorithm's constructor.

    Attributes:
        node: as given.
        rows: as given.
        algorithm: SB3's.
        streams: of random numbers, to be entered by whoever lets the algorithm draw.
        tally: of the last collecting.
    """

    def __init__(
        self,
        kind: type[BaseAlgorithm],
        policy: str | type[BasePolicy],
        node: Any,
        rows: NodeRows,
        seed: int,
        device: th.device,
        arguments: Mapping[str, Any],
    ) -> None:
        """See the class."""
        self.node, self.rows, self.streams, self.tally = node, rows, RandomStreams(device), Tally()
        own: Any = copy.deepcopy(dict(arguments))  # which SB3 writes into
        make: Any = kind
        with self.streams:
            self.algorithm: Any = make(policy, rows, seed=seed, device=device, **own)
        if not isinstance(self.algorithm, OnPolicyAlgorithm | OffPolicyAlgorithm):
            raise TypeError(f"`algorithm` must be an on-policy or off-policy algorithm of SB3's. Received {kind}")
        self.algorithm.set_logger(Logger(folder=None, output_formats=[]))
        self._n_collected = 0

    @property
    def policy(self) -> BasePolicy:
        """As it is now."""
        policy: BasePolicy = self.algorithm.policy
        return policy

    def copy_of_policy(self) -> BasePolicy:
        """A policy of one's own, with parameters as they are now."""
        return copy_of_policy(self.policy)

    def seed(self, seed: int) -> None:
        """Begin all random streams anew; the rows' are those of their next reset."""
        with self.streams:
            self.algorithm.set_random_seed(seed)

    def n_ahead(self) -> int:
        """Environment steps of the next collecting, at most; 0 where nobody knows."""
        told: int | None = getattr(self.algorithm, "n_ahead", None)
        if told is not None:
            return told
        if isinstance(self.algorithm, OnPolicyAlgorithm):
            return self.algorithm.n_steps * self.rows.num_envs
        frequency: Any = self.algorithm.train_freq
        in_steps = frequency.unit is TrainFrequencyUnit.STEP
        return int(frequency.frequency) * self.rows.num_envs if in_steps else 0

    def begin(self, total_timesteps: float, reset_num_timesteps: bool) -> None:
        """Before learning: as SB3's ``learn`` begins, for so many steps in all, those before included."""
        with self.streams:
            self.algorithm._setup_learn(0, self.tally, reset_num_timesteps)
        self.algorithm._total_timesteps = total_timesteps

    def collect(self) -> None:
        """Act until there is something to train on."""
        algorithm, env = self.algorithm, self.algorithm.env
        with self.streams:
            if isinstance(algorithm, OnPolicyAlgorithm):
                algorithm.collect_rollouts(env, self.tally, algorithm.rollout_buffer, n_rollout_steps=algorithm.n_steps)
                return
            collected = algorithm.collect_rollouts(
                env,
                train_freq=algorithm.train_freq,
                action_noise=algorithm.action_noise,
                callback=self.tally,
                learning_starts=algorithm.learning_starts,
                replay_buffer=algorithm.replay_buffer,
                log_interval=None,
            )
            self._n_collected = collected.episode_timesteps

    def train(self) -> None:
        """Learn from what was collected, where the algorithm would by now."""
        algorithm = self.algorithm
        with self.streams:
            if isinstance(algorithm, OnPolicyAlgorithm):
                algorithm._update_current_progress_remaining(algorithm.num_timesteps, algorithm._total_timesteps)
                algorithm.train()
            elif 0 < algorithm.num_timesteps > algorithm.learning_starts:
                n = algorithm.gradient_steps if algorithm.gradient_steps >= 0 else self._n_collected
                if n > 0:
                    algorithm.train(batch_size=algorithm.batch_size, gradient_steps=n)

    def logged(self) -> dict[str, float]:
        """What training has logged since this was last asked."""
        logger = self.algorithm.logger
        found = {name: float(value) for name, value in logger.name_to_value.items() if isinstance(value, int | float)}
        logger.dump()
        return found

    # What is kept.

    def parts(self) -> dict[str, Any]:
        """All that going on depends on."""
        algorithm, last = self.algorithm, "last_observations"
        modules, tensors = algorithm._get_torch_save_params()
        kept = {name: recursive_getattr(algorithm, name) for name in [*modules, *tensors]}
        shape = (self.rows.num_envs, *(self.rows.observation_space.shape or ()))
        begun = {last: (shape, self.rows.observation_space.dtype), "episode_starts": (shape[:1], np.bool_)}
        counters = [name for name in COUNTERS if hasattr(algorithm, name)]
        kept |= {
            "streams": self.streams,
            "actions": algorithm.action_space.np_random,  # of random actions before learning starts
            "counters": Attributes(algorithm, counters),
            "begun": Attributes(self, (), begun),
        }
        if isinstance(algorithm, OffPolicyAlgorithm):
            kept["replay_buffer"] = algorithm.replay_buffer
        return kept

    @property
    def last_observations(self) -> npt.NDArray[Any] | None:
        """What the rows show, as they show it; None before the first episode."""
        seen: npt.NDArray[Any] | None = self.algorithm._last_obs
        if seen is None or not isinstance(self.algorithm.env, VecTransposeImage):
            return seen
        return np.ascontiguousarray(np.transpose(seen, (0, 2, 3, 1)))

    @last_observations.setter
    def last_observations(self, seen: npt.NDArray[Any] | None) -> None:
        if seen is not None:
            self.rows._reset_seeds()  # of the first reset, which has been
        transposed = seen is not None and isinstance(self.algorithm.env, VecTransposeImage)
        # A view, as it was: convolutions may round otherwise where numbers lie otherwise.
        self.algorithm._last_obs = self.algorithm.env.transpose_observations(seen) if transposed else seen

    @property
    def episode_starts(self) -> npt.NDArray[np.bool_] | None:
        """Rows whose episode has just begun; None before the first."""
        starts: npt.NDArray[np.bool_] | None = self.algorithm._last_episode_starts
        return starts

    @episode_starts.setter
    def episode_starts(self, starts: npt.NDArray[np.bool_] | None) -> None:
        self.algorithm._last_episode_starts = starts
