"""Where prices come from: libraries that are installed, files, a download that is kept, or a process of our own."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_gym.envs.allocation import files
from lifelong_gym.envs.allocation.prices import Prices
from lifelong_gym.errors import MissingLibraryError, one_of, unexpected

UNIVERSAL = ("nyse_o", "nyse_n", "tse", "sp500", "djia", "msci")
# Its files are read only, so what it depends on (pandas < 3, against constraints.txt) isn't needed.
UNIVERSAL_PORTFOLIOS = "--no-deps 'universal-portfolios>=0.4.17' (extra `olps`, which is not for constraints.txt)"
HOST, PATIENCE = ("query1.finance.yahoo.com", 443), 3.0  # seconds


def named(given: Any) -> Any:
    """What an argument ``prices`` is in specs and run files: a DataFrame is kept, and named by its hash."""
    return files.keep_frame(given) if hasattr(given, "columns") and hasattr(given, "iloc") else given


def load(prices: str | Mapping[str, Any]) -> Prices:
    """The prices that an argument ``prices`` names.

    Args:
        prices: a source's name, a path, what `named` makes of a DataFrame, or a dict with a ``source`` and what that
            is told.

    Raises:
        UnknownNameError: no such source; the nearest is suggested.
        UnexpectedArgumentError: a source is told what it doesn't ask for.
        ValueError: prices that can't be used; see `Prices`.
        FileNotFoundError: no such file.
        MissingLibraryError: a package is missing; the error says which, and how it is installed.
        OSError: something would have to be downloaded, and can't be reached.
    """
    told = {"source": prices} if isinstance(prices, str) else dict(prices)
    source = told.pop("source", None)
    if isinstance(source, str) and not told:
        if source.startswith(files.FRAME):
            return files.kept_frame(source)
        if source.endswith((*files.CSV, *files.PARQUET)):
            return files.read(Path(source))
    make, known = SOURCES[one_of("source of prices", source, SOURCES)]
    for name in told:
        if name not in known:
            raise unexpected(f"prices={source!r}", name, known)
    return make(source, **told)


def _skfolio(source: str) -> Prices:
    """Twenty stocks of the S&P 500, adjusted closing prices, 1990 to 2022; read without importing the package."""
    return files.read_csv(_inside("skfolio", "datasets/data/sp500_dataset.csv.gz", "'lifelong-gym[portfolio]'"))


def _universal(source: str) -> Prices:
    """One of the sets of universal-portfolios; its package isn't imported."""
    path = _inside("universal", f"data/{source}.csv", UNIVERSAL_PORTFOLIOS)
    with path.open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    plain = [name for name in header if name]
    names = tuple(name if plain.count(name) == 1 else f"instrument_{i + 1}" for i, name in enumerate(header))
    return Prices(names, np.array(rows, np.float64))


def _inside(package: str, path: str, requirement: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingLibraryError(package, requirement)
    file = Path(next(iter(found.submodule_search_locations))) / path
    if not file.exists():
        raise FileNotFoundError(f"this version of {package} has no {path}; install the one in constraints.txt")
    return file


def planted(
    source: str = "planted",
    seed: int = 0,
    days: int = 772,
    instruments: int = 68,
    reversion: float = 0.1,
    volatility: float = 0.02,
    market: float = 0.01,
    drift: float = 3e-4,
) -> Prices:
    """Prices that revert: of a day's own move, this share is taken back on the next day.

    Each instrument's own daily log-return is ``r = -reversion * r' + volatility * z``, where r' is the day before's;
    a market that all share, ``drift + market * z``, is added.

    Args:
        source: the source's name.
        seed: an integer from 0 on.
        days: at least 1.
        instruments: at least 1.
        reversion: in (-1, 1).
        volatility: of a day, at least 0.
        market: volatility that all share, at least 0.
        drift: of a day.

    Raises:
        ValueError: one of them isn't what it must be.
    """
    for name, value, least in (("seed", seed, 0), ("days", days, 1), ("instruments", instruments, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"`{name}` of planted prices must be an integer of at least {least}. Received {value!r}")
    for name, number, low in (("volatility", volatility, 0.0), ("market", market, 0.0), ("drift", drift, -1.0)):
        if not low <= number <= 1.0:
            raise ValueError(f"`{name}` of planted prices must be in [{low:g}, 1]. Received {number!r}")
    if not -1.0 < reversion < 1.0:
        raise ValueError(f"`reversion` of planted prices must be in (-1, 1). Received {reversion!r}")
    rng = np.random.default_rng(seed)
    own = volatility * rng.standard_normal((days, instruments))
    own[0] = 0.0
    for day in range(1, days):
        own[day] -= reversion * own[day - 1]
    everybody = market * rng.standard_normal((days, 1)) + drift
    return Prices(tuple(f"P{i + 1}" for i in range(instruments)), np.exp(np.cumsum(own + everybody, axis=0)))


def _yfinance(source: str, tickers: Any = (), start: str = "", end: str = "") -> Prices:
    """Adjusted prices that were downloaded once: afterwards they come from the cache folder, wherever that is."""
    asked = {"tickers": tickers, "start": start, "end": end}
    if not isinstance(tickers, list) or not tickers or not start or not end:
        raise ValueError(f"prices of yfinance need a list of `tickers`, a `start` and an `end`. Received {asked}")
    name = f"yfinance-{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]}"
    found = files.kept(name)
    if found is None:
        found = _downloaded(tickers, start, end)
        files.keep(found, name)
    return found


def _downloaded(tickers: list[str], start: str, end: str) -> Prices:
    try:
        import yfinance
    except ImportError as error:
        raise MissingLibraryError("yfinance", "yfinance") from error
    try:
        socket.create_connection(HOST, PATIENCE).close()
    except OSError as error:
        raise ConnectionError(
            f"prices of {', '.join(tickers)} would be downloaded, and {HOST[0]} can't be reached ({error}). Once "
            f"downloaded they are read from the cache folder ({files.CACHE})"
        ) from error
    frame = yfinance.download(tickers, start=start, end=end, auto_adjust=True, progress=False)
    return files.from_frame(frame)


SOURCES: dict[str, tuple[Callable[..., Prices], tuple[str, ...]]] = {
    "skfolio": (_skfolio, ()),
    "planted": (planted, ("seed", "days", "instruments", "reversion", "volatility", "market", "drift")),
    "yfinance": (_yfinance, ("tickers", "start", "end")),
    **{name: (_universal, ()) for name in UNIVERSAL},
}
