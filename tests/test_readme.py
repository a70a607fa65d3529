"""What the README shows runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from lifelong_gym.benchmark.learners import registered
from lifelong_gym.registry import FAMILIES

README = (Path(__file__).parents[1] / "README.md").read_text()


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
