"""The start of a series reaches one worker only; the others get it here before they take in its first image.

A start has what all images need: masks and flat fields, the name of the series where it has no unique id. So a worker
that gets an image of a series of which it knows no start waits until another worker's has reached it. That takes
milliseconds, and happens once a series.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from streams.messages import Decoder, Frame, Message, Part, SeriesStart

REMEMBERED = 64
"""Series whose starts are known."""

RECOVERED_NS = 5_000_000_000
"""A message that is older came from a capture: then the other workers may still be starting, and are waited for longer.
"""

WAIT_S = 1.0
RECOVERED_WAIT_S = 10.0

Known = TypeVar("Known")
Wait = Callable[[Callable[[], bool], float], None]
"""Hears what comes from whoever gathers, until a condition is true, for at most so many seconds."""


class AwaitingDecoder:
    """A `Decoder` that puts the starts that other workers got before the messages that need them.

    Args:
        inner: of the protocol.
        wait: for a start that is on its way.
    """

    def __init__(self, inner: Decoder, wait: Wait) -> None:
        self._inner = inner
        self._wait = wait
        self._relayed: dict[str, SeriesStart] = {}  # not handed out yet
        self._begun: dict[str, bool] = {}  # series whose start was handed out: whether it came to this worker
        self._missed: dict[str, None] = {}  # series of which no start came in time
        self._named: dict[str, str] = {}  # names that our decoder made up: those that the others know
        self._current = ""  # the series of the last message, where there is nothing to do for the next one

    def relayed(self, start: SeriesStart) -> None:
        """Another worker got this start."""
        if start.series_uid not in self._begun:
            _remember(self._relayed, start.series_uid, start)
            self._current = ""

    def own(self, start: SeriesStart) -> bool:
        """Whether the start came to this worker."""
        return self._begun.get(start.series_uid, True)

    def decode(self, parts: Sequence[Part], received_ns: int) -> list[Message]:
        """As the protocol's; raises CodecError."""
        messages = self._inner.decode(parts, received_ns)
        if all(message.series_uid == self._current and not isinstance(message, SeriesStart) for message in messages):
            return messages
        out: list[Message] = []
        for message in messages:
            out += self._with_start(message, received_ns)
        return out

    def closed(self, series_uid: str) -> None:
        """As the protocol's."""
        self._inner.closed(series_uid)

    def _with_start(self, message: Message, received_ns: int) -> list[Message]:
        self._current = ""
        if isinstance(message, SeriesStart):
            _remember(self._begun, message.series_uid, True)
            self._relayed.pop(message.series_uid, None)
            return [message]
        uid = self._named.get(message.series_uid, message.series_uid)
        if uid not in self._begun and isinstance(message, Frame):
            uid = self._await(uid, message.series_id, received_ns)
        if uid != message.series_uid:
            _remember(self._named, message.series_uid, uid)
            message = msgspec.structs.replace(message, series_uid=uid)
        elif isinstance(message, Frame):
            self._current = uid
        start = self._relayed.pop(uid, None) if isinstance(message, Frame) else None
        if start is None:
            return [message]
        _remember(self._begun, uid, False)
        return [start, message]

    def _await(self, uid: str, series_id: int, received_ns: int) -> str:
        """Wait for the start of a series; returns the name that the others know it by."""
        made_up = uid == f"{received_ns}_{series_id}"  # streams.codecs.limits.SeriesNames

        def name() -> str:
            if uid in self._relayed or not made_up:
                return uid
            known = [start.series_uid for start in self._relayed.values() if start.series_id == series_id]
            return known[-1] if known else uid

        if name() not in self._relayed and uid not in self._missed:
            late = time.time_ns() - received_ns > RECOVERED_NS
            self._wait(lambda: name() in self._relayed, RECOVERED_WAIT_S if late else WAIT_S)
            if name() not in self._relayed:
                _remember(self._missed, uid, None)
        return name()


def _remember(known: dict[str, Known], key: str, value: Known) -> None:
    known[key] = value
    while len(known) > REMEMBERED:
        known.pop(next(iter(known)))
