"""Processes that carry out calls: their deaths, their parent's, and signals."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifelong_gym.benchmark.workers import Event, Workers

Report = Callable[[float], None]


def double(number: int, progress: Report) -> int:
    """Half of it is told before."""
    progress(0.5)
    return 2 * number


def die(code: int, progress: Report) -> None:
    """As when memory runs out (code 9), or a library calls `exit`."""
    if code < 0:
        os._exit(-code)
    os.kill(os.getpid(), code)


def fail(progress: Report) -> None:
    """With a message of two lines."""
    raise ValueError("first\nsecond")


def unpicklable(progress: Report) -> Any:
    """What can't be sent back."""
    return lambda: None


def sleep(path: Path, progress: Report) -> None:
    """For very long, after telling by which process."""
    path.write_text(str(os.getpid()))
    time.sleep(1000)


def all_of(workers: Workers, n: int, seconds: float = 60.0) -> dict[int, Event]:
    """The last events of n calls."""
    last: dict[int, Event] = {}
    until = time.monotonic() + seconds
    while len(last) < n:
        assert time.monotonic() < until
        last.update({event.number: event for event in workers.events(0.2) if event.is_over})
    return last


def is_alive(pid: int) -> bool:
    """Whether there is such a process, other than one that has ended and that nobody asked about yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, seconds: float = 20.0) -> bool:
    """Whether it ends soon."""
    until = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_alive(pid)


def test_a_death_fails_one_call_alone(tmp_path: Path) -> None:
    """The others are carried out, by new processes where needed; errors tell what happened, in one line."""
    calls: list[tuple[Any, ...]] = [(double, 1), (die, 9), (double, 2), (fail,), (die, -3), (unpicklable,), (double, 3)]
    calls.append((lambda progress: None,))
    with Workers(2) as workers:
        for number, (call, *arguments) in enumerate(calls):
            workers.submit(number, call, *arguments)
        last = all_of(workers, len(calls))
    assert [last[number].value for number in (0, 2, 6)] == [2, 4, 6]
    assert last[1].error == "its process died: SIGKILL, as when memory runs out"
    assert last[4].error == "its process died: exit code 3"
    assert last[3].error == "ValueError: first second"
    assert "in fail" in (last[3].trace or "")
    assert all("pickle" in (last[number].error or "") for number in (5, 7))
    path = tmp_path / "trace.txt"
    assert last[3].why(path) == f"ValueError: first second (traceback: {path})"
    assert path.read_text() == last[3].trace
    assert "can't be written" in last[3].why(tmp_path / "nowhere" / "trace.txt")


def terminated_while_asleep(path: Path) -> None:
    """SIGTERM to this process, while another one is at a call."""
    with Workers(1) as workers:
        workers.submit(0, sleep, path)
        while not path.exists() or not path.read_text():
            list(workers.events(0.05))
        os.kill(os.getpid(), signal.SIGTERM)


def test_an_interruption_ends_own_processes_alone(tmp_path: Path) -> None:
    """Another child of the user's lives on; SIGTERM is an interruption too, and afterwards what it was before."""
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(1000,))
    other.start()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt):
            terminated_while_asleep(tmp_path / "pid")
        assert gone(int((tmp_path / "pid").read_text()))
        assert other.is_alive()
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        other.kill()
        other.join()


def test_a_user_s_own_handler_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anything installed outside the main thread, where Python allows none."""

    def own(number: int, frame: Any) -> None:
        """Nothing."""

    before = signal.signal(signal.SIGTERM, own)
    try:
        with Workers(1):
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
    seen: list[Any] = []

    def elsewhere() -> None:
        with Workers(1):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]


SCRIPT = """
import sys
from pathlib import Path
from lifelong_gym.benchmark.workers import Workers
from tests.test_workers import sleep
def main():
    with Workers(1) as workers:
        workers.submit(0, sleep, Path(sys.argv[1]))
        while True:
            list(workers.events(0.2))
{guard}main()
"""


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Though nobody tells them to."""
    script, pid = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(SCRIPT.format(guard="if __name__ == '__main__': "))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, str(script), str(pid)], env=environment)
    while not pid.exists() or not pid.read_text():
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert gone(int(pid.read_text()))


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    """It doesn't start processes for ever."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard=""))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "pid")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1
    assert "worker processes can't begin" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr
