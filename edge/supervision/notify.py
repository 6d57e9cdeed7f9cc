"""What a service tells its supervisor: systemd's notify protocol, datagrams to the socket `$NOTIFY_SOCKET`.

Sources: `sd_notify(3)`, `sd_watchdog_enabled(3)`. The same words go to systemd and to `edge up`.
"""

import logging
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

log = logging.getLogger(__name__)

MAX_STATUS = 500
"""Characters of a status text; systemd takes datagrams of 4096 bytes."""
SEND_S = 1.0
"""How long a word that must arrive waits for a supervisor that is busy."""
BEATS = 3
"""Beats in the time after which a service without one is taken for hung."""


class Notifier:
    """A service's line to its supervisor; without one (no `NOTIFY_SOCKET`) every method does nothing.

    Nothing here raises or holds the caller up: a supervisor that is gone must not take its services along. For any
    thread.

    Args:
        environment: where `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` stand; `os.environ` by default.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_UNIX, kind) if address else None
        self._every_s = watchdog_s(environment) / BEATS
        self._beaten: float | None = None

    def ready(self) -> None:
        """It does its work from now on; also the first beat."""
        self._send("READY=1")
        self.beat()

    def status(self, text: str) -> None:
        """One line for people: what it is doing, or why it is not ready."""
        self._send(f"STATUS={' '.join(text.split())[:MAX_STATUS]}")

    def beat(self) -> None:
        """Call this often, from the thread whose hanging must be noticed; the beats that are sent are fewer."""
        now = time.monotonic()
        due = self._beaten is None or now - self._beaten >= self._every_s
        if self._every_s and due and self._send("WATCHDOG=1", patience_s=0):  # never held up: the next turn is near
            self._beaten = now

    def stopping(self) -> None:
        """It ends by itself; no beats from now on."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Nothing is told any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, words: str, patience_s: float = SEND_S) -> bool:
        """Whether the supervisor has it. A full queue is waited for, as it is emptied by someone who is only busy."""
        if (line := self._socket) is None:
            return False
        deadline = time.monotonic() + patience_s
        with suppress(OSError):
            while True:
                try:
                    line.sendto(words.encode(), self._address)
                    return True
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        break
                    time.sleep(0.01)
        log.debug("the supervisor did not take %r", words)
        return False


def watchdog_s(environment: Mapping[str, str]) -> float:
    """Seconds without a beat after which a supervisor takes this process for hung; 0 where none does."""
    usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not (usec.isascii() and usec.isdigit()) or (pid and pid != str(os.getpid())):
        return 0.0
    return int(usec) / 1e6
