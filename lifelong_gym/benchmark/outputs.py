"""What a benchmark writes on demand besides run files: models, and curves for TensorBoard and Weights & Biases."""

from __future__ import annotations

import glob
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lifelong_gym.benchmark.learners import LearnerSpec, learner_class
from lifelong_gym.errors import LifelongGymError, MissingExtraError

MODEL = ".model.zip"
EXTRA = "logs"


class LoginError(LifelongGymError, RuntimeError):
    """Nobody is logged in where results shall go."""


@dataclass(frozen=True)
class Outputs:
    """None of it changes what is learned or what stands in a run file.

    Attributes:
        keep_models: ``NAME.model.zip`` beside each run: the policy of the last evaluation, to be played and evaluated
            again. Of learners from scratch, one a task: ``NAME.taskI.model.zip``.
        tensorboard: ``tensorboard/NAME``: evaluations, and what learners of SB3's kind log.
        wandb: the same for Weights & Biases, with SB3's callback of theirs.
    """

    keep_models: bool = False
    tensorboard: bool = False
    wandb: bool = False

    def check(self) -> None:
        """Whether all that is needed is there.

        Raises:
            MissingExtraError: a library isn't installed.
            LoginError: Weights & Biases would ask for a key.
        """
        for library in ("tensorboard", "wandb"):
            if getattr(self, library) and importlib.util.find_spec(library) is None:
                raise MissingExtraError(library, EXTRA)
        if self.wandb:
            import wandb

            if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
                raise LoginError("`--wandb` needs a login: run `wandb login`, or set WANDB_MODE=offline")

    def tell(self, learners: Iterable[LearnerSpec], finished: Iterable[Path], console: Console) -> None:
        """Say which models there will not be."""
        if not self.keep_models:
            return
        mute = [spec.label for spec in learners if not hasattr(learner_class(spec.kind), "save")]
        if mute:
            _warn(console, f"no models of {', '.join(mute)} are kept: they have no method `save`")
        without = [path for path in finished if not own_models(path)]
        if without:
            _warn(console, f"{len(without)} runs were finished without keeping their models, and stay as they are")


def _warn(console: Console, text: str) -> None:
    console.print(f"[yellow]warning:[/yellow] {escape(text)}", highlight=False, emoji=False)


def model_name(run: str, task: int | str | None = None) -> str:
    """File name of a run's model, or of the one that was learned on a task alone."""
    return f"{run}{MODEL}" if task is None else f"{run}.task{task}{MODEL}"


def own_models(run_file: Path) -> list[Path]:
    """Models beside a run file."""
    together = run_file.with_name(model_name(run_file.stem))
    alone = run_file.parent.glob(f"{glob.escape(run_file.stem)}.task*{MODEL}")
    return [path for path in (together, *sorted(alone)) if path.exists()]
