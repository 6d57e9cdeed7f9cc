"""What the messages of a capture say, for whoever sends them again: which series, which images. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from streams.messages import CodecError, Decoder, Frame, SeriesEnd, SeriesStart
from streams.messages import Message as Said
from streams.recording.segments import Mark, Message
from streams.simulation.onwire import OnWire
from streams.simulation.simulator import pixels_of


class CaptureReader:
    """Decodes the messages of one capture in their order. What cannot be read says nothing: it is as it was sent."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def closed(self, mark: Mark) -> None:
        """A stream without series begins another one behind a mark of `edge serve` that one was closed."""
        uid = mark.facts.get("closed")
        if isinstance(uid, str):
            self._decoder.closed(uid)

    def read(self, message: Message) -> Sequence[Said]:
        """What one message says."""
        try:
            return self._decoder.decode(message.parts, message.received_ns)
        except CodecError:
            return ()


def of_series(records: Iterable[Message | Mark], reader: CaptureReader, series_id: int) -> Iterator[Message]:
    """The messages that say something of one series; what says nothing by itself belongs to the message before it.

    So the pieces of a start message stay together, and broken messages come along.
    """
    belongs = False
    for record in records:
        if isinstance(record, Mark):
            reader.closed(record)
            continue
        said = reader.read(record)
        if said:
            belongs = any(one.series_id == series_id for one in said)
        if belongs:
            yield record


def on_wire(message: Message, said: Sequence[Said], protocol: str) -> OnWire:
    """A recorded message for `streams.simulation.faultline`, which has to know where starts, images and ends are."""
    parts = [bytes(part) for part in message.parts]
    ids = {one.image_id for one in said if isinstance(one, Frame)}
    if ids:
        return OnWire(list(parts), min(ids), len(ids), "image", pixels=pixels_of(protocol, parts))
    if any(isinstance(one, SeriesStart) for one in said):
        return OnWire(list(parts), kind="start")
    return OnWire(list(parts), kind="end" if any(isinstance(one, SeriesEnd) for one in said) else "")
