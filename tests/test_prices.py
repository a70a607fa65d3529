"""Prices: where they come from, how they are kept, and what is wrong with them."""

from __future__ import annotations

import gzip
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

import lifelong_gym
from lifelong_gym.envs.allocation import files, sources
from lifelong_gym.envs.allocation.portfolio import Portfolio
from lifelong_gym.envs.allocation.prices import Prices
from lifelong_gym.envs.tables import Tables
from lifelong_gym.errors import MissingLibraryError, UnexpectedArgumentError, UnknownNameError

ID = "LifelongPortfolio-v0"
DATES = pd.date_range("2020-01-01", periods=30, freq="B")


def table(n_days: int = 30, n: int = 3, seed: int = 0) -> np.ndarray:
    """Positive prices."""
    prices: np.ndarray = 50 * np.exp(np.cumsum(0.02 * np.random.default_rng(seed).standard_normal((n_days, n)), axis=0))
    return prices


def frame(**changes: Any) -> pd.DataFrame:
    """Of three instruments."""
    return pd.DataFrame(table(), DATES, ["AA", "BB", "CC"]).assign(**changes)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own."""
    monkeypatch.setenv("LIFELONG_GYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_skfolios_stocks_are_those_of_its_loader() -> None:
    """Read by path, which costs a tenth; names and days too."""
    from skfolio.datasets import load_sp500_dataset

    theirs, ours = load_sp500_dataset(), sources.load("skfolio")
    np.testing.assert_array_equal(ours.close, theirs.to_numpy())
    assert ours.names == tuple(theirs.columns)
    assert (ours.day_text(0), ours.day_text(ours.n_days - 1)) == ("1990-01-02", "2022-12-28")
    code = f"import sys, {sources.__name__} as s; s.load('skfolio'); print({{'skfolio', 'pandas'}} & {{*sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_planted_prices_revert_as_planted() -> None:
    """What is an instrument's own has the autocorrelation that was asked for, and the seed decides."""
    prices = sources.load({"source": "planted", "seed": 3, "days": 4000, "instruments": 40})
    logs = np.diff(np.log(prices.close), axis=0)
    own = logs - logs.mean(axis=1, keepdims=True)
    correlation = (own[1:] * own[:-1]).sum() / (own**2).sum()
    assert correlation == pytest.approx(-0.1, abs=0.01)
    assert own.std() == pytest.approx(0.02, rel=0.03)
    assert logs.mean(axis=1).std() == pytest.approx(0.01, rel=0.1)
    again = sources.load({"source": "planted", "seed": 3, "days": 4000, "instruments": 40})
    assert again.hash == prices.hash
    assert sources.load("planted").hash != sources.load({"source": "planted", "seed": 1}).hash
    assert sources.load("planted").close.shape == (772, 68)


def test_the_sets_of_universal_portfolios_are_read_and_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns without a name of their own are numbered; whoever has no such package is told how to get it."""
    with pytest.raises(MissingLibraryError, match=r"`universal` is not installed.*--no-deps.*0\.4\.17.*extra `olps`"):
        _without(monkeypatch, "universal")
    folder = tmp_path / "site" / "universal" / "data"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "tse.csv").write_text("A,B,,\n1.0,1.1,0.9,2\n1.1,1.2,0.8,2\n")
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path / "site")
    prices = sources.load("tse")
    assert prices.names == ("A", "B", "instrument_3", "instrument_4")
    assert prices.days is None
    np.testing.assert_array_equal(prices.close, [[1.0, 1.1, 0.9, 2], [1.1, 1.2, 0.8, 2]])
    with pytest.raises(FileNotFoundError, match=r"this version of universal has no data/msci\.csv"):
        sources.load("msci")


def _without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    find = sources.importlib.util.find_spec
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None if name == package else find(name))
    sources.load("tse" if package == "universal" else package)


def test_who_has_no_skfolio_is_told_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the other sources work all the same."""
    with pytest.raises(MissingLibraryError, match=r"`skfolio` is not installed.*'lifelong-gym\[portfolio\]'"):
        _without(monkeypatch, "skfolio")
    assert sources.load("planted").n_days == 772


