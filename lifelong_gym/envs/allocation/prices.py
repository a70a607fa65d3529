"""Prices of a universe of instruments: checked once, and named by what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.numerics.arrays import BoolArray, FloatArray

FIELDS = ("close", "high", "low")
SECONDS = "datetime64[s]"


@dataclass(frozen=True, eq=False)
class Prices:
    """Positive prices of instruments on the same days, without gaps.

    Attributes:
        names: of the instruments, all different.
        close: last price of each day, shape (n_days, n_instruments).
        high: highest of each day, likewise; None: unknown. There is either both or neither.
        low: lowest of each day.
        days: when, sorted, shape (n_days,), ``datetime64[s]``; None: unknown.

    Raises:
        ValueError: shapes that differ, names or days twice, unsorted days, a gap, or a price that isn't positive and
            finite; instrument and day are named.
    """

    names: tuple[str, ...]
    close: FloatArray
    high: FloatArray | None = None
    low: FloatArray | None = None
    days: npt.NDArray[np.datetime64] | None = None

    def __post_init__(self) -> None:
        _check_names(self.names)
        if (self.high is None) != (self.low is None):
            raise ValueError("prices must have `high` and `low`, or neither. Received one of them")
        for field, values in self.fields.items():
            if values.ndim != 2 or values.shape[1] != len(self.names) or values.shape != self.close.shape:
                wanted = (len(self.close), len(self.names))
                raise ValueError(f"{field} prices must have shape {wanted}. Received {values.shape}")
        self._check_days()
        for field, values in self.fields.items():
            self._check_values(field, values)

    @property
    def fields(self) -> dict[str, FloatArray]:
        """Those that are known, by name."""
        known = {field: getattr(self, field) for field in FIELDS}
        return {field: values for field, values in known.items() if values is not None}

    @property
    def n_days(self) -> int:
        """Number of days."""
        return len(self.close)

    @property
    def relatives(self) -> FloatArray:
        """Each day's price over the day before's, shape (n_days, n_instruments); 1 on the first day."""
        return np.vstack([np.ones((1, len(self.names))), self.close[1:] / self.close[:-1]])

    @cached_property
    def hash(self) -> str:
        """Of names, days and prices, 16 hexadecimal digits."""
        found = hashlib.sha256("\n".join(self.names).encode())
        if self.days is not None:
            found.update(self.days.astype(SECONDS).astype(np.int64).tobytes())
        for field, values in self.fields.items():
            found.update(field.encode() + np.ascontiguousarray(values).tobytes())
        return found.hexdigest()[:16]

    def day_text(self, row: int) -> str:
        """A day in words: its date, or its row where dates are unknown."""
        if self.days is None:
            return f"row {row}"
        text = str(np.datetime_as_string(self.days[row].astype(SECONDS)))
        return text.removesuffix("T00:00:00")

    def _check_days(self) -> None:
        if self.days is None:
            return
        if self.days.shape != (self.n_days,):
            raise ValueError(f"there must be a day for each of {self.n_days} rows. Received {self.days.shape}")
        if np.isnat(self.days).any():
            raise ValueError(f"every row must have a day. Row {int(np.argmax(np.isnat(self.days)))} has none")
        steps = np.diff(self.days.astype(SECONDS).astype(np.int64))
        if (steps <= 0).any():
            row = int(np.argmax(steps <= 0)) + 1
            what = "twice" if steps[row - 1] == 0 else f"after {self.day_text(row - 1)}"
            raise ValueError(f"days must be sorted and differ. Received {self.day_text(row)} {what} (row {row})")

    def _check_values(self, field: str, values: FloatArray) -> None:
        good: BoolArray = np.isfinite(values) & (values > 0)
        if not good.all():
            row, column = np.argwhere(~good)[0].tolist()
            where = f"{self.names[column]!r}, {self.day_text(row)}"
            if np.isnan(values[row, column]):
                raise ValueError(f"prices must have no gaps: the {field} price of {where} is missing")
            raise ValueError(
                f"prices must be positive and finite. The {field} price of {where} is {values[row, column]:g}"
            )


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ValueError("prices must be of at least one instrument. Received none")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"instruments must have different names. Received {twice[0]!r} more than once")


def days_of(texts: Iterable[object]) -> npt.NDArray[np.datetime64]:
    """Days in ISO 8601, such as ``2019-12-31``, or anything else that NumPy reads as a time.

    Raises:
        ValueError: one that can't be read; its row is named.
    """
    found = []
    for row, text in enumerate(texts):
        try:
            found.append(np.datetime64(str(text), "s"))
        except ValueError:
            raise ValueError(f"days must be in ISO 8601, such as 2019-12-31. Row {row} has {text!r}") from None
    return np.array(found, SECONDS)


def from_columns(columns: Mapping[tuple[str, str], npt.ArrayLike], days: npt.NDArray[np.datetime64] | None) -> Prices:
    """Prices from columns by (field, instrument); fields that aren't ours, such as volumes, are left out.

    Raises:
        ValueError: no closing prices, high or low prices of some instruments only, or see `Prices`.
    """
    by_field: dict[str, dict[str, Any]] = {field: {} for field in FIELDS}
    for (field, name), values in columns.items():
        if field.lower() in by_field:
            by_field[field.lower()][name] = values
    names = tuple(by_field["close"])
    if not names:
        raise ValueError(f"there must be columns of closing prices. Received {[field for field, _ in columns]}")
    tables: dict[str, FloatArray | None] = {}
    for field, its in by_field.items():
        if its and set(its) != set(names):
            missing = sorted(set(names) ^ set(its))[0]
            raise ValueError(f"{field} prices must be of the same instruments as closing prices. See {missing!r}")
        tables[field] = np.stack([np.asarray(its[name], np.float64) for name in names], axis=1) if its else None
    close = tables["close"]
    assert close is not None
    return Prices(names, close, tables["high"], tables["low"], days)
