"""Processes that carry out calls side by side, and outlive neither their parent nor each other's deaths."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lifelong_gym import registry
from lifelong_gym.benchmark.results import write_atomically
from lifelong_gym.envs.backends.threads import set_num_threads
from lifelong_gym.errors import LifelongGymError

# Linear algebra of small systems takes ten times as long where processes side by side each use all cores.
BLAS_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# A process that begins mustn't import a file of the current folder in a library's place.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}
TRACE = ".traceback.txt"  # beside what wasn't done
PATIENCE = 5.0  # seconds for a process that is told to end
READY = "ready"
PRELOADED = ["torch", "lifelong_gym.benchmark.run"]  # three seconds of imports, paid once where processes can be forked

Call = Callable[..., Any]


class WorkerError(LifelongGymError, RuntimeError):
    """Processes that don't even begin."""


@dataclass(frozen=True)
class Event:
    """What a process said about a call.

    Attributes:
        number: of the call.
        share: how much of it is done; 1 at the end.
        is_over: whether this is the last event of the call.
        value: what it returned.
        error: why it failed, in one line; None where it didn't.
        trace: the traceback of that.
    """

    number: int
    share: float = 1.0
    is_over: bool = True
    value: Any = None
    error: str | None = None
    trace: str | None = None

    def why(self, path: Path) -> str:
        """Why it failed, in one line; that of a traceback names its file, ``path``, which is written."""
        if self.trace is None:
            return str(self.error)
        try:
            write_atomically(path, self.trace)
        except OSError as error:  # on a full disk the reason is told all the same
            return f"{self.error} (its traceback can't be written: {error})"
        return f"{self.error} (traceback: {path})"


class Workers:
    """Processes that compute on one thread each; use it in a ``with`` statement.

    A process that dies fails the call that it was at, and no other; another one takes its place. All of them, and no
    other child of the caller's, are stopped when the statement is left by an exception; SIGTERM is made one, as SIGINT
    is. Should the caller be killed, they end by themselves.
    """

    def __init__(self, n: int) -> None:
        """Processes are started as they are needed.

        Args:
            n: how many calls run at once.
        """
        self._n = n
        self._waiting: deque[tuple[int, Call, tuple[Any, ...]]] = deque()
        self._workers: list[_Worker] = []
        self._has_begun = False  # any process

    def submit(self, number: int, call: Call, *arguments: Any) -> None:
        """Have ``call(*arguments, progress)`` carried out; all of it must be picklable.

        Args:
            number: that events of this call have; unlike that of all others.
            call: ``progress`` is to be called with the share that is done.
            *arguments: of it.
        """
        self._waiting.append((number, call, arguments))

    def events(self, seconds: float) -> Iterator[Event]:
        """What happens within so many seconds, or until something does.

        Raises:
            WorkerError: no process can be started.
        """
        yield from self._begin_calls()
        heard = wait([channel for worker in self._workers for channel in worker.channels], seconds)
        for worker in [worker for worker in self._workers if not worker.channels.isdisjoint(heard)]:
            event = worker.heard()
            self._has_begun |= worker.is_ready
            if not worker.is_alive:
                self._workers.remove(worker)
                self._check(worker)
            if event is not None:
                yield event

    def _check(self, dead: _Worker) -> None:
        """That processes can be started at all."""
        if not self._has_begun:
            raise WorkerError(
                f"worker processes can't begin: {dead.end}. A script must start experiments below "
                '`if __name__ == "__main__":`, because every process imports it'
            )

    def _begin_calls(self) -> Iterator[Event]:
        idle = [worker for worker in self._workers if worker.number is None]
        while self._waiting and (idle or len(self._workers) < self._n):
            if not idle:
                idle.append(_Worker())
                self._workers.append(idle[0])
            number, call, arguments = self._waiting.popleft()
            try:
                content = pickle.dumps((call, arguments))
            except Exception as error:  # pickle raises whatever the objects' own methods raise
                yield Event(number, error=said(error), trace=traceback.format_exc())
                continue
            idle.pop(0).begin(number, content)

    def __enter__(self) -> Self:
        self._terminable = _terminable()
        self._terminable.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            for worker in self._workers:
                worker.stop(at_once=kind is not None)
            for worker in self._workers:
                worker.join()
        finally:
            self._workers.clear()
            self._terminable.__exit__(kind, error, at)


class _Worker:
    """A process, as its parent sees it."""

    def __init__(self) -> None:
        context = process_context()
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, registry.registered_here(), dict(os.environ)))
        with _inherited({**BLAS_THREADS, **SAFE_PATH}):
            self._process.start()
        theirs.close()
        self.number: int | None = None
        self.is_alive, self.is_ready = True, False

    @property
    def channels(self) -> set[Connection | int]:
        """Through which it can be heard, or heard to have died."""
        return {self.connection, self._process.sentinel}

    @property
    def end(self) -> str:
        """How it died."""
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"{name}{', as when memory runs out' if name == 'SIGKILL' else ''}"

    def begin(self, number: int, content: bytes) -> None:
        """Hand it a call."""
        self.number = number
        with suppress(OSError):  # it has died, which is heard of next
            self.connection.send_bytes(content)

    def heard(self) -> Event | None:
        """What it said, or that it died."""
        try:
            message = self.connection.recv() if self.connection.poll() else None
        except (EOFError, OSError):
            message = None
        if message is None:
            self.is_alive = False
            self.join()
            return None if self.number is None else Event(self.number, error=f"its process died: {self.end}")
        if message == READY:
            self.is_ready = True
            return None
        assert self.number is not None
        event = Event(self.number, **message)
        if event.is_over:
            self.number = None
        return event

    def stop(self, at_once: bool) -> None:
        """Let it end; what it is doing is given up."""
        self.connection.close()
        if at_once:
            self._process.terminate()

    def join(self) -> None:
        """Wait until it has ended."""
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def said(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def process_context() -> ForkServerContext | SpawnContext:
    """Forks of one process that has imported what all need; fresh processes where forks aren't safe, or not ours."""
    server: Any = forkserver._forkserver
    is_foreign = server._forkserver_pid is not None and server._preload_modules != PRELOADED
    if sys.platform != "linux" or is_foreign:  # one that a program has started may compute on many threads
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _serve(connection: Connection, families: Mapping[str, str], environment: Mapping[str, str]) -> None:
    """What a process does: one call after another, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends us
    os.environ.clear()  # a fork has what there was when its server began
    os.environ.update({**environment, **BLAS_THREADS})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    registry.register_here(families)
    torch.set_num_threads(1)
    set_num_threads(1)
    with suppress(EOFError, OSError):  # the parent has closed its end
        connection.send(READY)
        while True:
            connection.send(_answer(connection.recv_bytes(), connection))


def _answer(content: bytes, connection: Connection) -> dict[str, Any]:
    """Carry out a call; how its last event differs from others."""
    try:
        call, arguments = pickle.loads(content)
        connection.send({"share": 0.0, "is_over": False})
        value = call(*arguments, lambda share: connection.send({"share": share, "is_over": False}))
        pickle.dumps(value)
    except BaseException as error:
        return {"error": said(error), "trace": traceback.format_exc()}
    return {"value": value}


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _inherited(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for processes that are started meanwhile."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name)
        os.environ.update(before)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends what is under way as Ctrl-C does, unless the caller has a handler of its own."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
