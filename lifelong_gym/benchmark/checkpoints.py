"""What an interrupted run goes on from: the learner, and what belongs to it, as they were at the last evaluation."""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lifelong_gym.benchmark.results import digest, write_atomically

MODEL, STATE = ".model.zip", ".json"
PART = ".part"


class Checkpoints:
    """Of one run, beside its file: ``NAME.atN.model.zip``, and ``NAME.atN.json`` which says what both belong to.

    A checkpoint fits when nothing of it and no line of the run file has changed since it was written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Nothing is read yet."""
        self._folder, self._name = folder, name

    def _at(self, n: int, suffix: str) -> Path:
        return self._folder / f"{self._name}.at{n}{suffix}"

    def save(self, n: int, fingerprint: str, learner: Any, state: Mapping[str, Any]) -> None:
        """Write what stands beside the n-th evaluation.

        Args:
            n: evaluations that the run file will hold.
            fingerprint: of its lines then.
            learner: has ``save``.
            state: JSON-native; what else the run goes on from.
        """
        model = self._at(n, MODEL)
        learner.save(model)
        belongs = {"lines": fingerprint, "model": digest(model.read_bytes()), "state": state}
        write_atomically(self._at(n, STATE), json.dumps(belongs))

    def load(self, n: int, fingerprint: str, restored: Callable[[Path, Mapping[str, Any]], Any]) -> Any | None:
        """The learner as it was at the n-th evaluation, or None where no checkpoint fits.

        Args:
            n: evaluations that the run file holds.
            fingerprint: of its lines.
            restored: makes the learner from the path of its model and the state; what it raises means that the
                checkpoint doesn't fit, for example because another version wrote it.
        """
        model = self._at(n, MODEL)
        try:
            belongs = json.loads(self._at(n, STATE).read_bytes())
            if belongs["lines"] != fingerprint or belongs["model"] != digest(model.read_bytes()):
                return None
            return restored(model, belongs["state"])
        except Exception:  # whatever a class raises whose file isn't as it expects
            return None

    def forget(self, n: int) -> None:
        """Of an evaluation that is no longer the last."""
        for suffix in (STATE, MODEL):
            self._at(n, suffix).unlink(missing_ok=True)

    def sweep(self, keep: int | None = None) -> None:
        """Remove them all, but those of evaluation ``keep``, and what kills during a save have left behind."""
        name = glob.escape(self._name)
        kept = {self._at(keep, suffix) for suffix in (STATE, MODEL)} if keep is not None else set()
        for pattern in (f"{name}.at*", f".{name}.*{PART}", f"{name}.*.*{PART}"):
            for path in self._folder.glob(pattern):
                if path not in kept:
                    path.unlink(missing_ok=True)
