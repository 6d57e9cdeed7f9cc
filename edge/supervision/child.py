"""One process of a service: started in a session of its own, with a pipe that ends when the supervisor does."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from edge.supervision.logfile import LogFile, printable
from edge.supervision.machine import Service
from edge.supervision.processes import began, kill_session

MAX_FACTS = 1 << 16
"""Bytes of standard output that are looked at; a service says one line there."""
OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")
"""Variables from our own supervisor that are not for our services."""


class Child:
    """A running process of `service`. Raises OSError where it cannot be started.

    Its standard input is a pipe that nothing is written to: with `--stop-at-eof` it ends when we do, however we end.
    Standard output brings one JSON object when it is ready; its log is standard error.
    """

    def __init__(self, service: Service, log: LogFile, notify: str, environment: Mapping[str, str]) -> None:
        env = {name: value for name, value in environment.items() if name not in OURS} | {"NOTIFY_SOCKET": notify}
        if service.watchdog_s:
            env["WATCHDOG_USEC"] = str(int(service.watchdog_s * 1e6))
        descriptor = log.opened()
        try:
            self._process = subprocess.Popen(
                service.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=descriptor,
                env=env,
                start_new_session=True,
                bufsize=0,
            )
        finally:
            os.close(descriptor)
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self.service = service
        self.pid = self._process.pid
        self.began = began(self.pid) or 0
        self.facts: dict[str, Any] = {}
        self._said = b""

    def fileno(self) -> int:
        """Its standard output."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def read_facts(self) -> bool:
        """Take what it said on standard output; False where that has ended."""
        assert self._process.stdout is not None
        with suppress(BlockingIOError):
            while data := self._process.stdout.read(MAX_FACTS):
                self._said = (self._said + data)[-MAX_FACTS:]
                *lines, self._said = self._said.split(b"\n")
                for line in lines:
                    self.facts = _object(line) or self.facts
            return data is None
        return True

    def terminate(self) -> None:
        """SIGTERM to the process itself: what it started is its own to end."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to its whole session."""
        kill_session(self.pid)

    def reap(self) -> int:
        """After it has ended: end what is left of its session; returns its exit status."""
        kill_session(self.pid)
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return code


def _object(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line, its text printable; None where there is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {key: printable(value) if isinstance(value, str) else value for key, value in found.items()}
