"""The little Markdown in which sentences and notes are written: ``**bold**``, code in backticks, backslashes."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

_SPECIAL = r"[\\`*_\[\]<>|]"
_TOKEN = re.compile(
    rf"\\(?P<plain>{_SPECIAL})|\*\*(?P<bold>(?:\\.|[^*\\])+)\*\*|(?P<ticks>`+)(?P<code>(?:\\.|[^`\\])*)`+"
)


def plain(text: str) -> str:
    r"""Escaped, so that a user's text stands as it is; white space as single blanks.

    >>> print(plain("a_b *c*"))
    a\_b \*c\*
    """
    return re.sub(f"({_SPECIAL})", r"\\\1", " ".join(text.split()))


def bold(text: str) -> str:
    """Some user's text, in bold."""
    return f"**{plain(text)}**"


def code(text: str) -> str:
    """Some user's text, as code."""
    return f"``{plain(text)}``"


def pipe_table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "---") -> str:
    r"""A table whose first column is flush left, the others as ``align`` says; bars in cells are escaped.

    >>> print(pipe_table(["a", "b"], [["1", "x|y"]]))
    | a | b |
    | --- | --- |
    | 1 | x\|y |
    """
    lines = [head, ["---", *[align] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(re.sub(r"(?<!\\)\|", r"\|", cell) for cell in row) + " |" for row in lines)


def as_html(text: str) -> str:
    """For a page.

    >>> as_html("**a** is `b`, not <c>")
    '<strong>a</strong> is <code>b</code>, not &lt;c&gt;'
    """
    parts, end = [], 0
    for token in _TOKEN.finditer(text):
        parts += [html.escape(text[end : token.start()]), _element(token)]
        end = token.end()
    return "".join([*parts, html.escape(text[end:])])


def _element(token: re.Match[str]) -> str:
    if token["plain"]:
        return html.escape(token["plain"])
    tag, content = ("strong", token["bold"]) if token["bold"] else ("code", token["code"])
    return f"<{tag}>{html.escape(bare(content))}</{tag}>"


def bare(text: str) -> str:
    r"""Without escapes.

    >>> print(bare(plain("a_b *c*")))
    a_b *c*
    """
    return re.sub(rf"\\({_SPECIAL})", r"\1", text)


def as_markdown(text: str) -> str:
    """For GitHub, where code stands in single backticks, and backslashes in it stand for themselves."""
    return _TOKEN.sub(lambda token: token[0] if token["code"] is None else f"`{bare(token['code'])}`", text)
