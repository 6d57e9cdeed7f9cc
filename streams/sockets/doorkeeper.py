"""Asks for each client that connects with a key whether it may: the other end of ZAP (ZeroMQ RFC 27)."""

import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

import zmq
from zmq.auth.thread import ThreadAuthenticator

from streams.sockets.errors import KeysError
from streams.sockets.keys import CLIENTS, Keys, allowed

log = logging.getLogger(__name__)

LOG_S = 10.0
"""Shortest time between two lines on refusals."""

SETTLED_NS = 2_000_000_000
"""A folder that changed less than so long ago is read each time: clocks of file systems are coarse."""


def vouching(ctx: "zmq.Context[Any]", domain: str, keys: Keys) -> ThreadAuthenticator:
    """A thread that answers for the sockets of `ctx` in the ZAP domain `domain`, until it is stopped."""
    authenticator = _Authenticator(ctx)
    authenticator.configure_curve_callback(domain, Doorkeeper(keys, authenticator))
    authenticator.start()
    return authenticator


class _Authenticator(ThreadAuthenticator):
    """Remembers where the client is that is asked about, for the log."""

    address = ""

    async def handle_zap_message(self, msg: list[bytes]) -> None:
        self.address = msg[3].decode("ascii", "replace") if len(msg) > 3 else ""
        await super().handle_zap_message(msg)


class Asked(Protocol):
    """Who asks."""

    @property
    def address(self) -> str: ...


class Doorkeeper:
    """Says of each key whether it may connect; the folder of clients is read again when it has changed.

    Attributes:
        refused: connections refused for a key that is not allowed.
    """

    def __init__(self, keys: Keys, asked: Asked) -> None:
        self.refused = 0
        self._keys, self._asked = keys, asked
        self._allowed: Mapping[bytes, str] = {}
        self._seen: tuple[Any, ...] = ()  # the files of `_allowed`
        self._told = 0
        self._not_before = 0.0  # the next line, monotonic

    def callback(self, domain: str, key: bytes) -> bool:
        """Called by pyzmq, in the authenticator's thread, for each client that proved to own `key`."""
        try:
            self._look()
        except (KeysError, OSError, ValueError) as error:  # else pyzmq's thread ends, and nobody gets in any more
            self._refuse(str(error))
            return False
        if key not in self._allowed:
            self._refuse(f"its key {key.decode()} is not in {self._keys.folder / CLIENTS} (`edge keys client`)")
        return key in self._allowed

    def _look(self) -> None:
        """Read the folder again if it is not what it was. Raises KeysError, OSError."""
        folder = self._keys.folder
        found = [(".", folder.stat())]  # FileNotFoundError where nothing is mounted there now
        with suppress(FileNotFoundError), os.scandir(folder / CLIENTS) as entries:
            found += [(CLIENTS, (folder / CLIENTS).stat()), *((entry.name, entry.stat()) for entry in entries)]
        seen = tuple(sorted((name, each.st_ino, each.st_mtime_ns, each.st_ctime_ns) for name, each in found))
        newest = max(each.st_ctime_ns for _, each in found)
        if seen != self._seen or time.time_ns() - newest < SETTLED_NS:
            self._allowed, self._seen = {}, ()
            self._allowed, self._seen = allowed(self._keys), seen

    def _refuse(self, why: str) -> None:
        self.refused += 1
        if time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + LOG_S
            news = self.refused - self._told
            self._told = self.refused
            log.warning("%d connections refused for their key; the last from %s: %s", news, self._asked.address, why)
