"""Replay of Stable-Baselines3's form, packed, in which a batch may also come from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from lifelong_gym.agents.contract.checks import count, flag
from lifelong_gym.agents.deep.replay.packing import StepForm, Transitions
from lifelong_gym.agents.deep.replay.store import CACHE, Store
from lifelong_gym.numerics.arrays import IntArray


@dataclass
class Supply:
    """Transitions from elsewhere.

    Attributes:
        share: of each batch.
        stores: tells from which it is drawn, each as often as the others; none of them empty.
    """

    share: float
    stores: Callable[[], Sequence[Store]]


class PackedReplayBuffer(ReplayBuffer):
    """Replay for any off-policy algorithm of SB3's, a fraction of the size: ``replay_buffer_class=PackedReplayBuffer``.

    Frames are stored once, XORed with the one before and deflated; a batch unpacks the chunks that it is drawn from.
    With no sources, batches are those of SB3's buffer, to the bit.

    Args:
        buffer_size: transitions that are kept, those of all rows together.
        observation_space: of a row; no Dict.
        action_space: of a row.
        device: of the batches.
        n_envs: rows.
        optimize_memory_usage: must be False: frames are stored once anyway.
        handle_timeout_termination: whether a truncated episode counts as one that went on.
        cache: bytes a row that stay unpacked, of what was read last.

    Attributes:
        stores: the transitions of each row.
        sources: where shares of each batch come from besides, by name; the rest is from its own.
        open: whether `add` adds; else what comes is dropped.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: th.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        cache: int = CACHE,
    ) -> None:
        """See the class."""
        if flag("optimize_memory_usage", optimize_memory_usage):
            raise ValueError("`optimize_memory_usage` must be False: packed replay stores frames once. Received True")
        if isinstance(observation_space, spaces.Dict):
            raise TypeError(f"`observation_space` must be of one array. Received {observation_space}")
        BaseBuffer.__init__(self, buffer_size, observation_space, action_space, device, n_envs)
        self.buffer_size = max(buffer_size // n_envs, 1)
        self.handle_timeout_termination, self.optimize_memory_usage = handle_timeout_termination, False
        self._row_cache = count("cache", cache, least=0)
        action_dtype = np.dtype(self._maybe_cast_dtype(action_space.dtype))
        self.form = StepForm(tuple(self.obs_shape), np.dtype(observation_space.dtype), (self.action_dim,), action_dtype)
        self.sources: dict[str, Supply] = {}
        self.open = True
        self.reset()

    def reset(self) -> None:
        """Forget its own transitions."""
        super().reset()
        self.stores = [Store(self.form, self.buffer_size, self._row_cache) for _ in range(self.n_envs)]

    @property
    def n_bytes(self) -> int:
        """Of its own transitions, packed."""
        return sum(store.n_bytes for store in self.stores)

    def add(
        self,
        obs: np.ndarray[Any, Any],
        next_obs: np.ndarray[Any, Any],
        action: np.ndarray[Any, Any],
        reward: np.ndarray[Any, Any],
        done: np.ndarray[Any, Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """A step of all rows; where all of them idle, nothing."""
        if not self.open or all("idle" in info for info in infos):
            return
        seen, then = (np.asarray(array).reshape(self.n_envs, *self.obs_shape) for array in (obs, next_obs))
        acted = np.asarray(action).reshape(self.n_envs, self.action_dim)
        truncated = [self.handle_timeout_termination and info.get("TimeLimit.truncated", False) for info in infos]
        scalars = [np.asarray(values, np.float32).reshape(self.n_envs) for values in (reward, done, truncated)]
        step = Transitions(seen, then, acted, *scalars)
        for row, store in enumerate(self.stores):
            store.add(step[row : row + 1])
        self.pos, self.full = self.stores[0].pos, self.stores[0].full

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """A batch of its own transitions and, where there are sources, of their shares."""
        shares = self._shares(batch_size)
        own = batch_size - sum(n for _, n in shares)
        parts = [] if own == 0 else [super().sample(own, env)]
        parts += [self._tensors(_drawn(stores, n), env) for stores, n in shares if n]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def own(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """A batch of its own transitions alone."""
        return super().sample(batch_size, env)

    def _shares(self, batch_size: int) -> list[tuple[Sequence[Store], int]]:
        """How much of a batch comes from each source; all of it, while there is nothing of its own."""
        told = [(source.share, source.stores()) for source in self.sources.values()]
        sources = [(share, stores) for share, stores in told if stores and share > 0]
        if not sources:
            return []
        total = sum(share for share, _ in sources)
        scale = batch_size / (total if self.size() == 0 else max(total, 1.0))
        found = [(stores, int(scale * share)) for share, stores in sources]
        if self.size() == 0:
            found[0] = (found[0][0], batch_size - sum(n for _, n in found[1:]))
        return found

    def _get_samples(self, batch_inds: IntArray, env: VecNormalize | None = None) -> ReplayBufferSamples:
        rows = np.random.randint(0, high=self.n_envs, size=(len(batch_inds),))
        found = self.form.room(len(batch_inds))
        for row in np.unique(rows).tolist():
            read = self.stores[row].read(batch_inds[rows == row])
            for name, array in vars(read).items():
                getattr(found, name)[rows == row] = array
        return self._tensors(found, env)

    def _tensors(self, drawn: Transitions, env: VecNormalize | None) -> ReplayBufferSamples:
        data = (
            self._normalize_obs(drawn.observations, env),
            drawn.actions,
            self._normalize_obs(drawn.next_observations, env),
            (drawn.dones * (1 - drawn.timeouts)).reshape(-1, 1),
            self._normalize_reward(drawn.rewards.reshape(-1, 1), env),
        )
        return ReplayBufferSamples(*tuple(map(self.to_torch, data)))


def _drawn(stores: Sequence[Store], n: int) -> Transitions:
    """So many transitions; drawn from NumPy's global generator, as SB3's buffers draw."""
    counts = np.bincount(np.random.randint(0, len(stores), size=n), minlength=len(stores)).tolist()
    drawn = [(store, np.random.randint(0, len(store), size=k)) for store, k in zip(stores, counts, strict=True)]
    parts = [store.read(places) for store, places in drawn]
    return Transitions.joined(parts)


def _joined(parts: list[ReplayBufferSamples]) -> ReplayBufferSamples:
    columns = zip(*parts, strict=True)
    return ReplayBufferSamples(*(None if any(c is None for c in column) else th.cat(column) for column in columns))  # type: ignore[arg-type]
