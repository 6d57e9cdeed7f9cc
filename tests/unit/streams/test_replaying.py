from collections.abc import Sequence

import numpy as np
import pytest

from streams.codecs import DECODERS, PROTOCOLS
from streams.messages import Acquisition, CodecError, Part, SeriesEnd, SeriesStart
from streams.messages import Message as Said
from streams.recording.replaying import CaptureReader, of_series, on_wire
from streams.recording.segments import Mark, Message, Place
from streams.simulation.simulator import Simulation

IMAGES = np.arange(3 * 8 * 8, dtype="uint16").reshape(3, 8, 8)


def recorded(protocol: str, series_id: int = 1) -> list[Message]:
    acquisition = Acquisition(
        series_id=series_id,
        series_uid=f"u{series_id}",
        arm_date=f"2026-01-0{series_id}T00:00:00Z",
        images=3,
        shape=(8, 8),
        dtype="uint16",
        compression=PROTOCOLS[protocol].compressions[0],
    )
    sent = Simulation(protocol, acquisition, lambda index: IMAGES[index]).messages()
    return [message([bytes(part) for part in one.parts], at + 10**12 * series_id) for at, one in enumerate(sent)]


def message(parts: Sequence[bytes], at: int) -> Message:
    return Message(Place(1, at), at, list(map(memoryview, parts)))


def mark(**facts: object) -> Mark:
    return Mark(Place(1, 0), 0, facts)


class Scripted:
    """Says what each message's first part names; remembers what was closed."""

    def __init__(self) -> None:
        self.shut: list[str] = []

    def decode(self, parts: Sequence[Part], received_ns: int) -> list[Said]:
        word = bytes(parts[0]).decode()
        if word == "broken":
            raise CodecError("malformed", "broken")
        if word == "piece":
            return []
        what, number = word.split()
        series = f"u{len(self.shut)}", int(number)
        return [SeriesStart("d", *series, None, ())] if what == "start" else [SeriesEnd("d", *series)]

    def closed(self, series_uid):
        self.shut.append(series_uid)


def test_what_says_nothing_by_itself_belongs_to_the_message_before_it():
    words = [b"piece", b"start 1", b"piece", b"broken", b"start 2", b"broken", b"end 1", b"piece", b"end 2"]
    messages = [message([word], at) for at, word in enumerate(words)]
    found = {
        series: [one.place.offset for one in of_series(messages, CaptureReader(Scripted()), series)]
        for series in (1, 2, 3)
    }
    assert found == {1: [1, 2, 3, 6, 7], 2: [4, 5, 8], 3: []}


def test_marks_tell_the_decoder_what_was_closed():
    decoder = Scripted()
    records = [message([b"start 1"], 0), mark(closed="u0"), mark(open=[]), mark(closed=3), message([b"end 1"], 1)]
    assert len(list(of_series(records, CaptureReader(decoder), 1))) == 2
    assert decoder.shut == ["u0"]


@pytest.mark.parametrize("protocol", list(DECODERS))
def test_a_series_is_told_from_the_next(protocol):
    first, second = recorded(protocol, 1), recorded(protocol, 2)
    reader = CaptureReader(DECODERS[protocol]("d"))
    ids = [{said.series_id for said in reader.read(one)} for one in first + second]
    assert set().union(*ids[: len(first)]).isdisjoint(set().union(*ids[len(first) :]))
    wanted = max(ids[-1])
    assert list(of_series(first + second, CaptureReader(DECODERS[protocol]("d")), wanted)) == second


@pytest.mark.parametrize("protocol", list(DECODERS))
def test_starts_images_and_ends_are_known_to_the_faults(protocol):
    reader = CaptureReader(DECODERS[protocol]("d"))
    wire = [on_wire(one, reader.read(one), protocol) for one in recorded(protocol)]
    assert [one.kind for one in wire if one.kind != "image"] == (["start", "end"] if PROTOCOLS[protocol].start else [])
    images = [one for one in wire if one.kind == "image"]
    assert len(images) == 3 and all(one.pixels and one.images == 1 for one in images)
    assert [one.parts for one in wire] == [[bytes(part) for part in one.parts] for one in recorded(protocol)]


def test_a_message_that_cannot_be_read_is_neither():
    broken = message([b"no message"], 0)
    assert on_wire(broken, CaptureReader(DECODERS["simplon-v1"]("d")).read(broken), "simplon-v1").kind == ""
