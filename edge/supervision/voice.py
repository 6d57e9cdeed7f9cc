"""What is told to people, or to a program that reads JSON lines. A terminal that does not read holds nothing up."""

import json
import os
import select
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

KEPT = 1_000
"""Lines kept for a terminal that does not take them now; older ones are gone."""
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
        self._say({"event": "said", "service": service, "pid": pid, "reason": line}, f"{service}: {line}")

    def ready(self, facts: dict[str, dict[str, Any]]) -> None:
        """All are ready; what each told."""
        places = [f"; {name}: {_places(told)}" for name, told in facts.items() if _places(told)]
        self._say({"event": "ready", "services": facts}, f"all ready{''.join(places)}")

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
                os.write(self._descriptor, line)
            except OSError:
                self._gone = True  # nobody reads any more; the services go on

    def _say(self, told: dict[str, Any], text: str) -> None:
        if self._as_json:
            event = {"event": told.pop("event"), "time": round(time.time(), 3)}
            line = json.dumps(event | told)
        else:
            line = f"{time.strftime('%H:%M:%S')} {text}"
        data = line.encode(errors="replace")
        if len(data) >= MAX_LINE_BYTES and not self._as_json:
            data = data[: MAX_LINE_BYTES - 1]
        self._lines.append(data + b"\n")
        self.flush()


def _places(told: Mapping[str, Any]) -> str:
    """The addresses among what a service told."""
    return ", ".join(f"{name} {value}" for name, value in told.items() if isinstance(value, str) and ":" in value)
