"""Result files: what was run, with what, and what came out."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_gym.numerics.arrays import FloatArray

SCHEMA = 1
LONGEST = 60  # letters of a part of a file's name: a name may have 255
HASHED = ("settings", "figures")
PACKAGES = ("lifelong-gym", "numpy", "scipy", "numba", "gymnasium", "pettingzoo", "stable-baselines3", "torch")
_QUIET: Mapping[str, Any] = {"check": True, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}


@cache  # finding them takes longer than many a measurement
def versions() -> dict[str, str]:
    """Of Python and of the packages that results depend on."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def machine() -> dict[str, Any]:
    """What a reader needs to judge timings."""
    return {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()}


def revision() -> str | None:
    """Git's name of the checkout that this package is run from, or None for an installed one.

    Forty hex digits; with ``-dirty`` behind them, files differ from that revision.
    """
    here = Path(__file__)
    try:
        # A virtual environment may lie inside somebody else's repository.
        subprocess.run(["git", "ls-files", "--error-unmatch", here.name], cwd=here.parent, **_QUIET)
        described = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(described, cwd=here.parent, **_QUIET).stdout.decode().strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def digest(data: bytes) -> str:
    """SHA-256, its first 16 hex digits."""
    return hashlib.sha256(data).hexdigest()[:16]


def content_hash(content: Mapping[str, Any]) -> str:
    """Of a JSON-native mapping (16 hex digits)."""
    return digest(json.dumps(content, sort_keys=True).encode())


def native(value: Any) -> Any:
    """What `json.dumps` shall write for arrays and NumPy's numbers; its ``default``."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a result must be JSON-native. Received {type(value).__name__}")


def rounded(values: npt.ArrayLike, digits: int = 7) -> FloatArray:
    """To significant digits."""
    exact = np.asarray(values, np.float64)
    scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.where(exact == 0, 1.0, np.abs(exact)))))
    result: FloatArray = np.round(exact * scale) / scale
    return result


def short(values: npt.ArrayLike, digits: int = 4) -> Any:
    """As numbers, or lists of them, of few digits."""
    return rounded(values, digits).tolist()


def write_result(path: Path, settings: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Write a result file, all of it or nothing.

    Args:
        path: of the JSON file; its folder must exist.
        settings: what reproduces the run: tasks, seeds, budgets, arguments.
        figures: what came out; arrays become lists.
    """
    content = {
        "schema": SCHEMA,
        "versions": versions(),
        "machine": machine(),
        "settings": settings,
        "figures": figures,
    }
    plain = json.loads(json.dumps(content, default=native))
    hashes = {name: content_hash(plain[name]) for name in HASHED}
    write_atomically(path, in_lines({**plain, "hashes": hashes}))


def in_lines(content: Mapping[str, Any]) -> str:
    """JSON with a line for every key and for every key within, however long its value.

    >>> print(in_lines({"schema": 1, "figures": {"area": [0.5, 1.0], "name": "a"}}), end="")
    {
     "schema": 1,
     "figures": {
      "area": [0.5, 1.0],
      "name": "a"
     }
    }
    """
    keys = []
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(within)}" for name, within in value.items())
            keys.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        else:
            keys.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(keys) + "\n}\n"


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the whole new one."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def file_name(*parts: str) -> str:
    """Parts of a file's name put together, in letters that every disk takes; what differs may become the same.

    >>> file_name("lifelong", "LifelongCartPole-v0", "PPO: mine")
    'lifelong--LifelongCartPole-v0--PPO__mine'
    """
    plain = ["".join(c if c.isascii() and (c.isalnum() or c in "-+_.") else "_" for c in part) for part in parts]
    return "--".join(part[:LONGEST] for part in plain)


def read_result(path: Path) -> dict[str, Any]:
    """Read a result file.

    Raises:
        ValueError: truncated, no result file, of another schema, or edited since it was written.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # bytes that aren't UTF-8, too
        raise ValueError(f"{path} is truncated or not a result file: {error}") from None
    if not isinstance(content, dict) or "schema" not in content:
        raise ValueError(f"{path} is not a result file: it has no schema")
    if content["schema"] != SCHEMA:
        raise ValueError(f"{path} has schema {content['schema']!r}; this version reads {SCHEMA}")
    hashes = content.get("hashes")
    for name in HASHED:
        if not isinstance(hashes, dict) or name not in hashes or name not in content:
            raise ValueError(f"{path} is not a result file: `{name}` or its hash is missing")
        if content_hash(content[name]) != hashes[name]:
            raise ValueError(f"{path}: `{name}` was edited: its hash is not {hashes[name]}")
    return content
