"""The positions of all sources put together from their settings."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from edge.pipeline.joining import Joining, Joins
from edge.pipeline.position_sources import FilePositions, HeaderPositions, PositionSource, StreamPositions
from edge.pipeline.totals import Totals
from edge.positions.files import load
from edge.positions.settings import Positions
from streams.codecs.panda import MAX_BYTES
from streams.positions.armings import ArmingBook
from streams.positions.headers import Reader, header_reader
from streams.positions.samples import PositionJoiner
from streams.sockets import Context, subscribe

NANOSECOND = 1_000_000_000
QUEUED = 10_000
"""Messages of a position box that wait for us at most; beyond, the box drops some, and their samples are a gap."""


def reader_of(settings: Positions | None) -> Reader:
    """What reads positions from the headers of a source (`edge.pipeline.placing.Placement`)."""
    in_header = settings is not None and settings.from_ == "header"
    return header_reader(settings.axes_of() if settings is not None and in_header else ())


def joining(ctx: Context, sources: Mapping[str, Positions | None], totals: Totals, stack: ExitStack) -> Joining:
    """Where results meet their positions, by source; sockets and threads end with `stack`.

    Raises:
        SocketError: an address cannot be connected to.
    """
    joins = {}
    for source, settings in sources.items():
        if settings is not None:
            joins[source] = Joins(
                _origin(ctx, source, settings, totals, stack),
                int(settings.wait_s * NANOSECOND),
                settings.hold_mib << 20,
                settings.units,
            )
    return Joining(joins)


def _origin(ctx: Context, source: str, settings: Positions, totals: Totals, stack: ExitStack) -> PositionSource:
    axes = settings.axes_of()
    if settings.from_ == "file":
        files = FilePositions(settings.file, partial(load, axes=axes, ids=settings.ids))
        stack.callback(files.close)
        return files
    if settings.from_ == "stream":
        socket = subscribe(ctx, [b""], QUEUED)
        socket.zmq.maxmsgsize = MAX_BYTES
        stack.callback(socket.close)
        socket.connect(settings.address, settings.plain)
        book = ArmingBook(partial(PositionJoiner, axes, settings.samples_per_frame))
        return StreamPositions(source, socket, book, totals)
    return HeaderPositions()
