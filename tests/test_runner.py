"""Jobs in processes of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from threadpoolctl import threadpool_info

from lifelong_gym.benchmark.runner import run_jobs


@dataclass(frozen=True)
class Threads:
    """How many threads each library would use in this process, written into a file."""

    name: str
    kind: str = "threads"

    @property
    def title(self) -> str:
        """For people."""
        return self.name

    def execute(self, folder: Path, progress: Callable[[float], None]) -> Path:
        """Count."""
        progress(1.0)
        path = folder / f"{self.name}.json"
        pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        path.write_text(json.dumps({"blas": pools, "torch": torch.get_num_threads()}))
        return path


def test_every_process_computes_on_one_thread(tmp_path: Path) -> None:
    """Or processes side by side would wait for each other."""
    outcome = run_jobs([Threads("first"), Threads("second")], tmp_path, Console(quiet=True), n_processes=2)
    assert not outcome.failed
    for path in outcome.written:
        figures = json.loads(path.read_text())
        assert figures["torch"] == 1
        assert figures["blas"]
        assert set(figures["blas"]) == {1}
