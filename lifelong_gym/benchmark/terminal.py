"""Lines for the terminal, in which what users named stays as they named it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

BOLD = "bold"


def say(console: Console, *parts: object) -> None:
    """Print a line that holds paths, labels or messages.

    As `Text` they are neither markup (``[a]``) nor names of emoji (``:x:``), and no path is broken in two.

    Args:
        console: to print on.
        parts: texts, or pairs of a text and a style.
    """
    pieces = [(str(part[0]), str(part[1])) if isinstance(part, tuple) else str(part) for part in parts]
    console.print(Text.assemble(*pieces), soft_wrap=True)


@contextmanager
def working(console: Console, what: str) -> Iterator[None]:
    """Say what is being done: while it is, on a terminal; in a line that stays, elsewhere."""
    if console.is_terminal:
        with console.status(Text(what)):
            yield
    else:
        say(console, f"{what} ...")
        yield
