"""Boundaries between tasks as events, for learners and callbacks that want to hear of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

STARTS, ENDS = "on_task_start", "on_task_end"


class Audience:
    """A learner, and the callbacks of every SB3 algorithm that trains in an env.

    Those with a method ``on_task_start(info)`` or ``on_task_end(info)`` are called, the learner first. ``info`` is
    ``{"task": i}``, or ``{}`` where several tasks begin and end together, or under ``rounds`` ``{"round": k}``.

    Args:
        env: in which they train.
    """

    def __init__(self, env: VecEnv) -> None:
        """Nobody listens."""
        self._env = env
        self._learner: Any = None
        self._callbacks: dict[int, Any] = {}  # by the id of the algorithm, each of which has one, often a list

    @contextmanager
    def joined(self, learner: Any) -> Iterator[None]:
        """With a learner, and the callbacks of algorithms whose ``learn`` is called meanwhile."""
        from stable_baselines3.common.base_class import BaseAlgorithm

        # SB3 hands a callback from call to call and keeps it nowhere; here each passes once a `learn`.
        original: Any = BaseAlgorithm._init_callback
        env, callbacks = self._env, self._callbacks

        def noticed(self: BaseAlgorithm, callback: Any, progress_bar: bool = False) -> Any:
            made = original(self, callback, progress_bar)
            if self.env is not None and self.env.unwrapped is env:
                callbacks[id(self)] = made
            return made

        self._learner = learner
        BaseAlgorithm._init_callback = noticed  # type: ignore[method-assign]
        try:
            yield
        finally:
            BaseAlgorithm._init_callback = original  # type: ignore[method-assign]

    def tell(self, event: str, info: Mapping[str, Any]) -> None:
        """Call everybody's method of that name."""
        callbacks = [one for root in self._callbacks.values() for one in _with_children(root)]
        for listener in [self._learner, *callbacks]:
            method = getattr(listener, event, None)
            if callable(method):
                method(dict(info))


def _with_children(callback: Any) -> Iterator[Any]:
    """A callback, those of its list, and the one that it calls in turn."""
    yield callback
    for child in [*getattr(callback, "callbacks", ()), getattr(callback, "callback", None)]:
        if child is not None:
            yield from _with_children(child)
