"""Text files are UTF-8 wherever they are read or written, whatever the locale says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [path for folder in ("lifelong_gym", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
TEXT_FILES = ("read_text", "write_text", "open", "fdopen", "NamedTemporaryFile", "TemporaryFile", "TextIOWrapper")
BINARY_BY_DEFAULT = ("NamedTemporaryFile", "TemporaryFile")


def without_encoding(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that open a text file and leave its encoding to the locale."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        if "encoding" in keywords:
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        is_text = name in TEXT_FILES and not is_binary(name, call, keywords)
        runs = any(name == "text" and getattr(value, "value", True) for name, value in keywords.items())
        if is_text or (runs and name in ("run", "Popen", "check_output")):
            yield call


def is_binary(name: str, call: ast.Call, keywords: dict[str | None, ast.expr]) -> bool:
    """Whether a mode says so."""
    modes = [keywords.get("mode"), *call.args[:2]] if name not in ("read_text", "write_text") else []
    texts = [mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
    said = [text for text in texts if set(text) <= set("rwxab+t")]
    return "b" in said[0] if said else name in BINARY_BY_DEFAULT


def test_files_are_utf_8() -> None:
    """Every call that opens a text file, or reads a process's text, names its encoding."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
    found = [f"{path}:{call.lineno}" for path, tree in trees.items() for call in without_encoding(tree)]
    assert found == []


@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        ("path.read_text()", True),
        ("path.write_text(text)", True),
        ("open(path)", True),
        ("open(path, 'w')", True),
        ("path.open()", True),
        ("subprocess.run(words, text=True)", True),
        ("tempfile.TemporaryFile('w')", True),
        ("path.read_text(encoding='utf-8')", False),
        ("open(path, 'rb')", False),
        ("path.open('xb')", False),
        ("open(path, mode='a+b')", False),
        ("path.read_bytes()", False),
        ("subprocess.run(words)", False),
        ("tempfile.TemporaryFile()", False),
    ],
)
def test_the_rule_finds_what_it_forbids(code: str, is_found: bool) -> None:
    """And nothing else."""
    assert bool(list(without_encoding(ast.parse(code)))) is is_found
