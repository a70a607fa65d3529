"""A report as one HTML page that needs nothing beside it: no scripts, no fonts, no pictures from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lifelong_gym.reports.formats import FITS, wide
from lifelong_gym.reports.markup import as_html, bare, code, plain
from lifelong_gym.reports.plots import Style

STYLE = """
:root { --ink: #1d2126; --soft: #5c6570; --rule: #dfe3e8; --paper: #fff; --tint: #f5f7f9; --link: #0b62a4;
  --shade: rgba(0, 0, 0, .28); }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #9aa4af; --rule: #3a424b; --paper: #16191d; --tint: #20252b; --link: #7cc0f5;
    --shade: rgba(255, 255, 255, .35); }
  figure.picture svg { background: #fff; border-radius: 6px; padding: 6px; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 54rem; padding: 2.5rem 1.25rem 5rem; color: var(--ink); background: var(--paper);
  font: 1.05rem/1.6 Charter, "Bitstream Charter", "Iowan Old Style", Georgia, serif; overflow-wrap: break-word; }
h1, h2, h3, nav, table, figcaption, summary { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.4rem; line-height: 1.25; margin: 3.2rem 0 .6rem; padding-top: 1.2rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1.08rem; margin: 2rem 0 .4rem; }
p, ul { margin: .6rem 0; max-width: 44rem; } ul { padding-left: 1.4rem; }
.lead { color: var(--soft); font-size: 1.1rem; }
.summary { background: var(--tint); border-left: 4px solid var(--link); padding: .6rem 1.2rem; margin: 1.6rem 0; }
.summary h3 { margin-top: .8rem; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .9rem; margin: 1rem 0; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
figure { margin: 1.6rem 0; break-inside: avoid; }
figcaption { font-size: .88rem; color: var(--soft); margin: .3rem 0; }
figure.table figcaption { color: var(--ink); font-weight: 600; }
figure.picture svg { width: calc(var(--share) * 100%); height: auto; display: block; }
/* Shadows at the sides to which there is more: the first two layers, which move along, hide them at the ends. */
.wide { overflow-x: auto; scrollbar-width: thin; background:
  linear-gradient(to right, var(--paper) 40%, transparent) left / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--paper) 40%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), transparent) left / .9rem 100% no-repeat scroll,
  linear-gradient(to left, var(--shade), transparent) right / .9rem 100% no-repeat scroll; }
.wide:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .38rem .5rem; text-align: right; vertical-align: baseline; border-bottom: 1px solid var(--rule); }
thead th, thead td { vertical-align: bottom; border-bottom: 2px solid var(--soft); line-height: 1.25; }
th[scope=row], table.words td, table.words th { text-align: left; }
th[scope=row] { font-weight: 600; white-space: nowrap; }
td small { color: var(--soft); white-space: nowrap; display: block; }
.key { display: inline-block; width: 1.6em; height: 0; margin-right: .5em; vertical-align: middle; }
details { font-size: .9rem; margin: .5rem 0; } summary { color: var(--soft); cursor: pointer; font-size: .84rem; }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .88em; overflow-wrap: anywhere; }
pre { background: var(--tint); padding: .8rem 1rem; overflow-x: auto; }
@media (max-width: 40rem) {
  h1 { font-size: 1.5rem; } body { padding-top: 1.5rem; }
  figure.many::before { content: "scroll sideways →"; display: block; text-align: right; color: var(--link);
    font: .78rem system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
  figure.picture svg { width: calc(var(--share) * 40rem); min-width: 100%; }
  thead td:first-child, table:not(.words) th[scope=row] { position: sticky; left: 0; background: var(--paper); }
  th[scope=row] { white-space: normal; max-width: 8.5rem; }
  table.words td { min-width: 6rem; } figure.many table.words code { overflow-wrap: break-word; }
  pre { white-space: pre-wrap; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; } h2 { break-after: avoid; }
  table { font-size: 7.5pt; } th, td { padding: .25rem .3rem; } .wide { overflow: visible; background: none; }
  details > * { display: block; } a { color: inherit; }
}
"""


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        anchor: for links to it.
        title: its heading.
        body: HTML.
    """

    anchor: str
    title: str
    body: str


def page(title: str, lead: str, summary: str, sections: Sequence[Section]) -> str:
    """The whole page; ``summary`` and the bodies are HTML, the rest is text."""
    links = "\n".join(f'<a href="#{s.anchor}">{html.escape(s.title)}</a>' for s in sections)
    bodies = "\n".join(f'<h2 id="{s.anchor}">{html.escape(s.title)}</h2>\n{s.body}' for s in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{html.escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{html.escape(title)}</h1>\n"
        f'<p class="lead">{html.escape(lead)}</p>\n<nav>{links}</nav>\n'
        f'<section class="summary">{summary}</section>\n{bodies}\n</body>\n</html>\n'
    )


def prose(sentences: Iterable[str]) -> str:
    """A paragraph, in the Markdown of `markup`."""
    return f"<p>{as_html(' '.join(sentences))}</p>\n"


def items(lines: Iterable[str]) -> str:
    """A list, or nothing."""
    entries = "".join(f"<li>{as_html(line)}</li>\n" for line in lines)
    return f"<ul>\n{entries}</ul>\n" if entries else ""


def heading(text: str, link: str = "") -> str:
    """Within a section; ``link`` is the anchor of another one."""
    escaped = html.escape(text)
    return f'<h3><a href="#{link}">{escaped}</a></h3>\n' if link else f"<h3>{escaped}</h3>\n"


def picture(svg: str, caption: str, share: float = 1.0) -> str:
    """A figure with its caption, which screen readers also get as the picture's name; ``share`` of the page's width."""
    named = svg.replace("<svg ", f'<svg aria-label="{html.escape(caption)}" ', 1)
    return (
        f'<figure class="picture many" style="--share: {share:.2f}">{wide(named, caption)}'
        f"<figcaption>{as_html(caption)}</figcaption></figure>\n"
    )


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A table of names and what they stand for, as text."""
    return words("versions", [], [[plain(name), code(text)] for name, text in rows])


def words(
    name: str, heads: Sequence[str], rows: Iterable[Sequence[str]], styles: Mapping[str, Style] | None = None
) -> str:
    """A table of texts in the Markdown of `markup`, the first of each row its heading.

    Before that, its line in the figures if it has a style.
    """
    top = "".join(f'<th scope="col">{html.escape(head)}</th>' for head in heads)
    above = f"<thead><tr>{top}</tr></thead>" if heads else ""
    body = "".join(
        f'<tr><th scope="row">{_key((styles or {}).get(bare(row[0])))}{as_html(row[0])}</th>'
        + "".join(f"<td>{as_html(x)}</td>" for x in row[1:])
        + "</tr>\n"
        for row in rows
    )
    table = f'<table class="words">{above}<tbody>\n{body}</tbody></table>'
    many = " many" if len(heads) > FITS else ""
    return f'<figure class="table{many}">{wide(table, name)}</figure>\n'


def _key(style: Style | None) -> str:
    if style is None:
        return ""
    line = {"-": "solid", "--": "dashed", ":": "dotted"}.get(style.line, "double")
    return f'<span class="key" style="border-top: 3px {line} {style.colour}"></span>'
