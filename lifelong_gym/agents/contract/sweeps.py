"""What is around a sweep: how many steps are asked for, its episodes as callbacks know them, and training on it."""

from __future__ import annotations

import time
import warnings
from collections import deque
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.callbacks import ProgressBarCallback
from stable_baselines3.common.utils import configure_logger

from lifelong_gym.agents.contract.checks import number
from lifelong_gym.agents.contract.state import Stateful, copied, not_finite, put_back
from lifelong_gym.errors import integer
from lifelong_gym.numerics.arrays import FloatArray, IntArray


class Rollouts(Protocol):
    """What is logged of one sweep."""

    @property
    def returns(self) -> FloatArray:
        """Sums of rewards, (n_tasks, n_trajectories)."""

    @property
    def steps(self) -> IntArray:
        """Living steps, (n_tasks, n_trajectories)."""


class Trainable(Stateful, Protocol):
    """What has a state that training changes."""

    def train(self) -> None:
        """Learn from what was observed."""


class SweepProgressBar(ProgressBarCallback):
    """SB3's progress bar, which would count one step a row and call."""

    def _on_step(self) -> bool:
        done = self.num_timesteps - self.model._num_timesteps_at_start
        self.pbar.update(min(done, self.pbar.total) - self.pbar.n)
        return True


def budget(total_timesteps: object, log_interval: object) -> Any:
    """The environment steps asked for, in Python's type.

    Raises:
        ValueError: a number of steps that is negative or not finite, or a number of sweeps between two log entries that
            is neither None nor positive.
    """
    if log_interval is not None:
        integer("log_interval", log_interval)
    steps = number("total_timesteps", total_timesteps)
    return int(steps) if steps.is_integer() else steps


def begin(model: Any, total_timesteps: int, reset_num_timesteps: bool, tb_log_name: str) -> None:
    """What SB3's ``_setup_learn`` does before a call of ``learn``, but that the env isn't reset."""
    model.start_time = time.time_ns()
    if model.ep_info_buffer is None or reset_num_timesteps:
        model.ep_info_buffer = deque(maxlen=model._stats_window_size)
        model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    model.num_timesteps = 0 if reset_num_timesteps else model.num_timesteps
    model._total_timesteps = total_timesteps + model.num_timesteps
    model._num_timesteps_at_start = model.num_timesteps
    if not model._custom_logger:
        model._logger = configure_logger(model.verbose, model.tensorboard_log, tb_log_name, reset_num_timesteps)


def episodes(rollouts: Rollouts, start_time: float) -> tuple[list[dict[str, Any]], npt.NDArray[np.bool_]]:
    """A sweep's episodes as SB3's Monitor tells of them, tasks taking turns, and that each has ended.

    Args:
        rollouts: the sweep.
        start_time: of learning, in nanoseconds.
    """
    seconds = round((time.time_ns() - start_time) / 1e9, 6)
    each = zip(rollouts.returns.T.ravel().tolist(), rollouts.steps.T.ravel().tolist(), strict=True)
    infos = [{"episode": {"r": total, "l": length, "t": seconds}} for total, length in each]
    return infos, np.ones(len(infos), bool)


def train(model: Trainable) -> None:
    """Train; where that fails, or leads to numbers that are not finite, the parameters before it stay in force."""
    before = copied(model)
    try:
        model.train()
        failure = not_finite(model)
    except (FloatingPointError, np.linalg.LinAlgError) as error:
        failure = str(error)
    except BaseException:
        put_back(model, before)
        raise
    if failure is not None:
        put_back(model, before)
        warnings.warn(f"an update failed: {failure}. The parameters before it stay in force", stacklevel=3)
