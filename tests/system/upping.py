"""Runs a supervisor as a process and reads what it tells, for the tests beside this file."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.system.witness import PATIENCE_S, eventually

Told = dict[str, Any]


class Up:
    """A running supervisor and its JSON lines."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.told: list[Told] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def wait_for(self, matches: Callable[[Told], bool], after: int = 0) -> Told:
        """The first line from `after` on that `matches`."""

        def found() -> list[Told]:
            return [line for line in self.told[after:] if matches(line)]

        eventually(lambda: found() or (self.process.poll() is not None and not self._reader.is_alive()), "a line")
        assert found(), f"it ended without telling; {self.told[-10:]} {self.errors()}"
        return found()[0]

    def change(self, service: str, state: str, after: int = 0) -> Told:
        """Wait for a service to come to a state, in a line from `after` on."""
        return self.wait_for(
            lambda line: line["event"] == "change" and (line["service"], line["state"]) == (service, state), after
        )

    def ready(self, after: int = 0) -> Told:
        """Wait for all to be ready."""
        return self.wait_for(lambda line: line["event"] == "ready", after)

    def changes(self, service: str) -> list[str]:
        """States of a service so far, one for each change."""
        return [line["state"] for line in self.told if line["event"] == "change" and line["service"] == service]

    def errors(self) -> str:
        """Its standard error; to be read once, at the end."""
        assert self.process.stderr is not None
        return self.process.stderr.read() if self.process.poll() is not None else ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it, and wait for its end; its exit code."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        """Wait for its end; its exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code


@contextmanager
def running(command: Sequence[str], environment: dict[str, str] | None = None) -> Iterator[Up]:
    """A supervisor that is stopped at the end, whatever happened."""
    up = Up(command, environment)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.process.terminate()
            try:
                up.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                up.process.kill()
                up.process.wait()
        up._reader.join(PATIENCE_S)
        for pipe in (up.process.stdin, up.process.stdout, up.process.stderr):
            if pipe is not None:
                pipe.close()


def toys(folder: Path, **behaviours: str) -> tuple[str, ...]:
    """The command that supervises toy services; `late__early="good"`: `late` needs `early`."""
    described = []
    for name, behaviour in behaviours.items():
        service, _, need = name.partition("__")
        argv = [sys.executable, str(Path(__file__).with_name("toy_service.py")), str(folder / f"{service}.starts")]
        times = {
            "start_s": 2.0 if "never" in behaviour or "liar" in behaviour else 30.0,
            "watchdog_s": 1.0 if "mute" in behaviour else 10.0,
            "patience_s": 1.0 if "deaf" in behaviour else 20.0,
        }
        described.append(
            {
                "name": service,
                "argv": [*argv, behaviour],
                "needs": [need] if need else [],
                **times,
            }
        )
    folder.mkdir(exist_ok=True)
    file = folder / "services.json"
    file.write_text(json.dumps(described))
    return sys.executable, "-m", "tests.system.toy_up", str(folder), str(file)
