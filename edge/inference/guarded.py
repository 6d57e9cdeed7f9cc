"""The parent's end of the guardian: commands down a pipe, reports from a reader thread."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.inference import shm_names
from edge.inference.errors import ServerError

PROC = Path("/proc")
ANSWER_S = 30.0
"""A guardian that says nothing for this long on a starved machine is taken for dead."""


@dataclass(frozen=True)
class Launch:
    """What to start: the command, its whole environment, its log file and its shared-memory prefix."""

    argv: tuple[str, ...]
    env: dict[str, str]
    log: Path
    prefix: str


class Guarded:
    """At most one server process at a time, and a guardian that ends it with us.

    `on_exit(text)` is called, from the reader thread, when the server ends without having been told to; by then
    all its processes are gone.
    """

    def __init__(self, owner_prefix: str, lock_fd: int, on_exit: Callable[[str], None]) -> None:
        """Start the guardian of `owner_prefix`, which inherits `lock_fd`."""
        self._owner_prefix = owner_prefix
        self._lock_fd = lock_fd
        self._on_exit = on_exit
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._expected = False
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._launched: Launch | None = None
        self.server_pid: int | None = None
        self._process = self._spawn()
        self._reader = threading.Thread(target=self._read, name="guardian-reader", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id of the guardian."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the guardian itself still runs."""
        return not self._lost.is_set()

    def launch(self, launch: Launch) -> int:
        """Start the server and return its process id. Raises ServerError where it cannot be executed."""
        self._expected = False
        self._launched = launch
        self._ended.clear()
        command = {"argv": launch.argv, "env": launch.env, "log": str(launch.log), "prefix": launch.prefix}
        self._send({"start": command})
        answer = self._answer()
        if "started" not in answer:
            raise ServerError(f"tritonserver could not be started: {answer.get('error', 'its guardian died')}")
        return int(answer["started"])

    def end(self, patience_s: float) -> None:
        """End the server: politely for `patience_s` seconds, then by force. It is gone when this returns."""
        with self._lock:
            if self.server_pid is None:
                return
            self._expected = True
        self._send({"stop": patience_s})
        if not self._ended.wait(patience_s + ANSWER_S):
            self._process.kill()  # a guardian that does not answer: the reader thread does the rest
            self._ended.wait(ANSWER_S)

    def close(self) -> None:
        """End the server if it runs, and the guardian. Idempotent."""
        self.end(0.0)
        self._send({"bye": True})
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._reader.join(ANSWER_S)

    def _spawn(self) -> subprocess.Popen[bytes]:
        # `-m edge...` shows in ps what it is; the path is needed where edge is not installed but run in place.
        root = str(Path(__file__).resolve().parents[2])
        inherited = os.environ.get("PYTHONPATH")
        path = root if not inherited else os.pathsep.join((root, inherited))
        return subprocess.Popen(
            # -P: a `signal.py` in the working directory is not the standard library's.
            [sys.executable, "-P", "-m", "edge.inference.guardian", str(os.getpid()), self._owner_prefix],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            pass_fds=(self._lock_fd,),
            env={**os.environ, "PYTHONPATH": path},
            bufsize=0,
        )

    def _send(self, command: dict[str, Any]) -> None:
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            return
        unsent = memoryview(json.dumps(command).encode() + b"\n")
        try:
            while unsent:  # a pipe may take a part only: an environment may be larger than it
                unsent = unsent[stdin.write(unsent) :]
        except BrokenPipeError:
            return  # the reader thread sees the same death and reports it

    def _answer(self) -> dict[str, Any]:
        try:
            return self._answers.get(timeout=ANSWER_S)
        except queue.Empty:
            return {"error": f"its guardian did not answer in {ANSWER_S:.0f} s"}

    def _read(self) -> None:
        """Reader thread: reports until the guardian's end of the pipe closes."""
        stdout = self._process.stdout
        assert stdout is not None
        with stdout:
            for line in iter(stdout.readline, b""):
                report = json.loads(line)
                if "started" in report:
                    self.server_pid = int(report["started"])
                if "exited" in report and "error" not in report:
                    self._server_ended(_exit_text(report["exited"]))
                else:
                    self._answers.put(report)
        self._lost.set()
        # The guardian is gone; until it is reaped its session id cannot be reused, so this kills only ours.
        if self.server_pid is not None:
            self._kill_session()
            self._server_ended("its guardian process died")
        self._answers.put({"error": "its guardian process died"})
        self._process.wait()

    def _server_ended(self, text: str) -> None:
        with self._lock:
            expected, self.server_pid = self._expected, None
        self._ended.set()
        if not expected:
            self._on_exit(text)

    def _kill_session(self) -> None:
        for pid in session_members(self._process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        while session_members(self._process.pid):
            time.sleep(0.005)
        if self._launched is not None:
            shm_names.remove_entries(self._launched.prefix)


def session_members(session: int) -> list[int]:
    """Processes of `session` that still run, its leader left out."""
    members = []
    for entry in PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != session:
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            state, sid = fields[0], int(fields[3])
            if sid == session and state not in "ZX":
                members.append(int(entry.name))
    return members


def _exit_text(code: int) -> str:
    if code < 0:
        return f"tritonserver was killed by {signal.Signals(-code).name}"
    return f"tritonserver exited with status {code}"
