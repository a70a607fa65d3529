"""What an observation says, in the words of portfolios: for rules that are told no more than learners are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.allocation.trading import FEATURE_SCALE
from lifelong_gym.envs.spaces import Entities
from lifelong_gym.numerics.arrays import BoolArray, FloatArray


class Seen(NamedTuple):
    """Of rows of portfolios, in the precision of float32.

    Attributes:
        past: closing prices over the last one, oldest first and that one included, shape (n_rows, m, window); at most
            6, as far as features reach; 1 of the absent.
        held: shares of the wealth, shape (n_rows, m).
        present: which instruments are there, shape (n_rows, m).
    """

    past: FloatArray
    held: FloatArray
    present: BoolArray


def seen(codec: Entities, observations: npt.ArrayLike) -> Seen:
    """What observations say, shape (n_rows, n), task features behind them left out."""
    rows = np.asarray(observations, np.float64)
    columns = {channel.name: i for i, channel in enumerate(codec.channels)}
    # The last close over itself is a channel only where highs and lows stand beside it.
    closing = [i for name, i in columns.items() if name.startswith("close_") and name != "close_1"]
    blocks, present = codec.blocks(rows), codec.present(rows)
    before = 1.0 + blocks[..., closing] / FEATURE_SCALE
    past = np.concatenate([before, np.ones_like(before[..., :1])], axis=-1)
    held = (1.0 + blocks[..., columns["share"]]) * present / present.sum(axis=-1, keepdims=True)
    return Seen(past, held, present)
