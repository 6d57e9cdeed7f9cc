"""What is told to people, or to a program that reads JSON lines. A terminal that does not read holds nothing up."""

import json
import os
import re
import select
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

KEPT = 1_000
"""Lines kept for a terminal that does not take them now; older ones are gone."""
LOGGED_AT = re.compile(r"^\d\d:\d\d:\d\d ")
"""The time that a log line begins with: what is told has one of its own."""
MAX_LINE_BYTES = select.PIPE_BUF
"""So much a pipe takes at once when `poll(2)` says that it takes something."""


class Voice:
    """Writes lines to a descriptor without ever waiting for its reader.

    The descriptor stays in its blocking mode: it may be a terminal that a shell has, too.
    """

    def __init__(self, descriptor: int, as_json: bool) -> None:
        self._descriptor = descriptor
        self._as_json = as_json
        self._lines: deque[bytes] = deque(maxlen=KEPT)
        self._gone = False

    def change(self, service: str, pid: int | None, state: str, reason: str) -> None:
        """A service came to another state."""
        told = {"service": service, "pid": pid, "state": state, "reason": reason}
        self._say({"event": "change", **told}, f"{service} {reason}")

    def said(self, service: str, pid: int | None, line: str) -> None:
        """A service logged something that matters."""
        told = {"service": service, "pid": pid, "reason": line}
        self._say({"event": "said", **told}, f"{service}: {LOGGED_AT.sub('', line)}")

    def ready(self, facts: dict[str, dict[str, Any]]) -> None:
        """All are ready; what each told: for people a line for each service, JSON in one."""
        places = {name: _places(name, told) for name, told in facts.items()}
        lines = ["all ready", *(f"  {name}: {text}" for name, text in places.items() if text)]
        self._say({"event": "ready", "services": facts}, *lines)

    def note(self, text: str) -> None:
        """Something about the whole."""
        self._say({"event": "note", "reason": text}, text)

    def end(self, code: int, reason: str) -> None:
        """The last line."""
        self._say({"event": "end", "code": code, "reason": reason}, reason)

    def flush(self, patience_s: float = 0.0) -> None:
        """Write what is taken, and wait at most `patience_s` for the rest."""
        deadline = time.monotonic() + patience_s
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while self._lines and not self._gone:
            left_ms = max(0, int((deadline - time.monotonic()) * 1000))
            if not any(events & select.POLLOUT for _, events in poll.poll(left_ms)):
                return
            line = self._lines.popleft()
            try:
                written = os.write(self._descriptor, line[:MAX_LINE_BYTES])
            except BrokenPipeError:
                self._gone = True  # nobody reads any more; the services go on
            except OSError:  # no room in a file, for one: the line is lost, the next may find room
                continue
            else:
                if rest := line[written:]:
                    self._lines.appendleft(rest)

    def _say(self, told: dict[str, Any], *texts: str) -> None:
        if self._as_json:
            event = {"event": told.pop("event"), "time": round(time.time(), 3)}
            self._lines.append(json.dumps(event | told).encode() + b"\n")
        else:
            now = time.strftime("%H:%M:%S")
            lines = (f"{now} {text}".encode(errors="replace") for text in texts)
            self._lines.extend(line[: MAX_LINE_BYTES - 1] + b"\n" for line in lines)
        self.flush()


def _places(service: str, told: Mapping[str, Any]) -> str:
    """The addresses among what a service told; one that is called like the service is the service's own."""
    places = {name: value for name, value in told.items() if isinstance(value, str) and ":" in value}
    return ", ".join(value if name == service else f"{name} {value}" for name, value in places.items())
