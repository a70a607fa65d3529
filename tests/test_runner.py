"""Jobs in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from threadpoolctl import threadpool_info

from lifelong_gym.benchmark.runner import run_jobs
from lifelong_gym.papers.jobs import Measurement


def threads(settings: Mapping[str, Any], progress: Callable[[float], None]) -> dict[str, Any]:
    """How many each library would use in this process."""
    del settings, progress
    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {"blas": pools, "torch": torch.get_num_threads()}


def test_every_process_computes_on_one_thread(tmp_path: Path) -> None:
    """Or processes side by side would wait for each other."""
    jobs = [Measurement("study", "threads", seed, f"{__name__}:threads", {}) for seed in range(2)]
    outcome = run_jobs(jobs, tmp_path, Console(quiet=True), n_processes=2)
    assert not outcome.failed
    for job in jobs:
        figures = job.figures(tmp_path)
        assert figures is not None
        assert figures["torch"] == 1
        assert figures["blas"]
        assert set(figures["blas"]) == {1}
