"""Every command that a page shows runs: as it stands, with a smaller budget where it would take long.

Those that take long anyway run where their results are tested: `test_cli`, `test_zhan2017` and `test_bouammar2015`;
the Makefile's targets that need an installation of their own run in ``.ci/run``.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from lifelong_gym.cli import main as cli
from lifelong_gym.papers.reproduce import names

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*") if path.suffix in (".py", ".toml"))
HELP = "help"  # stands for the examples in the commands' help

COMMAND = r"(?:lifelong|make|pip|python|\.ci/run)"
INLINE = re.compile(rf"(?<!`)`{{1,2}}({COMMAND}(?: [^`]+)?)`{{1,2}}(?!`)")
INDENTED = re.compile(rf"^(?:    |#     )({COMMAND}(?: .*)?)$", re.MULTILINE)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACEHOLDERS = dict.fromkeys(("ID", "ENV", "..."), "LifelongCartPole-v0")
KEPT = "NAME.jsonl"  # a run whose model was kept
SHORT = {
    "train": ("--n-tasks", "4", "--total-timesteps", "3000"),
    "tune": ("--n-tasks", "2", "--trials", "2", "--episodes-per-task", "5", "--n-evaluations", "1"),
}
ELSEWHERE = ("demo", "reproduce")
ONE_SEED = ("--seeds", "5:6")
MODULES = "third_party_method", "third_party_rounds"  # examples that commands name
FEW = ("--quick", "--n-evaluations", "1", "--n-tasks", "2", "--seeds", "1")
ONE_ENV = ("--envs", "LifelongCartPole-v0")
N_EPISODES = 10  # fewer are less than half of what PPO observes at once
SLOW = {"TQC": 1}  # which trains after every step
IN_CI = ("demo", "bench", "test")
BY_HAND = ("federated", "lowest")  # installations of their own
OWN = """
from tests.toy_learners import Counter


class MyMethod(Counter):
    def save(self, path):
        path.write_text("a model")
"""


def commands(text: str) -> list[str]:
    """Those in a text, each once, in their order; what a prompt continues on a next line is one command."""
    joined = FENCED.sub(lambda block: "" if block[1] else indent(block[2], "    "), text)
    joined = re.sub(r"\s*\\\n\s*", " ", joined)
    spots = sorted((match.start(), match[1]) for rule in (INLINE, INDENTED) for match in rule.finditer(joined))
    whole = [re.sub(r"\s+#.*", "", found) for _, found in spots]
    return list(dict.fromkeys(part.strip() for found in whole for part in found.split("&&")))


def name_of(page: Path | str) -> str:
    """Short."""
    return page.name if isinstance(page, Path) else page


def text_of(page: Path | str) -> str:
    """Of a page, or of all commands' help."""
    if isinstance(page, Path):
        return page.read_text(encoding="utf-8")
    return "\n".join(command.help or "" for command in get_command(cli.app).commands.values())  # type: ignore[attr-defined]


def words_of(command: str) -> list[str]:
    """With placeholders filled in, and short."""
    program, *words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command)]
    if KEPT in words:
        words[words.index(KEPT)] = str(next(Path("runs").rglob("*PGELLA*.jsonl")))
    if program != "lifelong" or not words:
        return [program, *words]
    if words == ["benchmark"]:
        return [program, *words, "--help"]  # that it is there is all that was said
    if words[0] != "benchmark":
        return [program, *words, *SHORT.get(words[0], ())]
    is_described = any(word.endswith(".toml") and before != "--tuned" for before, word in pairwise(words))
    if is_described:
        return [program, *words, "--keep-models", *(ONE_SEED if "--seeds" in words else ())]
    n_episodes = next((n for name, n in SLOW.items() if name in words), N_EPISODES)
    one_env = () if "rounds" in words else ONE_ENV  # learners that only that protocol has may need another
    return [program, *words, "--keep-models", *FEW, *one_env, "--episodes-per-task", str(n_episodes)]


SOURCES: list[Path | str] = [*PAGES, *EXAMPLES, HELP]
WITH_COMMANDS = [source for source in SOURCES if commands(text_of(source))]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder but for what the pages suppose: an experiment's file, and a module of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "my_module.py").write_text(OWN, encoding="utf-8")
    for example in MODULES:
        shutil.copy(ROOT / "examples" / f"{example}.py", tmp_path)
    for source in ("examples/comparison.toml", "docs/benchmark.md"):
        (tmp_path / Path(source).with_suffix(".toml").name.replace("benchmark", "experiment")).write_text(
            shortened((ROOT / source).read_text(encoding="utf-8")), encoding="utf-8"
        )
    yield tmp_path
    for module in ("my_module", *MODULES):
        sys.modules.pop(module, None)


def shortened(text: str) -> str:
    """An experiment's file, out of the page that shows it, with the least budget."""
    block = re.search(r"```toml\n(seeds.*?)```", text, flags=re.DOTALL)
    text = block[1] if block else text
    for key, value in {"seeds": 1, "episodes_per_task": N_EPISODES, "n_evaluations": 1, "n_tasks": 2}.items():
        text = re.sub(rf"^{key} = .*", f"{key} = {value}", text, flags=re.MULTILINE)
    text = text.replace("[families.LifelongCH47-v0]\n", "")
    if "[protocol]" not in text:
        text += f"\n[protocol]\nepisodes_per_task = {N_EPISODES}\nn_evaluations = 1\n"
    return text if "seeds" in text else f"seeds = 1\n{text}"


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_commands_of_a_page_run(here: Path, page: Path | str) -> None:
    """One after another, as a reader would type them."""
    for command in commands(text_of(page)):
        program, *words = words_of(command)
        if program == "lifelong" and words[:1] and words[0] in ELSEWHERE:
            assert words[1:2] in ([], ["--seeds"], ["NAME"], ["my_paper"], *([name] for name in names())), command
        elif program == "lifelong":
            result = CliRunner().invoke(cli.app, words)
            assert result.exit_code == (0 if words else 2), f"{command}: {result.output}"
        elif program == "python":
            run_python(words)
        elif program == "make":
            assert words[0] in targets(), command


