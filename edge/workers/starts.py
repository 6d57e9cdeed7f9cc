"""The start of a series reaches one worker only; the others get it here before they take in its first image.

A start has what all images need: masks and flat fields, the name of the series where it has no unique id. So a worker
that gets an image of a series of which it knows no start waits until another worker's has reached it. That takes
milliseconds, and happens once a series.

Where a detector uses a unique id again the second series gets a name of its own here (`edge.workers.names`). Its images
carry the same id as those of the first: they count to the newest start that this worker knows of.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from edge.workers.names import armed, first_name, second
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
        self._named: dict[str, str] = {}  # names on the wire that others know by another: made up here, or used twice
        self._armed: dict[str, object] = {}  # by unique id: when the first series of that id was armed
        self._current = ""  # the series of the last message, where there is nothing to do for the next one

    def relayed(self, start: SeriesStart) -> None:
        """Another worker got this start, or whoever gathers has another name for it."""
        if on_wire := first_name(start):
            _remember(self._named, on_wire, start.series_uid)
            self._current = ""
        else:
            _remember(self._armed, start.series_uid, self._armed.get(start.series_uid, armed(start)))
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
            start = self._under_its_name(message)
            _remember(self._begun, start.series_uid, True)
            self._relayed.pop(start.series_uid, None)
            return [start]
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

    def _under_its_name(self, start: SeriesStart) -> SeriesStart:
        """A start that came to this worker; its images are those that come from now on."""
        uid, again = start.series_uid, second(start)
        if self._named.get(uid) == again.series_uid or self._armed.get(uid, armed(start)) != armed(start):
            _remember(self._named, uid, again.series_uid)
            return again
        _remember(self._armed, uid, armed(start))
        if self._named.get(uid, "").startswith(f"{uid}~"):  # a capture, gone through from the first series on
            del self._named[uid]
        return start

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
