"""Tables for people, as text."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], width: int | None = None) -> str:
    """Aligned; of a table that is wider than ``width`` characters, the first columns, and how many more there are."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    n = len(header)
    while width is not None and n > 2 and sum(widths[:n]) + 2 * (n - 1) > width:
        n -= 1
    if n < len(header):
        more = f"... {len(header) - n} more"
        return text_table((*header[:n], more), [(*row[:n], "") for row in rows])
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join(lines)
