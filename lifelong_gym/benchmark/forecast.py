"""How long it will take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar


class Kind(Protocol):
    """What a forecast needs of a job."""

    @property
    def kind(self) -> Any:
        """Hashable; jobs of one kind take about as long."""


AnyJob = TypeVar("AnyJob", bound=Kind)


class Forecast(Generic[AnyJob]):
    """How long the rest will take, from what jobs of the same kind took so far."""

    def __init__(self, specs: Sequence[AnyJob], n_workers: int) -> None:
        """Nothing has begun."""
        self.specs = specs
        self._kinds = [spec.kind for spec in specs]
        self._n_workers = n_workers
        self._began: dict[int, float] = {}
        self._shares = dict.fromkeys(range(len(specs)), 0.0)
        self._seconds: dict[Any, float] = {}

    def update(self, number: int, share: float) -> None:
        """A run has begun, or come so far."""
        now = time.monotonic()
        self._began.setdefault(number, now)
        self._shares[number] = share
        if share > 0:
            self._seconds[self._kinds[number]] = (now - self._began[number]) / share

    def finish(self, number: int) -> float:
        """A run has ended; returns how many seconds it took."""
        seconds = time.monotonic() - self._began.get(number, time.monotonic())
        self._seconds[self._kinds[number]] = seconds
        self._shares.pop(number)
        return seconds

    def left(self) -> str:
        """In words; empty while nothing can be said."""
        if not self._seconds:
            return ""
        typical = sum(self._seconds.values()) / len(self._seconds)
        needed = [(1 - share) * self._seconds.get(self._kinds[i], typical) for i, share in self._shares.items()]
        seconds = max(sum(needed) / self._n_workers, max(needed, default=0.0))
        return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"
