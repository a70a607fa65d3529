"""Figures of a report: scales that show what is there, and say where they change or end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from lifelong_gym.benchmark.records import read_runs
from lifelong_gym.numerics.arrays import FloatArray
from lifelong_gym.reports import figures, heatmaps
from lifelong_gym.reports.overall import pooled, thresholds
from lifelong_gym.reports.plots import styles
from lifelong_gym.reports.scales import LOWEST, colours, ink, stretched, unstretched
from lifelong_gym.reports.study import Study, studies
from tests.synthetic_runs import lifelong, settings, write


def study_of(folder: Path, **levels: float) -> Study:
    """Learners that go from 0 to a level, by another amount in each of four tasks."""
    for label, level in levels.items():
        for seed in range(2):
            ramp = np.linspace(0, 1, 6)[:, None] * level * np.linspace(0.9, 1.1, 4)
            write(folder, settings(label, seed=seed), ramp)
    (study,), _ = studies(read_runs(folder))
    return study


def texts(figure: Figure | None) -> list[str]:
    """All that is written in it."""
    assert figure is not None
    FigureCanvasAgg(figure).draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def tiles(figure: Figure | None) -> list[QuadMesh]:
    """Of every matrix in it, without the colour bar's."""
    assert figure is not None
    return [mesh for axes in figure.axes for mesh in axes.collections if isinstance(mesh, QuadMesh)][
        : len(figure.axes) - 1
    ]


def ends_of_bar(figure: Figure | None) -> str:
    """Where its colour bar has a point."""
    (mesh,) = tiles(figure)
    assert mesh.colorbar is not None
    return mesh.colorbar.extend


def heights(line: Line2D) -> FloatArray:
    """Of its points."""
    return np.asarray(line.get_ydata(), np.float64)


def test_the_scale_is_one_to_one() -> None:
    """Linear above -1, a factor of ten a unit below, and there is a way back."""
    x = np.array([-1e3, -100, -7.49, -1.0001, -1, -0.07, 0, 0.5, 3])
    assert (np.diff(stretched(x)) > 0).all()
    assert unstretched(stretched(x)) == pytest.approx(x)
    assert stretched(-100) - stretched(-10) == pytest.approx(-1)


def test_losses_of_all_sizes_look_different() -> None:
    """A little below 0, a lot, and very much; none as 0; and 1 is the deepest blue."""
    values = np.array([[-700.0, -7.49, -0.07, 0.0, 1.0]])
    shades = colours(values)
    rgb = shades.cmap(shades.norm(values[0]))[:, :3]
    apart = np.abs(rgb[:, None] - rgb[None]).max(axis=-1)[np.triu_indices(5, 1)]
    assert apart.min() > 0.015
    assert np.abs(rgb[1] - rgb[2]).max() > 0.4
    assert rgb[4].argmax() == 2
    assert not shades.cut
    assert colours(np.array([[-2e3, 0.5]])).cut


def test_colours_without_losses_are_those_of_gains() -> None:
    """The bar holds what there is: from 0 to 1, and as red as the worst loss deserves."""
    gains, small = colours(np.array([[0.0, 0.5]])), colours(np.array([[-0.05, 0.5]]))
    assert (gains.norm.vmin, gains.norm.vmax) == (0.0, 1.0)
    assert gains.cmap(gains.norm(0.0))[:3] == pytest.approx((0.97, 0.97, 0.97), abs=0.01)
    assert small.cmap(small.norm(-0.05))[:3] == pytest.approx((0.97, 0.95, 0.93), abs=0.03)


def test_numbers_in_tiles_can_be_read(tmp_path: Path) -> None:
    """Dark on light, light on dark, each with one minus sign and three digits."""
    assert [ink(x) for x in ((1, 1, 1, 1), (0.4, 0, 0.1, 1))] == ["black", "white"]
    shown = texts(heatmaps.task_matrix(study_of(tmp_path, A=0.5, B=-40.0)))
    assert {"0.45", "0.55", "−36", "−44"} <= set(shown)


@pytest.mark.parametrize("worst", [-0.3, -30.0])
def test_curves_stay_in_sight(tmp_path: Path, worst: float) -> None:
    """All points lie within the axes; where the scale becomes logarithmic, that is said, and nowhere else."""
    study = study_of(tmp_path, A=0.9, B=worst)
    figure = figures.learning(study, styles(list(study.runs)))
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert all(low < heights(line).min() and heights(line).max() < high for line in axes.lines)
    assert ("below −1:\nlogarithmic" in texts(figure)) == (worst < -1)
    ticks = [text.get_text() for text in axes.get_yticklabels()]
    assert ("−10" in ticks) == (worst < -1)


def test_what_is_cut_is_marked(tmp_path: Path) -> None:
    """Curves that leave the scale end in triangles at -1000, and colour bars in a point."""
    study = study_of(tmp_path, A=0.9, B=-1e5)
    figure = figures.learning(study, styles(list(study.runs)))
    marked = [line for line in figure.axes[0].lines if line.get_marker() == "v"]
    assert [set(heights(line).tolist()) for line in marked] == [{LOWEST}]
    assert figure.axes[0].get_ylim()[0] < LOWEST
    assert "▼ below −1 k" in texts(figure)
    assert ends_of_bar(heatmaps.task_matrix(study)) == "min"
    assert ends_of_bar(heatmaps.task_matrix(study_of(tmp_path / "a", A=0.9, B=-10))) == "neither"


def test_profiles_reach_from_the_worst_to_the_best(tmp_path: Path) -> None:
    """So that every learner's curve begins at 1 and ends at 0."""
    study = study_of(tmp_path, A=1.4, B=-50.0)
    scores, _ = pooled([study])
    at = thresholds(scores)
    assert at[[0, -1]] == pytest.approx([-55, 1.54])
    figure = figures.profiles(scores, styles(list(scores)), "score")
    assert "below −1:\nlogarithmic" in texts(figure)
    assert figure.axes[0].get_xlim()[0] < -55


def test_evaluation_matrices_share_their_colours(tmp_path: Path) -> None:
    """One bar for all, and what fell below 0 is red."""
    for label, kept in (("A", 0.9), ("B", -3.0)):
        lifelong(tmp_path, label, range(2), kept=kept)
    (study,), _ = studies(read_runs(tmp_path))
    first, second = tiles(heatmaps.evaluation_matrices(study))
    assert first.norm is second.norm
    values = np.asarray(second.get_array()).ravel()
    red, green, blue, _ = second.to_rgba(values)[values.argmin()]
    assert red > max(green, blue)
