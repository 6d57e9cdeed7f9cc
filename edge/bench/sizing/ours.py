"""What `edge serve` does with a frame until it lies in its slot: the same objects, a loop of our own around them.

Message -> parsed -> entered into the ledger -> router -> slot in shared memory. The queue of the route is emptied as
soon as it holds a batch, and the slots are free again: nobody infers.
"""

import numpy as np
from numpy.typing import NDArray

from edge.bench.sizing.feeder import Feeder
from edge.bench.sizing.feeding import HIGH_WATER_MARK, Order
from edge.bench.sizing.spent import Spent, stopwatch
from edge.bench.sizing.wire import Case
from edge.inference.shared_memory import Region
from edge.models import identity
from edge.pipeline.arena import Arena
from edge.pipeline.dispatch import RouteRunner, ServedModel
from edge.pipeline.inlet import Inlet
from edge.pipeline.intake import Intake
from edge.pipeline.outputs import OutputBlocks
from edge.pipeline.placing import Placement
from edge.pipeline.record import SeriesRecord
from edge.pipeline.totals import Totals
from streams import sockets
from streams.codecs import decoder
from streams.ledger.book import SeriesBook
from streams.routing import Route

SOURCE = "det"
POLL_MS = 1000
PATIENCE_POLLS = 30
BATCH = 8
"""Frames that are taken from the route's queue at a time."""


class Lost(RuntimeError):
    """A frame of a clean series did not get its slot."""


def take_in(ctx: sockets.Context, feeder: Feeder, order: Order, warm_up: int, frames: Region, outputs: Region) -> Spent:
    """Take in a series, and time the images after the first `warm_up`.

    Raises:
        Lost: a frame failed, or none came.
    """
    totals = Totals()
    model = ServedModel(identity.SPEC, "1", "", (np.dtype(order.case.dtype).itemsize,))
    runner = RouteRunner(Route("identity", "identity"), model, OutputBlocks(outputs, identity.SPEC, 4), 2)
    socket = sockets.source(ctx, "pull")
    assert socket.zmq.rcvhwm == HIGH_WATER_MARK
    intake = Intake(
        Inlet(SOURCE, socket, totals),
        decoder(order.case.protocol, SOURCE, {}),
        SeriesBook(),
        Placement(Arena(frames, SOURCE)),
        [runner],
        totals,
    )
    address = socket.bind("tcp://127.0.0.1:*")
    feeder.order(Order(order.case, order.number, address, order.images, order.rate_hz))
    try:
        _pass(intake, socket, runner, warm_up)
        images = order.case.images - warm_up
        spent = stopwatch()
        _pass(intake, socket, runner, images)
        found = spent(images)
        while not intake.take_next(_opened, _failed):  # the end of the series
            _wait(socket)
        feeder.sent()
    finally:
        socket.close()
    return found


def _pass(intake: Intake, socket: sockets.Receiving, runner: RouteRunner, images: int) -> None:
    """Take in until so many images had a slot."""
    queue, passed = runner.queue, 0
    while passed < images:
        if not intake.take_next(_opened, _failed):
            _wait(socket)
            continue
        intake.place(_failed)
        waiting = len(queue)
        if waiting >= BATCH or passed + waiting >= images:
            for frame in queue.take(waiting):
                frame.lane.release(frame.slot)
            passed += waiting


def _wait(socket: sockets.Receiving) -> None:
    for _ in range(PATIENCE_POLLS):
        if socket.zmq.poll(POLL_MS):
            return
    raise Lost(f"no frame came for {PATIENCE_POLLS * POLL_MS / 1000:g} s")


def _opened(record: SeriesRecord) -> None:
    """Nobody is told."""


def _failed(record: SeriesRecord, runner: RouteRunner, reason: str, detail: str) -> None:
    raise Lost(f"{reason}: {detail}")


def slots_of(frames: Region, case: Case) -> NDArray[np.uint8]:
    """The same slots as an array [slots, bytes of an image]: the arena carves the region from its begin."""
    count = frames.nbytes // case.nbytes
    return frames.view[: count * case.nbytes].reshape(count, case.nbytes)
