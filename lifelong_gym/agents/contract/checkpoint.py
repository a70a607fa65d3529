"""Model files: an uncompressed zip of one JSON text and one safetensors blob. Nothing is ever unpickled."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import math
import os
import platform
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from gymnasium import spaces

import lifelong_gym
from lifelong_gym.agents.contract.trees import Arrays
from lifelong_gym.envs.spaces import EntityBox
from lifelong_gym.errors import CheckpointError

FORMAT = 2  # 1: modules alone, no `parts`
TEXT, ARRAYS = "model.json", "arrays.safetensors"
SPACES = ("observation_space", "action_space")
LIBRARIES = ("numpy", "torch", "stable-baselines3", "gymnasium")

Target = str | os.PathLike[str] | IO[bytes]


def library_versions() -> dict[str, str]:
    """Versions of this package, of Python and of the libraries whose arithmetic a model depends on."""
    found = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"lifelong-gym": lifelong_gym.__version__, "python": platform.python_version(), **found}


@dataclass(frozen=True)
class Description:
    """What a model file says besides its arrays; everything is JSON-native.

    Attributes:
        agent: name of the class.
        policy: constructor arguments of the policy, its spaces encoded by `encode_space`.
        arguments: constructor arguments.
        tasks: `TaskSet.to_dict()` of the tasks learned on, None where each row was a task of its own.
        counters: whole numbers that say how far learning has come.
        parts: states of what else learning depends on besides modules, by name, as `trees.encode` writes them.
        versions: of the libraries, when it was written.
    """

    agent: str
    policy: dict[str, Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    tasks: dict[str, Any] | None = None
    counters: dict[str, int] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=library_versions)


def encoded(description: Description, arrays: Arrays) -> bytes:
    """The content of a model file.

    Args:
        description: what to say about the arrays.
        arrays: the arrays by name.

    Raises:
        CheckpointError: an argument or another part of the description isn't JSON-native.
    """
    try:
        text = json.dumps({"format": FORMAT, **asdict(description)}, indent=1)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"a model file holds JSON alone: {error}. Received {description.arguments}") from error
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(TEXT, text)
        archive.writestr(ARRAYS, safetensors.numpy.save({n: np.asarray(a, order="C") for n, a in arrays.items()}))
    return buffer.getvalue()


def write(target: Target, content: bytes) -> None:
    """Write a model file, all of it or nothing.

    Args:
        target: a path, to which ``.zip`` is added where it has no suffix (missing folders are made), or a binary
            file opened for writing.
        content: of the file.

    Raises:
        TypeError: neither.
    """
    check_target(target, "write")
    if isinstance(target, str | os.PathLike):
        _replace(_with_suffix(Path(target)), content)
    else:
        target.write(content)


def check_target(target: object, method: str) -> None:
    """Raise `TypeError` unless it is a path or a binary file with this method."""
    is_file = callable(getattr(target, method, None)) and not isinstance(target, io.TextIOBase)
    if not isinstance(target, str | os.PathLike) and not is_file:
        raise TypeError(f"`path` must be a path, or a binary file to {method}. Received {target!r}")


def _with_suffix(path: Path) -> Path:
    return path if path.suffix else path.with_name(f"{path.name}.zip")


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(source: Target) -> tuple[Description, Arrays]:
    """Read a model file.

    Args:
        source: a path, with or without ``.zip``, or a binary file opened for reading.

    Raises:
        FileNotFoundError: no such file.
        TypeError: neither a path nor a file.
        CheckpointError: truncated, damaged, foreign, or written by a newer version.
    """
    check_target(source, "read")
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        path = path if path.is_file() else path.with_name(f"{path.name}.zip")
        return _parse(path.read_bytes(), str(path))
    return _parse(source.read(), "the file")


def _parse(content: bytes, name: str) -> tuple[Description, Arrays]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            text, blob = _member(archive, TEXT), _member(archive, ARRAYS)
        description = _description(json.loads(text))
        return description, safetensors.numpy.load(blob)
    except (zipfile.BadZipFile, safetensors.SafetensorError, EOFError) as error:
        raise CheckpointError(f"{name} is truncated, damaged or no model file: {error}") from error
    except (
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
    ) as error:  # RecursionError, a RuntimeError: nested too deeply
        raise CheckpointError(f"{name} is not a model file of lifelong_gym: {error}") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if name not in archive.namelist():
        raise CheckpointError(f"it holds no {name!r} but {archive.namelist()}")
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise CheckpointError(f"{name!r} is compressed")  # which could unpack to any size
    return archive.read(name)


def _description(data: Any) -> Description:
    if not isinstance(data, dict) or type(data.get("format")) is not int:
        raise CheckpointError(f"{TEXT!r} names no format")
    if data["format"] > FORMAT:
        made_by = data.get("versions")
        raise CheckpointError(f"it has format {data['format']}, newer than {FORMAT}; it was written by {made_by}")
    if data["format"] == 1:
        data = {**data, "parts": {}}
    kinds: dict[str, Any] = dict.fromkeys(("arguments", "policy", "counters", "parts", "versions"), dict)
    kinds |= {"agent": str, "tasks": dict | None}
    for key, kind in kinds.items():
        if key not in data or not isinstance(data[key], kind):
            raise CheckpointError(f"{key!r} is missing in {TEXT!r} or of the wrong type")
    for key, value in data["counters"].items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            raise CheckpointError(f"counter {key!r} must be a whole number from 0 on. Received {value!r}")
    return Description(**{key: data[key] for key in kinds})


def check_class(description: Description, name: str) -> None:
    """Raise `CheckpointError` unless the file holds one of that class."""
    if description.agent != name:
        raise CheckpointError(f"the model file holds a model of {description.agent}, not of {name}")


def check_arrays(found: Mapping[str, npt.NDArray[Any]], expected: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise `CheckpointError` unless names, shapes and dtypes are as expected and all numbers are finite."""
    for name in sorted(expected.keys() ^ found.keys()):
        raise CheckpointError(f"array {name!r} is {'missing' if name in expected else 'not known here'}")
    for name, array in sorted(found.items()):
        if array.shape != expected[name].shape or array.dtype != expected[name].dtype:
            shapes = f"{expected[name].dtype} of shape {expected[name].shape}"
            raise CheckpointError(f"array {name!r} must be {shapes}. Received {array.dtype} of shape {array.shape}")
        if not np.isfinite(array).all():
            raise CheckpointError(f"array {name!r} holds values that are not finite")


