"""`edge bench ingest`: CPU time of a frame from the socket into its slot, beside that of a bare receive loop.

Theory of operation
-------------------
A process sends one series after the other over TCP, as fast as it can. This one receives them in turns: a bare loop,
then ours, then bare again. Each round gives one ratio, so what else the machine does meanwhile falls on both. CPU time
is that of all threads of this process, libzmq's among them. Both have the same high-water marks, both sleep in a poll
when nothing is there, and slots are shared memory that was touched before.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from edge.bench.sizing import bare, ours
from edge.bench.sizing.feeder import Feeder
from edge.bench.sizing.feeding import Order
from edge.bench.sizing.spent import Spent
from edge.bench.sizing.wire import Case
from edge.inference.shared_memory import Namespace, Region
from streams import sockets
from streams.messages import Compression

FRAMES_NBYTES = 256 << 20
"""The default of `memory_mib`."""

OUTPUTS_NBYTES = 1 << 20
WARM_UP = 0.2
"""Part of a series that comes before what is timed."""

SMALL, LARGE, PACKED = 10_000, 40, 200
CASES: Mapping[str, Case] = {
    "ingest_128_v1": Case("simplon-v1", (128, 128), images=SMALL),
    "ingest_128_v2": Case("stream-v2", (128, 128), images=SMALL),
    "ingest_2048_v1": Case("simplon-v1", (2048, 2048), images=LARGE),
    "ingest_2048_v2": Case("stream-v2", (2048, 2048), images=LARGE),
    "ingest_bslz4": Case("stream-v2", (1024, 1024), compression=Compression.BSLZ4, images=PACKED),
}
"""By the names of rows."""


@dataclass
class Compared:
    """One case: each round has both."""

    case: Case
    reference: str  # what it is held against, in words
    bare: list[Spent] = field(default_factory=list)
    ours: list[Spent] = field(default_factory=list)
    decoders_us: Mapping[str, float] = field(default_factory=dict)  # CPU microseconds an image


def measure(name: str, rounds: int, scale: float, hear: Callable[[], None]) -> Compared:
    """All rounds of the case `name`; `scale` is the part of its images that is sent; `hear` is told of each round.

    Raises:
        ChildError, SharedMemoryError, Lost: it could not be measured.
    """
    case = msgspec.structs.replace(CASES[name], images=max(10, round(CASES[name].images * scale)))
    warm_up = int(WARM_UP * case.images)
    order = Order(case)
    with Namespace() as memory, sockets.context() as ctx, Feeder() as feeder:
        frames, outputs = memory.region("frames", FRAMES_NBYTES), memory.region("outputs", OUTPUTS_NBYTES)
        frames.view[...] = 1
        found, extra = _against(case, frames)
        feeder.prepare(order)
        for number in range(-1, rounds):
            spent = bare.receive(ctx, feeder, order, warm_up, extra)
            also = ours.take_in(ctx, feeder, order, warm_up, frames, outputs)
            if number >= 0:  # the first round warms up caches and allocators
                found.bare.append(spent)
                found.ours.append(also)
                hear()
    return found


def _against(case: Case, frames: Region) -> tuple[Compared, bare.Extra]:
    if case.compression is Compression.BSLZ4:
        name, took = bare.fastest(case)
        extra = bare.decoding(bare.place_of(case), bare.decoders(case)[name])
        return Compared(case, f"bare receive and {name}", decoders_us=took), extra
    if case.small:
        return Compared(case, "bare receive"), bare.nothing
    ring: np.ndarray = ours.slots_of(frames, case)
    return Compared(case, "bare receive and one copy"), bare.copying(bare.place_of(case), ring)
