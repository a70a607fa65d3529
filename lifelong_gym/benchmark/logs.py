"""Curves of a run for TensorBoard and Weights & Biases."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat

from lifelong_gym.benchmark.evaluation import Measured, untouched_generators
from lifelong_gym.benchmark.normalised import Normalised
from lifelong_gym.benchmark.outputs import Outputs
from lifelong_gym.measures.metrics import normalised

PROJECT = "lifelong-gym"  # unless WANDB_PROJECT names another
STEPS = "num_timesteps"


class Logs:
    """Where a run's curves go; in a ``with`` statement.

    Attributes:
        run_id: of the run at Weights & Biases, to go on with it after an interruption; None where there is none.
    """

    def __init__(
        self,
        outputs: Outputs,
        folder: Path,
        name: str,
        settings: Mapping[str, Any],
        references: Mapping[str, Any] | None,
        goes_on: bool = False,
        run_id: str | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            outputs: what is wanted.
            folder: of the runs.
            name: of the run.
            settings: of the run.
            references: to normalise returns by; None: they aren't.
            goes_on: whether the run was interrupted; else earlier logs of that name are replaced.
            run_id: what ``run_id`` was then.
        """
        self._outputs, self._folder, self._name, self._settings = outputs, folder, name, settings
        self._references, self._goes_on, self.run_id = references, goes_on, run_id
        self._formats: list[KVWriter] = []
        self._loggers: list[Logger] = []
        self._run: Any = None

    @property
    def _board(self) -> Path:
        return self._folder / "tensorboard" / self._name

    def __enter__(self) -> Self:
        with untouched_generators():
            if self._outputs.tensorboard and not self._goes_on:
                shutil.rmtree(self._board, ignore_errors=True)
            if self._outputs.wandb:
                self._run = self._begun()
                self.run_id = self._run.id
            self._formats = self._opened()
        return self

    def _opened(self, part: str = "") -> list[KVWriter]:
        """Where the run, or a part of it, writes."""
        formats: list[KVWriter] = []
        if self._outputs.tensorboard:
            formats.append(TensorBoardOutputFormat(str(self._board / part)))
        if self._run is not None:
            formats.append(_Forwarded(self._run, part))
        return formats

    def _begun(self) -> Any:
        import wandb

        family = _without_tasks(self._settings["family"])
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=self._name,
            group=self._name.rpartition("--")[0],
            config={**self._settings, "family": family},
            dir=str(self._folder),
            id=self.run_id,
            resume=None if self.run_id is None else "allow",
            settings=wandb.Settings(silent=True, console="off"),
        )
        run.define_metric("*", step_metric=STEPS)
        return run

    def attached(self, learner: Any, task: int | None = None) -> dict[str, Any]:
        """Have a learner of SB3's kind log here; others keep their own logs.

        Args:
            learner: before it learns.
            task: that it learns alone.

        Returns:
            Further arguments of its ``learn``.
        """
        if isinstance(learner, Normalised):
            learner = learner.algorithm
        if not self._formats or not isinstance(learner, BaseAlgorithm):
            return {}
        # The same writers as those of the evaluations: TensorBoard follows one file a folder.
        self._loggers.append(Logger(None, self._formats if task is None else self._opened(f"task{task}")))
        learner.set_logger(self._loggers[-1])
        if self._run is None:
            return {}
        from wandb.integration.sb3 import WandbCallback

        return {"callback": WandbCallback()}

    def evaluation(self, num_timesteps: int, measured: Measured) -> None:
        """Write down what was measured: means over tasks and episodes."""
        means = measured.returns.mean(axis=1)
        values = {"eval/mean_reward": float(means.mean()), "eval/failed": float(np.mean(measured.failed))}
        if measured.violations is not None:
            values["eval/violations"] = float(np.mean(measured.violations))
        if self._references is not None:
            shares = normalised(means, self._references["zero"], self._references["best"])
            values["eval/normalised"] = float(shares.mean())
        with untouched_generators():
            for output in self._formats:
                output.write(values, dict.fromkeys(values, ()), num_timesteps)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for output in self._formats:
            output.close()
        for logger in self._loggers:
            logger.close()
        if self._run is not None:
            self._run.finish(exit_code=int(kind is not None))


def _without_tasks(family: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a family, and of its further sets, that a person can read."""
    sets = {name: _without_tasks(table) for name, table in family.get("evaluate", {}).items()}
    kept = {key: value for key, value in family.items() if key not in ("tasks", "evaluate")}
    return {**kept, **({"evaluate": sets} if sets else {})}


class _Forwarded(KVWriter):
    """SB3's logger writes to Weights & Biases."""

    def __init__(self, run: Any, part: str = "") -> None:
        self._run, self._prefix = run, f"{part}/" if part else ""

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """What is a number."""
        numbers = {f"{self._prefix}{key}": float(value) for key, value in key_values.items() if _is_number(value)}
        self._run.log({**numbers, STEPS: step})

    def close(self) -> None:
        """The run at Weights & Biases outlives a learner's logger."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
