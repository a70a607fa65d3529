"""How performance is drawn, so that everything is seen: linear from -1 up, logarithmic below.

One learner that diverges would otherwise flatten all others, or vanish. What lies below -1000 is drawn at -1000, and
marked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, FuncNorm, ListedColormap, Normalize

from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.reports.plots import GREY
from lifelong_gym.reports.tables import number

KNEE, LOWEST = -1.0, -1000.0
LABELS = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 5.0, 10.0)
NEAR, FAR = (-5.0, -2.0), (-1000.0, -100.0, -10.0)


def stretched(x: npt.ArrayLike) -> FloatArray:
    """Where a performance stands: itself above -1, and ``-1 - log10(-x)`` below.

    >>> stretched([-100, -1, 0.5]).tolist()
    [-3.0, -1.0, 0.5]
    """
    values = np.asarray(x, np.float64)
    return np.where(values < KNEE, KNEE - np.log10(np.maximum(-values, 1.0)), values)


def unstretched(y: npt.ArrayLike) -> FloatArray:
    """The inverse of `stretched`."""
    places = np.asarray(y, np.float64)
    return np.where(places < KNEE, -(10.0 ** np.clip(KNEE - places, 0.0, 300.0)), places)


def visible(x: npt.ArrayLike) -> FloatArray:
    """Performance as it is drawn."""
    return np.maximum(np.asarray(x, np.float64), LOWEST)


def labels(low: float, high: float) -> list[float]:
    """Values to be named on this scale."""
    below = NEAR if low > -10 else FAR
    return [x for x in (*below, *LABELS) if low <= x <= high]


def set_scale(axes: Axes, axis: str, low: float, high: float) -> None:
    """Let an axis reach from ``low`` to ``high`` with some room; below the knee it is logarithmic, and says so."""
    low = max(low, LOWEST)
    ends = stretched([low, high])
    room = 0.04 * (ends[1] - ends[0]) * np.array([-1, 1])
    if low < KNEE:
        getattr(axes, f"set_{axis}scale")("function", functions=(stretched, unstretched))
        at = labels(low, high)
        getattr(axes, f"set_{axis}ticks")(at, [number(x, "return") for x in at])
        _mark_the_knee(axes, axis)
    getattr(axes, f"set_{axis}lim")(*unstretched(ends + room))


def _mark_the_knee(axes: Axes, axis: str) -> None:
    """Where the scale becomes another one."""
    text = f"below {number(KNEE, 'return')}:\nlogarithmic"
    if axis == "y":
        axes.axhline(KNEE, color=GREY, lw=0.8, ls=":", zorder=1)
        name_level(axes, KNEE, text)
        return
    axes.axvline(KNEE, color=GREY, lw=0.8, ls=":", zorder=1)
    axes.annotate(
        text, (KNEE, 0), (-4, 10), xycoords=axes.get_xaxis_transform(), textcoords="offset points",
        rotation=90, ha="right", va="bottom", color=GREY, fontsize=9,
    )  # fmt: skip


def name_level(axes: Axes, level: float, text: str) -> None:
    """To the right of the axes."""
    axes.annotate(
        text, (1, level), (6, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
        va="center", color=GREY, fontsize=9,
    )  # fmt: skip


def mark_cut(axes: Axes, x: npt.ArrayLike, y: npt.ArrayLike, colour: str) -> None:
    """Triangles where a curve is below all that is drawn."""
    times, values = np.asarray(x), np.asarray(y)
    cut = values < LOWEST
    if cut.any():
        name_level(axes, LOWEST, f"▼ below {number(LOWEST, 'return')}")
        axes.plot(times[cut], visible(values[cut]), ls="", marker="v", ms=5, color=colour, clip_on=False, zorder=4)


class Colours(NamedTuple):
    """How a matrix is coloured.

    Attributes:
        norm: for `pcolormesh`, with ``cmap``.
        cmap: of the values that there are, no others.
        ticks: of the bar; None where matplotlib finds them.
        cut: whether some values are lower than any that is told apart.
    """

    norm: Normalize
    cmap: Colormap
    ticks: list[float] | None
    cut: bool


def colours(values: FloatArray) -> Colours:
    """White is 0, blue is 1 or the best there is, red is below 0, down to the worst there is."""
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    least = max(low, LOWEST)
    depth = max(1.0, -float(stretched(least)))

    def forward(x: npt.ArrayLike) -> FloatArray:
        array = np.asarray(x, np.float64)
        return 0.5 + 0.5 * np.where(array < 0, stretched(array) / depth, array / high)

    def inverse(y: npt.ArrayLike) -> FloatArray:
        array = 2 * np.asarray(y, np.float64) - 1
        return np.where(array < 0, unstretched(array * depth), array * high)

    shades = matplotlib.colormaps["RdBu"](np.linspace(float(forward(least)), 1.0, 256))
    norm = FuncNorm((forward, inverse), vmin=least, vmax=high)
    return Colours(norm, ListedColormap(shades), labels(least, high), low < LOWEST)


def raw_colours(values: FloatArray) -> Colours:
    """From the lowest return to the highest."""
    low, high = float(values.min()), float(values.max())
    return Colours(Normalize(low, high if high > low else low + 1), matplotlib.colormaps["viridis"], None, False)


def ink(colour: Any) -> str:
    """For a text on this colour."""
    return "white" if float(np.dot(colour[:3], (0.299, 0.587, 0.114))) < 0.5 else "black"
