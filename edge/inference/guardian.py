"""Keeps one server process from outliving us: `python -m edge.inference.guardian PARENT_PID`.

The guardian is started in a session of its own, so a terminal's Ctrl-C reaches neither it nor the server. It
reads one JSON command a line and answers with one JSON report a line:

    {"start": {"argv": [...], "env": {...}, "log": PATH, "prefix": P}}  ->  {"started": PID}
    {"stop": SECONDS}                                                   ->  {"exited": CODE}
    (the server dies by itself)                                         ->  {"exited": CODE}
    {"bye": true}                                                       ->  exits, leaves the owner's regions alone

`exited` is sent after every process of that server is reaped and its shared-memory entries (prefix P) are gone,
so its memory can be used again. When the parent is gone - the pipe ends, or its process does: a fork of the
parent may hold the pipe - the server is terminated, every entry of the owner's prefix is removed, and the
guardian exits. After a failure of its own it exits too, but leaves the memory of a parent that lives. The server
itself is killed by the kernel should the guardian die first (PR_SET_PDEATHSIG).
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from edge.inference import shm_names
from edge.inference.options import STOP_S

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MOST_FILES = 65536
"""Some programs close all that they may have open, one by one: a hard limit may be a thousand million."""


class Child:
    """The server: leader of a process group, whose orphans are ours to reap."""

    def __init__(self, start: dict[str, Any]) -> None:
        self.prefix: str = start["prefix"]
        guardian = os.getpid()

        def before_exec() -> None:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            limit_resources()
            if os.getppid() != guardian:
                os._exit(1)

        with open(start["log"], "ab") as log:
            self._process = subprocess.Popen(
                start["argv"],
                env=start["env"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(start["log"]).parent,
                process_group=0,
                umask=0o077,
                preexec_fn=before_exec,
            )
        self.pid = self._process.pid

    def exit_code(self) -> int | None:
        """Exit status once the server has ended (negative: killed by that signal)."""
        return self._process.poll()

    def finish(self, patience_s: float) -> int:
        """End the server, kindly for `patience_s`, and everything it started; return its exit status."""
        if self._process.poll() is None and patience_s > 0:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        _reap_orphans()
        shm_names.remove_entries(self.prefix)
        return code


class Guardian:
    """The loop: commands in, reports out, until the parent is gone."""

    def __init__(self, parent_pid: int) -> None:
        self._parent_pid = parent_pid
        self._child: Child | None = None
        self._pending = b""
        self._dismissed = False
        self._woken, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        # Handlers, not SIG_IGN: an ignored signal would stay ignored in the server. SIGTERM is for the parent to
        # act upon: a service manager sends it to the whole control group, and the parent may want to drain.
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _wake_only)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def run(self) -> bool:
        """Serve until the parent is gone, then end the server. False where the parent said good-bye."""
        parent_end = _process_descriptor(self._parent_pid)
        watched = [descriptor for descriptor in (0, self._woken, parent_end) if descriptor is not None]
        while not self._dismissed and os.getppid() == self._parent_pid:
            ready, _, _ = select.select(watched, [], [], None)
            if parent_end in ready:
                break
            if self._woken in ready:
                os.read(self._woken, 4096)
            if 0 in ready and not self._read_commands():
                break
            if self._child is not None and self._child.exit_code() is not None:
                self._end_child(0)
        if self._child is not None:
            self._end_child(0.0)  # whoever wanted its answers is gone, and what it shares is swept here
        return not self._dismissed

    def _read_commands(self) -> bool:
        chunk = os.read(0, 65536)
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return chunk != b""

    def _obey(self, command: dict[str, Any]) -> None:
        if "start" in command and self._child is None:
            try:
                self._child = Child(command["start"])
            except (OSError, subprocess.SubprocessError) as error:
                _report({"exited": None, "error": str(error)})
            else:
                _report({"started": self._child.pid})
        elif "stop" in command and self._child is not None:
            self._end_child(float(command["stop"]))
        elif "bye" in command:
            self._dismissed = True

    def _end_child(self, patience_s: float) -> None:
        if self._child is not None:
            code = self._child.finish(patience_s)
            self._child = None
            _report({"exited": code})


def limit_resources() -> None:
    """No core files, which would hold frames and the token; as many open files as the system lets us have."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def main(parent_pid: int, owner_prefix: str) -> None:
    """Guard until `parent_pid` is gone; then nothing named after `owner_prefix` remains.

    While the parent lives the memory is its own, whatever happens here: it starts another guardian.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    limit_resources()
    dismissed, patience_s = False, 0.0
    try:
        dismissed = not Guardian(parent_pid).run()
        patience_s = STOP_S  # the pipe of a parent that dies ends a little before the parent does
    except Exception as error:
        # Top of the process: say why on the way out. The kernel ends the server with us.
        _report({"guardian_error": f"{type(error).__name__}: {error}"})
        raise
    finally:
        if not dismissed and _is_gone(parent_pid, patience_s):
            shm_names.remove_entries(owner_prefix)
            shm_names.lock_path(owner_prefix).unlink(missing_ok=True)


def _reap_orphans(patience_s: float = 5.0) -> None:
    """Wait for whatever the server left behind; as its subreaper we inherit all of it."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            time.sleep(0.005)


def _process_descriptor(pid: int) -> int | None:
    """Descriptor that becomes readable when `pid` ends; None where the kernel is older than 5.3."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _is_gone(parent_pid: int, patience_s: float) -> bool:
    """Whether the parent ends within `patience_s` seconds, or has ended."""
    deadline = time.monotonic() + patience_s
    while os.getppid() == parent_pid:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _report(report: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the parent is gone: nobody reads reports any more
        os.write(1, json.dumps(report).encode() + b"\n")


def _wake_only(number: int, frame: FrameType | None) -> None:
    """The wake-up pipe has been written to; the loop does the rest."""


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
