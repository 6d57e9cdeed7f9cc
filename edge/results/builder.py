"""Hands finished logs to a child process that builds files of them: HDF5 must not hold up the serving loop.

h5py keeps Python's global lock while HDF5 compresses, so a thread would not do; and a fault inside HDF5 costs the
child, not the data plane.
"""

import json
import logging
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

ATTEMPTS = 2
RETRY_S = 0.1
FIRST_AGAIN_S, LONGEST_AGAIN_S = 5.0, 3600.0
"""When a log is tried again of which no file could be built, a full disk as a rule: each time after twice as long."""
MOST_AGAIN = 1000
KILLED_S = 3.0
"""How long the child may take to be gone when it was killed: the kernel may hold it for its input and output."""
COMMAND = (sys.executable, "-P", "-m", "edge.results.worker")


class _Again(NamedTuple):
    at: float  # monotonic
    wait_s: float


class Builder:
    """Builds one file at a time. The child is started with the first log and ends when its input closes."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._child: subprocess.Popen[str] | None = None
        self._closing = False
        self._again: dict[Path, _Again] = {}
        self._thread = threading.Thread(target=self._run, name="result-builder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, path: Path) -> None:
        """Build a file of this log; from any thread."""
        self._queue.put(path)

    def close(self, patience_s: float) -> None:
        """Finish what was put, for as long as `patience_s`; then end the child, whose logs stay as they are."""
        self._queue.put(None)
        self._thread.join(patience_s)
        self._closing = True
        until = time.monotonic() + KILLED_S
        while self._thread.is_alive() and time.monotonic() < until:
            child = self._child  # may only just have been started
            if child is not None:
                child.kill()
            self._thread.join(RETRY_S)
        if self._thread.is_alive():
            log.error("the process that builds result files was killed and is still there: a disk does not answer")

    def _run(self) -> None:
        while True:
            try:
                path = self._queue.get(timeout=self._due_s())
            except queue.Empty:
                path = min(self._again, key=lambda each: self._again[each].at)
            if path is None:
                break
            self._build(path)
        self._stop()

    def _due_s(self) -> float | None:
        """How long until a log is to be tried again; None: there is none."""
        return max(0.0, min(each.at for each in self._again.values()) - time.monotonic()) if self._again else None

    def _build(self, path: Path) -> None:
        answer = {"error": "edge serve ended before"} if self._closing else self._ask(path)
        before = self._again.pop(path, None)
        if "error" not in answer:
            log.info("%s: %s, %s results", answer["file"], answer["verdict"], answer["stored"])
            return
        if before is None:
            log.error(
                "no result file of %s: %s. Its log stays, and is tried again; by hand: `edge results --build %s`",
                *(path.name, answer["error"], path),
            )
        if len(self._again) < MOST_AGAIN and path.exists():
            wait_s = FIRST_AGAIN_S if before is None else min(2 * before.wait_s, LONGEST_AGAIN_S)
            self._again[path] = _Again(time.monotonic() + wait_s, wait_s)

    def _ask(self, path: Path) -> dict[str, str]:
        """What the child answers; where it ended, over this log or before, a second one is asked."""
        status: int | None = None
        for _ in range(ATTEMPTS):
            line = "" if self._closing else self._line_of_child(path)
            if line:
                return json.loads(line)
            status = self._stop()
        return {"error": f"the process that builds it ended (status {status})"}

    def _line_of_child(self, path: Path) -> str:
        try:
            if self._child is None:
                self._child = subprocess.Popen(  # a session of its own: Ctrl-C in the terminal is for edge serve
                    COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
                )
            assert self._child.stdin is not None and self._child.stdout is not None
            self._child.stdin.write(json.dumps(str(path)) + "\n")
            self._child.stdin.flush()
            return self._child.stdout.readline()
        except OSError as error:
            log.warning("the process that builds result files: %s", error)
            return ""

    def _stop(self) -> int | None:
        """End the child, where there is one; its exit status."""
        child, self._child = self._child, None
        if child is None:
            return None
        try:
            with child:  # closes the pipes and waits
                pass
        except OSError:  # what was written to it last cannot be delivered any more
            child.wait()
        return child.returncode