def encode_space(space: spaces.Space[Any]) -> dict[str, Any]:
    """A Box, Discrete or MultiDiscrete space in JSON-native form.

    A Box's bounds are told as far as they don't repeat themselves, so that an image's are a number each; numbers that
    aren't finite become text.

    Raises:
        CheckpointError: another kind of space.
    """
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1 and not space.start.any():
        return {"type": "MultiDiscrete", "n": space.nvec.tolist()}
    if not isinstance(space, spaces.Box):
        raise CheckpointError(f"a space that is stored must be a Box, Discrete or MultiDiscrete. Received {space}")
    low, high = (
        _repeated([float(x) if np.isfinite(x) else str(x) for x in b.ravel()]) for b in (space.low, space.high)
    )
    data = {"type": "Box", "low": low, "high": high, "shape": list(space.shape), "dtype": str(space.dtype)}
    if isinstance(space, EntityBox):
        data["entities"] = list(space.blocks)
    return data


def _repeated(bounds: list[Any]) -> list[Any]:
    """The shortest beginning of a list that, repeated, gives all of it."""
    n = len(bounds)
    lengths = [i for i in range(1, n + 1) if n % i == 0]
    return next((bounds[:i] for i in lengths if bounds[:i] * (n // i) == bounds), bounds)


def decode_space(data: Mapping[str, Any]) -> spaces.Space[Any]:
    """The inverse of `encode_space`; raises `CheckpointError` on anything else."""
    with contextlib.suppress(KeyError, TypeError, ValueError, AssertionError):
        if data["type"] == "Discrete":
            return spaces.Discrete(data["n"], start=data["start"])
        if data["type"] == "MultiDiscrete":
            return spaces.MultiDiscrete(data["n"])
        if data["type"] == "Box":
            size = math.prod(data["shape"])
            bounds = [[float(x) for x in data[key]] for key in ("low", "high")]
            low, high = (np.array(b * (size // max(len(b), 1))).reshape(data["shape"]) for b in bounds)
            if "entities" in data:
                return EntityBox(low, high, *data["entities"])
            dtype: Any = np.dtype(data["dtype"]).type
            return spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)
    raise CheckpointError(f"not a space: {data!r}")
