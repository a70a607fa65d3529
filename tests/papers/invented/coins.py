"""Coins."""

import numpy as np
import numpy.typing as npt


def tossed(odds: float, seed: int) -> npt.NDArray[np.int64]:
    """Twelve of them."""
    return (np.random.default_rng(seed).random(12) < odds).astype(np.int64)