def run_python(words: list[str]) -> None:
    """A module's ``main``, with few tasks; examples have a test of their own."""
    if words[0] == "-m":
        import_module(words[1]).main([*words[2:], "--n-tasks", "2"])
    else:
        assert ROOT / words[0] in EXAMPLES


def targets() -> set[str]:
    """Of the Makefile, those that its help shows."""
    return set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_every_target_runs_somewhere() -> None:
    """In ``.ci/run`` or here."""
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    in_ci = {word for line in re.findall(r"\bmake (.*)", ci) for word in line.split()}
    assert set(IN_CI) <= in_ci
    assert targets() == {*IN_CI, *BY_HAND, "help", "clean"}


def test_what_pip_is_told_to_install_is_resolved() -> None:
    """Every ``pip install`` that a page shows is looked up by a short ``make bench``, as ``.ci/run`` does it."""
    looked_up = make(ROOT, "-n", "bench", "LIFELONG_GYM_QUICK=1")
    for page in PAGES:
        for command in commands(text_of(page)):
            if command.startswith("pip install"):
                assert f"--dry-run {command.removeprefix('pip install ')}\n" in looked_up


def make(folder: Path, *words: str) -> str:
    """What a target prints, also where the tests themselves are a target of make."""
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    env = {name: value for name, value in os.environ.items() if name not in outer}
    options: dict[str, Any] = {"capture_output": True, "text": True, "encoding": "utf-8"}
    return subprocess.run(["make", *words], cwd=folder, env=env, check=True, **options).stdout


def test_help_and_clean(tmp_path: Path) -> None:
    """The list names every target; what is made anew goes, results stay."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for kept in ("runs/a.jsonl", ".venv/bin/x", ".venv-lowest/x", "lifelong_gym/__pycache__/a.pyc", ".ruff_cache/x"):
        (tmp_path / kept).parent.mkdir(parents=True)
        (tmp_path / kept).write_text("", encoding="utf-8")
    assert {line.split()[1] for line in make(tmp_path).splitlines()} == targets()
    make(tmp_path, "clean")
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"Makefile", "runs/a.jsonl"}


def test_targets_install_what_they_need(tmp_path: Path) -> None:
    """Each its extras, in an environment of its own, the rivals' commas and all; together the most that one needs."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "constraints-federated.txt"):
        shutil.copy(ROOT / name, tmp_path)
    together = "demo bench", "types demo bench LIFELONG_GYM_QUICK=1"
    printed = {name: make(tmp_path, "-n", *name.split()) for name in (*IN_CI, "federated", *together)}
    installed = {name: re.findall(r'-e "(.*?)"', text) for name, text in printed.items()}
    assert installed["demo"] == ["."]
    assert installed["test"] == [".[test]"]
    assert installed["bench"] == [".[test,benchmarks]"]
    assert installed["federated"] == [".[test,federated]"]
    assert "-c constraints-federated.txt" in printed["federated"]
    assert installed["demo bench"] == installed["bench"]
    assert installed["types demo bench LIFELONG_GYM_QUICK=1"] == [".[test]", ".[test,benchmarks]"]
    assert printed["types demo bench LIFELONG_GYM_QUICK=1"].count("--dry-run") == 3


def pins(name: str) -> dict[str, str]:
    """The versions in a file of constraints."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def test_the_second_constraints_differ_where_they_must() -> None:
    """What isn't flwr's is tested with the same versions, but for four that flwr wants older."""
    usual, federated = pins("constraints.txt"), pins("constraints-federated.txt")
    assert usual.keys() < federated.keys()
    assert "flwr" in federated.keys() - usual.keys()
    differing = {name for name, version in usual.items() if federated[name] != version}
    assert differing == {"packaging", "protobuf", "rich", "typer"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Try `lifelong list`, or ``lifelong demo``.", ["lifelong list", "lifelong demo"]),
        ("    make test\n\ndoes", ["make test"]),
        ("```python\nlifelong\n```\npython\n```\nmake bench\n```\n`.ci/run`", ["make bench", ".ci/run"]),
        ("```\nlifelong train A B \\\n    --seed 1  # a run\n```", ["lifelong train A B --seed 1"]),
        ("`pip install a && pre-commit install`", ["pip install a", "pre-commit install"]),
        ("the command `lifelong`;\nmake no mistake", ["lifelong"]),
    ],
)
def test_commands_are_found(text: str, expected: list[str]) -> None:
    """In sentences, in blocks, over several lines, and nothing else."""
    assert commands(text) == expected


def test_lower_bounds_are_ones_that_exist() -> None:
    """``make lowest`` pins every requirement of the package and its tests, and takes torch from the tested versions."""
    lines = subprocess.run([sys.executable, ROOT / "tests" / "lowest.py"], capture_output=True, check=True).stdout
    lowest = dict(line.split("==") for line in lines.decode().splitlines())
    tested = {name.replace("_", "-"): version for name, version in pins("constraints.txt").items()}
    assert lowest["torch"] == tested["torch"]
    for name, version in lowest.items():
        least, most = ([int(part) for part in text.split(".")[:2]] for text in (version, tested[name]))
        assert least <= most, name
