"""Locks on files, which end with the process that holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

LOCK = ".lock"


def lock(file: IO[Any], wait: bool) -> bool:
    """Keep other processes out until the file is closed.

    Where the system has no such locks (Windows, some network drives), nobody is kept out.

    Args:
        file: open for writing.
        wait: until others let go; else come back at once.

    Returns:
        Whether nobody else holds it.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def locked(folder: Path, waiting: Callable[[], Any] = nullcontext) -> Iterator[None]:
    """Be the only one who works on a folder as a whole.

    Args:
        folder: gets an empty file ``.lock``; it is made when missing.
        waiting: makes a context that is entered while another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("ab") as file:
        if not lock(file, wait=False):
            with waiting():
                lock(file, wait=True)
        yield
