"""Processes that nobody looks after: of an earlier `edge up` that was killed, and of services that have ended."""

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge.supervision import processes, runfolder
from edge.supervision.machine import KILLED_S

LOOK_S = 0.02


def await_earlier(folder: Path, tell: Callable[[str], None]) -> list[str]:
    """Wait for the services of an earlier `edge up` of this folder, which end since it has; then kill the slow ones.

    A pid that is another process's now is left alone. The folder's lock must be held.

    Returns:
        Names of services that could not be ended.
    """
    state = runfolder.read_state(folder)
    if state is None or state.boot != processes.boot_id():
        return []
    old = {each.name: each for each in state.services if each.pid and processes.began(each.pid) == each.began}
    if old:
        tell(f"waiting for what an earlier `edge up` left: {', '.join(f'{n} (pid {e.pid})' for n, e in old.items())}")
    began = time.monotonic()
    for each in sorted(old.values(), key=lambda service: service.patience_s):
        assert each.pid is not None
        if _ends(each.pid, each.began, began + each.patience_s - time.monotonic()):
            continue
        tell(f"{each.name} (pid {each.pid}) did not end within {each.patience_s:g} s: killed")
        processes.signal_process(each.pid, each.began, signal.SIGKILL, group=True)
        _ends(each.pid, each.began, KILLED_S)
    return [name for name, each in old.items() if processes.began(each.pid or 0) == each.began]


def end_orphans(patience_s: float, asked: Callable[[], bool]) -> bool:
    """Wait for the children that are left, adopted ones too, and kill them after `patience_s` or when `asked`.

    Returns:
        Whether any had to be killed.
    """
    deadline, killed, given_up = time.monotonic() + patience_s, False, False
    while _reap() and not given_up:
        if not killed and (time.monotonic() >= deadline or asked()):
            killed, deadline = True, time.monotonic() + KILLED_S
        if killed:
            for pid in processes.children():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            given_up = time.monotonic() >= deadline
        time.sleep(LOOK_S)
    return killed


def _reap() -> bool:
    """Whether there are children still."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
        return True
    return False


def _ends(pid: int, ticks: int, patience_s: float) -> bool:
    """Whether the process, not a child of ours, ends in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        if processes.began(pid) != ticks:
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(0.0, patience_s) * 1000))
    finally:
        os.close(descriptor)
