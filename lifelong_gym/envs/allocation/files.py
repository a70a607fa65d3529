"""Prices in files: CSV, Parquet, data frames, and what is kept in the cache folder."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.envs.allocation.prices import Prices, days_of, from_columns
from lifelong_gym.errors import MissingExtraError, MissingLibraryError

CACHE = "LIFELONG_GYM_CACHE"
CSV, PARQUET = (".csv", ".csv.gz"), (".parquet", ".pq")
FRAME = "frame:"
NUMBERS, DATES = "iufb", "mM"  # kinds of dtypes


def cache_folder() -> Path:
    """Where data are kept: what the environment variable ``LIFELONG_GYM_CACHE`` names, or the user's own cache."""
    named = os.environ.get(CACHE)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(home) / "lifelong_gym"


def keep(prices: Prices, name: str) -> Path:
    """Write prices into the cache folder under a name, whole or not at all; they are read by `kept`."""
    path = cache_folder() / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"names": np.array(prices.names), **prices.fields}
    if prices.days is not None:
        arrays["days"] = prices.days.astype(np.int64)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)
    unfinished.replace(path)
    return path


def kept(name: str) -> Prices | None:
    """What `keep` wrote under this name; None where there is nothing."""
    path = cache_folder() / f"{name}.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        days = arrays["days"].astype("datetime64[s]") if "days" in arrays else None
        high, low = (arrays.get(field) for field in ("high", "low"))
        return Prices(tuple(arrays["names"].tolist()), arrays["close"], high, low, days)


def keep_frame(frame: Any) -> str:
    """Check a pandas DataFrame, keep it in the cache folder, and say by which name it is found there: its hash."""
    prices = from_frame(frame)
    name = f"frame-{prices.hash}"
    if kept(name) is None:
        keep(prices, name)
    return FRAME + prices.hash


def kept_frame(name: str) -> Prices:
    """What `keep_frame` kept.

    Raises:
        ValueError: it isn't there, or isn't what it was.
    """
    found = kept(f"frame-{name.removeprefix(FRAME)}")
    if found is None:
        raise ValueError(
            f"`prices`: {name!r} isn't in {cache_folder()}. Pass the DataFrame again, or set {CACHE} to the folder "
            "that has it"
        )
    if FRAME + found.hash != name:
        raise ValueError(f"`prices`: {name!r} in {cache_folder()} has been changed, its hash is {found.hash}")
    return found


def from_frame(frame: Any) -> Prices:
    """Prices of a pandas DataFrame: a row a day, a column an instrument.

    Columns of two levels are (field, instrument), as yfinance has them: ``Close``, and where there are any ``High``
    and ``Low``. The index holds the days, in ISO 8601 or as timestamps; where it is one of integers, the first column
    does if it isn't numbers, and else they are unknown.

    Raises:
        ValueError: columns that aren't numbers, or see `Prices`.
    """
    two_levels = getattr(frame.columns, "nlevels", 1) == 2
    if frame.shape[1] > 1 and frame.index.dtype.kind in "iu" and frame.dtypes.iloc[0].kind not in NUMBERS:
        frame = frame.iloc[:, 1:].set_axis(frame.iloc[:, 0])
    keys = [tuple(map(str, key)) if two_levels else ("close", str(key)) for key in frame.columns]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise ValueError(f"instruments must have different names. Received {twice[0][1]!r} more than once")
    columns = {}
    for i, (field, name) in enumerate(keys):
        try:
            if frame.dtypes.iloc[i].kind in DATES:
                raise TypeError
            columns[field, name] = frame.iloc[:, i].to_numpy(np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            raise ValueError(f"prices must be numbers. Those of {name!r} are {frame.dtypes.iloc[i]}") from None
    index = frame.index
    undated = index.dtype.kind in "iu"
    return from_columns(columns, None if undated else days_of(index.tz_localize(None) if _zoned(index) else index))


def _zoned(index: Any) -> bool:
    return getattr(index, "tz", None) is not None


def read(path: Path) -> Prices:
    """Prices of a CSV or Parquet file; see `read_csv` and `from_frame`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, or what can't be read as prices; the file is named.
        MissingLibraryError: a Parquet file, and no pandas or pyarrow.
    """
    if not path.exists():
        raise FileNotFoundError(f"`prices`: there is no file {path}{from_here(path)}")
    try:
        return read_csv(path) if path.name.endswith(CSV) else _read_parquet(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_here(path: Path) -> str:
    """For an error about a missing file: where a relative path begins, which specs and run files don't say."""
    return "" if path.is_absolute() else f" in {Path.cwd()}: a relative path is from the current folder"


def _read_parquet(path: Path) -> Prices:
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("pandas", "frames") from error
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise MissingLibraryError("pyarrow", "pyarrow") from error
    return from_frame(frame)


def read_csv(path: Path) -> Prices:
    """Prices of a CSV file, compressed or not: a row a day below a row of names.

    The first column holds the days where its first entry isn't a number. Two rows of names are fields and
    instruments, as yfinance's frames are written.

    Raises:
        ValueError: no rows, rows of unlike lengths, an entry that is no number, or see `Prices`.
    """
    with gzip.open(path, "rt", encoding="utf-8-sig") if path.suffix == ".gz" else path.open(encoding="utf-8-sig") as f:
        rows = [row for row in csv.reader(f) if row]
    keys, body = _header(rows)
    wrong = [i for i, row in enumerate(body) if len(row) != len(keys)]
    if not body or wrong:
        received = f"row {wrong[0]} of {len(body[wrong[0]])}" if wrong else "no rows"
        raise ValueError(f"there must be rows of {len(keys)} entries. Received {received}")
    dated = _number(body[0][0]) is None
    days = days_of([row[0] for row in body]) if dated else None
    values = {key: _column(body, i, key[1]) for i, key in enumerate(keys) if i > 0 or not dated}
    if len(values) < len(keys) - dated:
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"instruments must have different names. Received {twice[1]!r} more than once")
    return from_columns(values, days)


def _header(rows: Sequence[Sequence[str]]) -> tuple[list[tuple[str, str]], Sequence[Sequence[str]]]:
    """(field, instrument) of each column, and the rows below."""
    if len(rows) > 1 and rows[1][0] == "Ticker":
        below = 3 if len(rows) > 2 and not any(rows[2][1:]) else 2  # pandas writes the index's name in a row of its own
        return list(zip(rows[0], rows[1], strict=True)), rows[below:]
    return [("close", name) for name in (rows[0] if rows else [])], rows[1:]


def _number(text: str) -> float | None:
    try:
        return float(text) if text.strip() else np.nan
    except ValueError:
        return None


def _column(body: Sequence[Sequence[str]], i: int, name: str) -> npt.NDArray[np.float64]:
    numbers = [_number(row[i]) for row in body]
    if None in numbers:
        row = numbers.index(None)
        raise ValueError(f"prices must be numbers. That of {name!r} in row {row} is {body[row][i]!r}")
    return np.array(numbers, np.float64)
