"""What the README shows runs as it stands; what the guide shows of families stands in their files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from lifelong_gym.benchmark.learners import registered
from lifelong_gym.registry import FAMILIES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXCERPT = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_quickstart_runs(tmp_path: Path) -> None:
    """Every Python block, one after another, without a warning."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    assert "cart_mass [kg]" in result.stdout
    assert (tmp_path / "cartpole.zip").exists()


def test_the_tables_are_complete() -> None:
    """Every family and every learner has a row."""
    for name in [*FAMILIES, *registered()]:
        assert f"| `{name}` |" in README


def test_excerpts_are_true() -> None:
    """Each block of the guide that names its file stands there, in that order; ``...`` leaves something out."""
    excerpts = EXCERPT.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(excerpts) >= 5
    for name, text in excerpts:
        source, at = (ROOT / name).read_text(encoding="utf-8"), 0
        for part in re.split(r"^ *\.\.\.\n", text, flags=re.MULTILINE):
            found = source.find(part, at)
            assert found >= 0, f"{name}: {part}"
            at = found + len(part)