def test_yfinances_prices_are_downloaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the cache folder has needs neither package nor network; what it hasn't is refused at once."""
    asked = {"source": "yfinance", "tickers": ["AA", "BB"], "start": "2020-01-01", "end": "2020-03-01"}
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(MissingLibraryError, match="pip install yfinance"):
        sources.load(asked)
    monkeypatch.setitem(sys.modules, "yfinance", type(sys)("yfinance"))
    monkeypatch.setattr(sources, "HOST", ("localhost", 1))
    with pytest.raises(ConnectionError, match=r"AA, BB would be downloaded, and localhost can't be reached"):
        sources.load(asked)
    with pytest.raises(ValueError, match="prices of yfinance need a list of `tickers`, a `start` and an `end`"):
        sources.load({"source": "yfinance", "tickers": ["AA"]})
    told = json.dumps({name: asked[name] for name in ("tickers", "start", "end")}, sort_keys=True)
    prices = Prices(("AA", "BB"), table(n=2))
    files.keep(prices, f"yfinance-{sources.hashlib.sha256(told.encode()).hexdigest()[:16]}")
    assert sources.load(asked).hash == prices.hash


def test_a_frame_is_named_by_its_hash(cache: Path) -> None:
    """In specs, in other processes, wherever the cache folder is; it isn't copied into either."""
    env = gym.make(ID, prices=frame(), m=2, window=5, days=10, backend="python")
    assert env.spec is not None
    name = env.spec.kwargs["prices"]
    assert name == f"frame:{files.from_frame(frame()).hash}"
    assert [path.name for path in cache.iterdir()] == [f"frame-{name[6:]}.npz"]
    assert len(env.spec.to_json()) < 3000
    first = env.reset(seed=0)[0]
    for spec in (gym.envs.registration.EnvSpec.from_json(env.spec.to_json()), pickle.loads(pickle.dumps(env.spec))):
        np.testing.assert_array_equal(gym.make(spec).reset(seed=0)[0], first)
    family = lifelong_gym.family(ID, prices=frame(), m=2, window=5, days=10)
    assert family is env.unwrapped.core.family  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(family)).data.hash == name[6:]
    assert len(pickle.dumps(family)) < 1000
    code = (
        f"import lifelong_gym; print(lifelong_gym.family({ID!r}, prices={name!r}, m=2, window=5, days=10).data.names)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "('AA', 'BB', 'CC')"


def test_a_frame_that_is_gone_or_changed_is_refused(cache: Path) -> None:
    """With the name of the folder."""
    name = files.keep_frame(frame())
    files.keep(Prices(("AA",), table(n=1)), f"frame-{name[6:]}")
    with pytest.raises(ValueError, match="has been changed, its hash is"):
        sources.load(name)
    (cache / f"frame-{name[6:]}.npz").unlink()
    with pytest.raises(ValueError, match=r"isn't in .*cache\. Pass the DataFrame again, or set LIFELONG_GYM_CACHE"):
        sources.load(name)


def test_files_and_frames_say_the_same(tmp_path: Path) -> None:
    """CSV, compressed or not, Parquet and frames; with and without days; with high and low prices as yfinance has."""
    plain = frame()
    plain.to_csv(tmp_path / "p.csv")
    (tmp_path / "p.csv.gz").write_bytes(gzip.compress((tmp_path / "p.csv").read_bytes()))
    wanted = files.from_frame(plain).hash
    assert {sources.load(str(tmp_path / name)).hash for name in ("p.csv", "p.csv.gz")} == {wanted}
    fields = {"Close": plain, "High": plain * 1.01, "Low": plain * 0.99, "Volume": plain * 1000}
    ranged = pd.concat(fields, axis=1, names=["Price", "Ticker"])
    ranged.rename_axis("Date").to_csv(tmp_path / "y.csv")
    found = sources.load(str(tmp_path / "y.csv"))
    assert found.hash == files.from_frame(ranged).hash != wanted
    np.testing.assert_array_equal(found.fields["high"], plain * 1.01)
    undated = pd.DataFrame(table(), columns=["AA", "BB", "CC"])
    undated.to_csv(tmp_path / "u.csv", index=False)
    assert sources.load(str(tmp_path / "u.csv")).days is files.from_frame(undated).days is None
    zoned = plain.set_axis(DATES.tz_localize("UTC"))
    assert files.from_frame(zoned).hash == wanted
    for first in (DATES, [f"{day:%Y-%m-%d}" for day in DATES]):
        assert files.from_frame(plain.assign(day=first)[["day", *plain.columns]].reset_index(drop=True)).hash == wanted
    with pytest.raises(ValueError, match=r"prices must be numbers\. Those of 'day' are datetime64"):
        files.from_frame(plain.assign(day=DATES))
    pytest.importorskip("pyarrow")
    plain.to_parquet(tmp_path / "p.parquet")
    assert sources.load(str(tmp_path / "p.parquet")).hash == wanted


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the engines that pandas knows is there."""
    (tmp_path / "p.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    with pytest.raises(MissingLibraryError, match="pip install pyarrow"):
        sources.load(str(tmp_path / "p.parquet"))


def changed(row: int, value: float, column: str = "BB") -> pd.DataFrame:
    """One price is another."""
    result = frame()
    result.loc[DATES[row], column] = value
    return result


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (changed(7, np.nan), "no gaps: the close price of 'BB', 2020-01-10 is missing"),
        (changed(7, 0.0), "positive and finite. The close price of 'BB', 2020-01-10 is 0"),
        (changed(3, -1.0, "CC"), "The close price of 'CC', 2020-01-06 is -1"),
        (changed(0, np.inf, "AA"), "The close price of 'AA', 2020-01-01 is inf"),
        (frame().iloc[[0, 1, 1, 2]], r"sorted and differ. Received 2020-01-02 twice \(row 2\)"),
        (frame().iloc[[0, 2, 1]], r"sorted and differ. Received 2020-01-02 after 2020-01-03 \(row 2\)"),
        (frame().set_axis(["AA", "BB", "AA"], axis=1), "different names. Received 'AA' more than once"),
        (frame(CC="x"), "prices must be numbers. Those of 'CC' are"),
        (frame()[[]], "there must be columns of closing prices"),
        (frame().set_axis(["x", *DATES[1:]]), "days must be in ISO 8601, such as 2019-12-31. Row 0 has 'x'"),
        (pd.concat({"High": frame()}, axis=1), r"columns of closing prices. Received \['High', 'High', 'High'\]"),
        (pd.concat({"Close": frame(), "High": frame()}, axis=1), "must have `high` and `low`, or neither"),
        (
            pd.concat({"Close": frame(), "High": frame()[["AA"]], "Low": frame()}, axis=1),
            "high prices must be of the same instruments as closing prices. See 'BB'",
        ),
    ],
)
def test_bad_frames(given: pd.DataFrame, message: str, cache: Path) -> None:
    """Instrument and day are named, and nothing is kept."""
    with pytest.raises(ValueError, match=message):
        gym.make(ID, prices=given, m=2, window=5, days=10)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"p\.csv: there must be rows of 0 entries. Received no rows"),
        ("AA,BB\n1,2\n3\n", "rows of 2 entries. Received row 1 of 1"),
        ("AA,BB\n1,2\n3,x\n", "prices must be numbers. That of 'BB' in row 1 is 'x'"),
        ("AA,BB\n1,2\n3,\n", "no gaps: the close price of 'BB', row 1 is missing"),
        ("AA,AA\n1,2\n3,4\n", "different names. Received 'AA' more than once"),
        ("d,AA\n1/2/2020,2\n", "ISO 8601, such as 2019-12-31. Row 0 has '1/2/2020'"),
        ("d,AA\n2020-01-02,2\n2020-01-01,2\n", "Received 2020-01-01 after 2020-01-02"),
    ],
)
def test_bad_files(text: str, message: str, tmp_path: Path) -> None:
    """The file is named too."""
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        sources.load(str(tmp_path / "p.csv"))


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ("skfolo", UnknownNameError, "unknown source of prices 'skfolo'. Did you mean 'skfolio'"),
        ("nowhere.csv", FileNotFoundError, r"`prices`: there is no file nowhere\.csv in /.*: a relative path is from"),
        ("/nowhere.csv", FileNotFoundError, r"`prices`: there is no file /nowhere\.csv$"),
        ({"days": 9}, UnknownNameError, "unknown source of prices None"),
        ({"source": "planted", "sed": 1}, UnexpectedArgumentError, "'sed'. Did you mean 'seed'"),
        ({"source": "planted", "seed": -1}, ValueError, "`seed` of planted prices must be an integer of at least 0"),
        ({"source": "planted", "reversion": 1.0}, ValueError, r"`reversion` of planted prices must be in \(-1, 1\)"),
        ({"source": "planted", "volatility": 2}, ValueError, r"`volatility` of planted prices must be in \[0, 1\]"),
        (7, ValueError, "`prices` must be str or dict. Received 7"),
    ],
)
def test_bad_sources(given: Any, kind: type[Exception], message: str) -> None:
    """What there is, and what was received."""
    with pytest.raises(kind, match=message):
        lifelong_gym.family(ID, prices=given)


def test_prices_are_one_table_whatever_the_number_of_tasks() -> None:
    """Ten thousand portfolios read the same arrays as one."""
    family, other = (Portfolio(prices={"source": "planted", "seed": seed}) for seed in (0, 1))
    few, many = (Tables.of(family, family.parameters.sample(n)) for n in (1, 10_000))
    assert all(np.shares_memory(a, b) for a, b in zip(few.arrays, many.arrays, strict=True))
    assert sum(array.nbytes for array in many.arrays) == 2 * 772 * 68 * 8
    assert many.hash != Tables.of(other, family.parameters.sample(10_000)).hash
