"""Families that name no reference: raw returns are compared, and the page says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lifelong_gym.benchmark.records import load, read_runs
from lifelong_gym.reports.metric_tables import tables
from lifelong_gym.reports.report import write_report
from lifelong_gym.reports.study import studies
from lifelong_gym.reports.words import verdict
from tests.synthetic_runs import RAW, lifelong, multi_task, settings, write
from tests.test_report import Page, numbers


def test_raw_metrics_by_hand(tmp_path: Path) -> None:
    """Those that need a scale are left out, the others are sums of rewards."""
    line = np.linspace(0, 1, 6)
    for seed in (0, 1):
        write(tmp_path, settings("A", RAW, n_tasks=2, seed=seed), np.stack([line, line / 2], axis=1))
        write(
            tmp_path, settings("A+scratch", RAW, n_tasks=2, seed=seed, alone=True), np.stack([line, line], axis=1) / 2
        )
    (study,), _ = studies(read_runs(tmp_path))
    metrics, scratch = tables(study)
    found = numbers(metrics)["A"]
    # Returns at performance p are -200 + 180 p in the first task, 2 more in the second.
    expected = {
        "final return": (-20 - 108) / 2,
        "area under the curve": (-110 - 153) / 2,
        "early area": (-199 - 172) / 2,
        "worst task": -108,
        "failures": 0.25,
    }
    assert found == pytest.approx(expected)
    assert [c.name for c in scratch.columns] == ["jump-start", "asymptotic gain"]
    assert numbers(scratch)["A"]["asymptotic gain"] == pytest.approx(45)
    assert scratch.columns[1].unit == "return"
    assert metrics.best(0) == {"A"}  # a negative return is no loss


def test_the_page_says_that_returns_are_raw(tmp_path: Path) -> None:
    """In the setting, the verdict, the figures and the details; families with a scale are pooled without it."""
    for label, top in (("A", 0.9), ("B", 0.5)):
        multi_task(tmp_path, label, range(2), RAW, top=top)
        multi_task(tmp_path, label, range(2), top=top)
        multi_task(tmp_path, label, range(2), "LifelongDoubleMass-v0", top=top)
        lifelong(tmp_path, label, range(2), family=RAW)
    page, *written = write_report(tmp_path)
    text = Page(page.read_text(encoding="utf-8")).text
    assert f"{RAW} (hetero) names no references" in text
    assert "Performance is normalised per task: 0 is the return of doing nothing" in text
    names = {path.stem for path in written}
    assert {
        f"multi_task-{RAW}-hetero-aggregates",
        f"multi_task-{RAW}-hetero-tasks",
        "overall-multi_task-aggregates",
    } <= names
    heading = (tmp_path / "report" / "tables" / "overall-multi_task-aggregates.md").read_text(encoding="utf-8")
    assert RAW not in heading
    raw = (tmp_path / "report" / "tables" / f"multi_task-{RAW}-hetero-aggregates.md").read_text(encoding="utf-8")
    assert "optimality gap" not in raw
    curves = (tmp_path / "report" / "figures" / f"multi_task-{RAW}-hetero-curves.svg").read_text(encoding="utf-8")
    assert "<!-- return, -->" in curves or "<!-- return,\n" in curves
    assert "best known policy" not in curves.replace("\n", " ")


def test_the_verdict_on_raw_returns_names_no_scale(tmp_path: Path) -> None:
    """Who leads by returns; nothing about doing nothing, or about the best policy."""
    multi_task(tmp_path, "A", range(5), RAW, top=0.9)
    multi_task(tmp_path, "B", range(5), RAW, top=0.1)
    (study,), _ = studies(read_runs(tmp_path))
    said = " ".join(verdict(study))
    assert said.startswith("**A** has the highest final return: −")
    assert "**A** is clearly ahead of **B**" in said
    assert not any(word in said for word in ("scale", "best known", "doing nothing", "little is learned", "normalised"))


def test_raw_runs_load(tmp_path: Path) -> None:
    """With their returns, and without what needs a reference."""
    multi_task(tmp_path, "A", range(2), RAW)
    frame = load(tmp_path)
    assert frame[["normalised", "best", "zero"]].isna().all().all()
    assert np.isfinite(frame["return"]).all()
