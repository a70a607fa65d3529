"""From runs to tables, figures, sentences and a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifelong_gym.imports import lazy

if TYPE_CHECKING:
    from lifelong_gym.reports.report import write_report

__all__ = ["write_report"]

__getattr__ = lazy(__name__, {"report": ["write_report"]})
