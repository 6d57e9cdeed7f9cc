"""`edge bench soak`: millions of frames through one `edge serve`: does it grow, lose or mistake anything?

Theory of operation
-------------------
A process sends series after series, as fast as they are taken, to `edge serve` with a real Triton and `identity`, whose
results are checksums. A subscriber takes all results, compares each n-th with its image, and adds up the accounts of
the series. Resident memory is read when a series ended. With faults, series that cannot be inferred whole come in
between (`mix`), a model is unloaded, and Triton is killed (`striker`); at the end every slot has to be free.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge.bench.sizing.accounts import Books
from edge.bench.sizing.feeder import Feeder
from edge.bench.sizing.feeding import Order
from edge.bench.sizing.listener import Listener
from edge.bench.sizing.listening import Watch
from edge.bench.sizing.mix import Mix
from edge.bench.sizing.proc import Memory, cpu_s, memory
from edge.bench.sizing.rig import RouteText, Served, Setup, serve, triton
from edge.bench.sizing.striker import Striker
from edge.bench.sizing.taken import NOTHING, Held, left_over
from edge.bench.sizing.wire import Case
from edge.demo.children import ChildError

ROUTE = RouteText("identity", "identity", (8, 16))
MEMORY_MIB = 16
"""Little, so that slots go round often, and what grows is not hidden behind them."""

REPLAY_MIB = 8
"""Little, so that this memory is full before it is looked at, and yet it holds the results of a whole series."""

SERIES = 8_000
"""Images of one. The next one begins when the subscriber has had its end, so that it can make up for whatever it was
too slow for: results are remembered for that long."""

EARLY = 100_000
"""Frames after which memory is compared with that at the end: what is kept for subscribers and in pools is full."""

LONG = 10 * EARLY
"""Frames from which on that comparison says something. In a shorter run it begins with a hundredth of the frames."""

SENDER_NICE = 10
"""The others go first, the subscriber among them."""

SERIES_S = 300.0
LEFT_S = 30.0


@dataclass(frozen=True)
class Options:
    """What is done."""

    frames: int
    shape: tuple[int, int] = (128, 128)
    dtype: str = "uint8"
    checked: int = 101  # each n-th result
    faults: bool = False
    strikes: int = 10  # at Triton, where there are faults


@dataclass
class Measured:
    """What came of it."""

    books: Books = field(default_factory=Books)
    memory: list[tuple[int, Memory]] = field(default_factory=list)  # by frames that were sent before
    seconds: float = 0.0
    cpu_s: float = 0.0  # of `edge serve`
    struck: list[str] = field(default_factory=list)
    held: Held = NOTHING

    def early(self, frames: int) -> tuple[int, Memory]:
        """The look at memory that the last one is compared with, in a run of so many frames."""
        least = EARLY if frames >= LONG else frames / 100
        return next(look for look in self.memory if look[0] >= least)


def measure(folder: Path, options: Options, announced: Path | None, hear: Callable[[int], None]) -> Measured:
    """Send and judge; `hear` is told how many frames came through.

    Raises:
        ChildError: something ended by itself, or nothing came through any more.
    """
    measured = Measured()
    case = Case("stream-v2", options.shape, options.dtype, images=min(SERIES, max(20, options.frames // 20)))
    setup = Setup(routes=(ROUTE,), memory_mib=MEMORY_MIB, replay_mib=REPLAY_MIB)
    with triton(setup, folder, announced) as file, serve(setup, folder, file) as served:
        watch = Watch(served.handshake, served.pid, 0, case, options.checked, options.faults)
        striker = Striker(file, options.frames, options.strikes if options.faults else 0)
        with Feeder(SENDER_NICE) as feeder, Listener(watch) as listener:
            began, cpu = time.monotonic(), cpu_s(served.pid)
            for sent in _series(feeder, listener, served, Mix(case, options.frames, options.faults), measured):
                measured.memory.append((sent, memory(served.pid)))
                hear(sent)
                striker.strike(sent)
            measured.seconds, measured.cpu_s = time.monotonic() - began, cpu_s(served.pid) - cpu
        measured.struck = striker.struck
        measured.held = left_over(served.metrics, LEFT_S)
    return measured


def _series(feeder: Feeder, listener: Listener, served: Served, mix: Mix, measured: Measured) -> Iterator[int]:
    """Send all series of `mix`; yields the frames that were sent up to each one that has ended, while the next one is
    sent."""
    orders = iter(mix)
    order = _begin(feeder, served, next(orders))
    while order is not None:
        heard = listener.heard(SERIES_S)
        feeder.sent()
        if heard.series_id != order.number:
            raise ChildError(f"series {heard.series_id} ended, not {order.number} (see {served.log})")
        measured.books.enter(heard, order.case.images)
        following = next(orders, None)
        order = None if following is None else _begin(feeder, served, following)
        yield measured.books.sent


def _begin(feeder: Feeder, served: Served, order: Order) -> Order:
    feeder.order(msgspec.structs.replace(order, address=served.frames))
    return order
