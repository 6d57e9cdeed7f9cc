"""What we are held against: a bare pyzmq receive loop, and what else nobody can do without.

    while True:
        parts = socket.recv_multipart(copy=False)

For large images it copies each into the same ring of slots as ours, for compressed ones it decodes each with whichever
public library is the fastest on this machine.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import bitshuffle
import numpy as np
from dectris.compression import decompress
from numpy.typing import NDArray

from edge.bench.sizing.feeder import Feeder
from edge.bench.sizing.feeding import HIGH_WATER_MARK, Order
from edge.bench.sizing.spent import Spent, stopwatch
from edge.bench.sizing.wire import Case, Maker
from streams import sockets
from streams.codecs.compression import HEADER
from streams.messages import Compression
from streams.simulation.onwire import Place
from streams.simulation.simulator import pixels_of

PATIENCE_MS = 30_000

Extra = Callable[[Sequence[Any]], None]
"""What is done with the parts of a message (zmq.Frame)."""


def nothing(parts: Sequence[Any]) -> None:
    """They are dropped."""


def receive(ctx: sockets.Context, feeder: Feeder, order: Order, warm_up: int, extra: Extra = nothing) -> Spent:
    """Receive a series, and time the images after the first `warm_up`."""
    socket = sockets.pull(ctx, HIGH_WATER_MARK)
    socket.zmq.rcvtimeo = PATIENCE_MS
    address = socket.bind("tcp://127.0.0.1:*")
    feeder.order(_to(order, address))
    recv = socket.zmq.recv_multipart
    try:
        for _ in range(1 + warm_up):  # the start is a message too
            extra(recv(copy=False))
        images = order.case.images - warm_up
        spent = stopwatch()
        for _ in range(images):
            extra(recv(copy=False))
        found = spent(images)
        recv(copy=False)
        feeder.sent()
    finally:
        socket.close()
    return found


def copying(place: Place, ring: NDArray[np.uint8]) -> Extra:
    """Copies the pixels, at `place` of the message, into one slot after the other of `ring` [slots, bytes]."""
    number, start, stop = place
    slots, at = list(ring), 0

    def copy(parts: Sequence[Any]) -> None:
        nonlocal at
        if len(parts) > number and len(parts[number]) >= stop:
            slots[at][...] = np.frombuffer(parts[number].buffer, np.uint8)[start:stop]
            at = (at + 1) % len(slots)

    return copy


def decoding(place: Place, decode: Callable[[Any], object]) -> Extra:
    """Decodes the pixels at `place` of the message."""
    number, start, stop = place

    def run(parts: Sequence[Any]) -> None:
        if len(parts) > number and len(parts[number]) >= stop:
            decode(parts[number].buffer[start:stop])

    return run


def place_of(case: Case) -> Place:
    """Where the pixels lie in the messages of a case's images: they differ in length by their ids' only, and large ones
    have the ids of `case`, for which the place is that of the last one."""
    message = Maker(case).series(1).image(case.images - 1)
    (place,) = pixels_of(case.protocol, message)
    return place


def decoders(case: Case) -> Mapping[str, Callable[[Any], object]]:
    """Public libraries that decode bslz4 images of `case`; blob -> pixels."""
    shape, dtype = case.shape, np.dtype(case.dtype)

    def by_bitshuffle(blob: Any) -> object:
        _, block_nbytes = HEADER.unpack_from(blob)
        packed = np.frombuffer(blob, np.uint8)[HEADER.size :]
        return bitshuffle.decompress_lz4(packed, shape, dtype, block_nbytes // dtype.itemsize)

    return {
        "dectris-compression": lambda blob: decompress(blob, "bslz4", elem_size=dtype.itemsize),
        "bitshuffle": by_bitshuffle,
    }


def fastest(case: Case, times: int = 20) -> tuple[str, Mapping[str, float]]:
    """The name of the fastest of `decoders`, and the CPU microseconds an image of all.

    Raises:
        ValueError: the case is not compressed so.
    """
    if case.compression is not Compression.BSLZ4:
        raise ValueError(f"{case.compression} is not decoded here")
    place = place_of(case)
    message = Maker(case).series(1).image(case.images - 1)
    blob = memoryview(message[place[0]])[place[1] : place[2]]
    took: dict[str, float] = {}
    for name, decode in decoders(case).items():
        best = np.inf
        for _ in range(times):
            before = time.process_time()
            decode(blob)
            best = min(best, time.process_time() - before)
        took[name] = 1e6 * best
    return min(took, key=lambda name: took[name]), took


def _to(order: Order, address: str) -> Order:
    return Order(order.case, order.number, address, order.images, order.rate_hz)
