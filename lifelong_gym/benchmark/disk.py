"""Where results go: checked before work begins, so that none is lost at its end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from lifelong_gym.errors import LifelongGymError

ROOM = 2**20  # bytes that a folder must have room for


class DiskError(LifelongGymError, OSError):
    """A place that can't be written to, or a file that can't be read."""


def reason(error: Exception) -> str:
    """In words; the operating system's with the file that they are about, and without a number."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.strerror}: {error.filename}" if error.filename else error.strerror


def claim_folder(folder: Path) -> Path:
    """Make a folder where there is none, and see that files can be written into it; returns it.

    Raises:
        DiskError: it can't be made or written to, or has no room.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(ROOM))
    except FileExistsError:
        raise DiskError(f"{folder} can't be a folder: a file has that name") from None
    except OSError as error:
        raise DiskError(f"nothing can be written into {folder} ({reason(error)})") from error
    return folder


def claim_file(path: Path) -> Path:
    """See that a file can be written, in a folder that is made where there is none; returns its path.

    Raises:
        DiskError: its folder can't be written to, or a folder has that name.
    """
    if path.is_dir():
        raise DiskError(f"{path} can't be a file: a folder has that name")
    claim_folder(path.parent)
    return path


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that it is there as a whole or not at all.

    Args:
        path: of the file.
        write: called with the path to write to, which has the same name; what it puts beside it comes along.
    """
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        write(Path(folder) / path.name)
        for part in Path(folder).iterdir():
            os.replace(part, path.parent / part.name)


def keep(path: Path, write: Callable[[Path], object]) -> Path:
    """Write what took long to make, as `replace_file` does, in a temporary folder where its own fails.

    Returns:
        Where it is.

    Raises:
        DiskError: it can't be written anywhere.
    """
    try:
        replace_file(path, write)
        return path
    except OSError as error:
        refuge = Path(tempfile.mkdtemp(prefix="lifelong-")) / path.name
        try:
            replace_file(refuge, write)
        except OSError as second:
            raise DiskError(f"can't write {path} ({reason(error)}), nor {refuge} ({reason(second)})") from error
        return refuge
