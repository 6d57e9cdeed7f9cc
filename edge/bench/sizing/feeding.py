"""The process that sends: it is told on its standard input what, and says on its standard output when it has.

    python -m edge.bench.sizing.feeding [NICE]

NICE is by how much others go first where there are too few cores. Each line in is an `Order`, each line out answers
one. It ends with its standard input, or when its receiver has stopped reading for `PATIENCE_MS`.
"""

import os
import sys
import time
from collections.abc import Iterable

import msgspec

from edge.bench.sizing.wire import Case, Maker, SeriesMessages, changing, damaging
from streams.messages import Part
from streams.sockets import Context, Socket, context, push

PATIENCE_MS = 60_000
HIGH_WATER_MARK = 64
SLEEP_LEAST_S = 0.0002
CASES = 8
"""Whose images are remembered."""


class Order(msgspec.Struct, frozen=True):
    """One series to be sent."""

    case: Case
    number: int = 1  # of the series
    address: str = ""  # whom to connect to; "": prepare only
    images: int | None = None  # None: all of the case's; else the series ends early
    rate_hz: float | None = None  # None: as fast as they are taken
    then: Case | None = None  # what the second half of the series' images are
    damaged: int = 0  # each n-th message of an image is cut short; 0: none


class Sent(msgspec.Struct, frozen=True):
    """The answer."""

    images: int
    seconds: float  # that sending took


class Feeding:
    """Sends what it is told to."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._socket: tuple[str, Socket] | None = None
        self._makers: dict[Case, Maker] = {}
        self._series: tuple[Order, SeriesMessages] | None = None

    def follow(self, order: Order) -> Sent:
        """Do it.

        Raises:
            zmq.Again: the receiver stopped reading.
        """
        series = self._made(order)
        if not order.address:
            return Sent(0, 0.0)
        socket = self._connected(order.address)
        images = order.case.images if order.images is None else order.images
        began = time.monotonic()
        if order.rate_hz is None:
            _send_all(socket, series.all(images), series.reused)
        else:
            _send_paced(socket, series, images, order.rate_hz)
        return Sent(images, time.monotonic() - began)

    def close(self, linger_ms: int) -> None:
        """What is unsent may take `linger_ms` more to leave. Idempotent."""
        if self._socket is not None:
            self._socket[1].close(linger_ms)
            self._socket = None

    def _made(self, order: Order) -> SeriesMessages:
        wanted = msgspec.structs.replace(order, address="", rate_hz=None)
        if self._series is None or self._series[0] != wanted:
            self._series = None  # a series of large images: one at a time is in memory
            series = self._maker(order.case).series(order.number)
            if order.then is not None:
                series = changing(series, self._maker(order.then).series(order.number), order.case.images // 2)
            if order.damaged:
                series = damaging(series, order.damaged)
            self._series = (wanted, series)
        return self._series[1]

    def _maker(self, case: Case) -> Maker:
        if case not in self._makers:
            self._makers[case] = Maker(case)
            if len(self._makers) > CASES:
                self._makers.pop(next(iter(self._makers)))
        return self._makers[case]

    def _connected(self, address: str) -> Socket:
        if self._socket is None or self._socket[0] != address:
            self.close(PATIENCE_MS)
            socket = push(self._ctx, HIGH_WATER_MARK)
            self._socket = (address, socket)
            socket.zmq.sndtimeo = PATIENCE_MS
            socket.connect(address)
        return self._socket[1]


def _send_all(socket: Socket, messages: Iterable[list[Part]], copied: bool = True) -> None:
    send = socket.zmq.send_multipart
    for parts in messages:
        send(parts, copy=copied)


def _send_paced(socket: Socket, series: SeriesMessages, images: int, rate_hz: float) -> None:
    """A late image does not delay the rest."""
    _send_all(socket, series.start)
    began = time.monotonic()
    for image_id in range(images):
        left_s = began + image_id / rate_hz - time.monotonic()
        if left_s > SLEEP_LEAST_S:
            time.sleep(left_s)
        _send_all(socket, (series.image(image_id),), series.reused)
    _send_all(socket, series.end)


def main() -> None:
    """Follow orders until there are none."""
    if len(sys.argv) > 1:
        os.nice(int(sys.argv[1]))
    with context() as ctx:
        feeding = Feeding(ctx)
        try:
            for line in sys.stdin.buffer:
                sent = feeding.follow(msgspec.json.decode(line, type=Order))
                sys.stdout.buffer.write(msgspec.json.encode(sent) + b"\n")
                sys.stdout.buffer.flush()
            feeding.close(PATIENCE_MS)
        finally:
            feeding.close(0)  # with a socket left open the context would wait for ever


if __name__ == "__main__":
    main()
