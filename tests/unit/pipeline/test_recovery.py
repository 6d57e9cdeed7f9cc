"""Recording before anything else, and going through a capture again after a crash."""

import logging
import time

import pytest

from edge.pipeline.inlet import Inlet, Received, Recorded
from edge.pipeline.intake import Intake
from edge.pipeline.placing import Placement
from edge.pipeline.settling import MOST_CLOSING, SETTLE_NS, Settling
from edge.pipeline.totals import Totals
from streams.codecs import DECODERS
from streams.codecs.results import SeriesEnded
from streams.ledger.book import SeriesBook
from streams.ledger.lifecycle import CloseReason
from streams.recording.segments import Damage, Mark, Message, Place, RecordingError
from tests.unit.pipeline.test_intake import Bench, series

AT = Place(1, 0)
NOW = 1_700_000_000_000_000_000


class Wire:
    """A socket with these messages waiting."""

    zmq = None

    def __init__(self, *messages) -> None:
        self.messages = list(messages)

    def receive(self, timeout_ms: int = 0):
        return [memoryview(part) for part in self.messages.pop(0)] if self.messages else None


class Capture:
    """Keeps what is recorded; refuses while `full`."""

    def __init__(self) -> None:
        self.messages, self.marks, self.full = [], [], False

    @property
    def place(self) -> Place:
        return Place(1, len(self.messages))

    def append(self, parts, received_ns) -> None:
        if self.full:
            raise RecordingError("no space left")
        self.messages.append([bytes(part) for part in parts])

    def mark(self, facts) -> None:
        self.marks.append(dict(facts))


def recorded(*messages) -> list[Message]:
    return [Message(AT, NOW + at, [memoryview(part) for part in message]) for at, message in enumerate(messages)]


def mark(**facts) -> Mark:
    return Mark(AT, NOW, facts)


def ended(uid: str, route: str) -> SeriesEnded:
    return SeriesEnded("det", uid, 1, route, "", 0, 0, "end", "complete", {}, {}, {})


class Recovering(Bench):
    """An intake behind a real inlet."""

    def __init__(self, protocol: str, unfinished=(), settled=frozenset(), capture=None, live=(), routes=None) -> None:
        super().__init__(protocol, routes=routes)
        self.inlet = Inlet("det", Wire(*live), self.totals, Recorded(capture, unfinished, settled))
        placement = Placement(self.arena)
        self.intake = Intake(self.inlet, DECODERS[protocol]("det"), SeriesBook(), placement, self.runners, self.totals)

    def take_all(self) -> None:
        while self.intake.take_next(self.opened.append, self.fail):
            self.intake.place(self.fail)


def test_the_capture_comes_first_and_is_not_recorded_again():
    totals, capture = Totals(), Capture()
    inlet = Inlet("det", Wire([b"live"]), totals, Recorded(capture, recorded([b"a"], [b"b", b"c"])))
    received = []
    while (item := inlet.receive()) is not None:
        assert isinstance(item, Received)
        received.append(([bytes(part) for part in item.parts], item.recovered))
    assert received == [([b"a"], True), ([b"b", b"c"], True), ([b"live"], False)]
    assert capture.messages == [[b"live"]]
    assert totals.recovered["det"] == 2
    assert not inlet.recovering


def test_a_message_is_recorded_before_it_is_handed_out():
    capture = Capture()
    inlet = Inlet("det", Wire([b"one"], [b"two"]), Totals(), Recorded(capture))
    assert inlet.receive() is not None
    assert capture.messages == [[b"one"]]


def test_a_full_disk_is_told_once_and_costs_no_frame(caplog):
    totals, capture = Totals(), Capture()
    inlet = Inlet("det", Wire([b"1"], [b"2"], [b"3"]), totals, Recorded(capture))
    capture.full = True
    with caplog.at_level(logging.WARNING):
        assert inlet.receive() is not None
        assert inlet.receive() is not None
    assert totals.not_recorded["det"] == 2
    assert sum("not recorded" in record.message for record in caplog.records) == 1
    capture.full = False
    with caplog.at_level(logging.WARNING):
        assert inlet.receive() is not None
    assert capture.messages == [[b"3"]]
    assert "goes on" in caplog.text


class Followed(Capture):
    """A capture that can be read while it is written."""

    def read(self, start: Place, stop: Place) -> list[Message]:
        return [
            Message(Place(1, at), NOW, [memoryview(part) for part in self.messages[at]])
            for at in range(start.offset, stop.offset)
        ]


def drained(inlet: Inlet) -> list[tuple[bytes, bool]]:
    received = []
    while (item := inlet.receive()) is not None:
        received.append((bytes(item.parts[0]), item.recovered))
    return received


def test_what_arrives_in_a_recovery_is_recorded_at_once_and_comes_in_its_turn():
    capture = Followed()
    found = Recorded(capture, recorded([b"a"], [b"b"]), follow=capture.read)
    wire = Wire([b"1"], [b"2"])
    inlet = Inlet("det", wire, Totals(), found)
    assert inlet.keeping
    inlet.keep()
    assert capture.messages == [[b"1"], [b"2"]]
    wire.messages.append([b"3"])
    assert drained(inlet) == [(b"a", True), (b"b", True), (b"1", False), (b"2", False), (b"3", False)]
    assert capture.messages == [[b"1"], [b"2"], [b"3"]]
    assert not inlet.recovering


def test_what_arrives_while_that_is_read_is_not_forgotten():
    capture = Followed()
    wire = Wire([b"1"])
    inlet = Inlet("det", wire, Totals(), Recorded(capture, recorded([b"a"]), follow=capture.read))
    inlet.keep()
    received = []
    for late in (b"2", b"3"):
        received.append(bytes(inlet.receive().parts[0]))
        wire.messages.append([late])
        inlet.keep()
    assert received + [found for found, _ in drained(inlet)] == [b"a", b"1", b"2", b"3"]


def test_a_disk_that_refuses_in_a_recovery_costs_nothing_that_was_taken():
    capture = Followed()
    wire = Wire([b"1"], [b"2"], [b"3"])
    inlet = Inlet("det", wire, Totals(), Recorded(capture, recorded([b"a"]), follow=capture.read))
    capture.full = True
    inlet.keep()
    assert not inlet.keeping  # what is left stays with the sender
    assert drained(inlet) == [(b"a", True), (b"1", False), (b"2", False), (b"3", False)]


def test_what_zeromq_has_fetched_goes_into_the_capture_at_the_end():
    capture = Capture()
    Inlet("det", Wire([b"1"], [b"2"]), Totals(), Recorded(capture)).keep_rest()
    assert capture.messages == [[b"1"], [b"2"]]
    wire = Wire([b"1"])
    Inlet("det", wire, Totals()).keep_rest()
    assert wire.messages == [[b"1"]]


def test_damage_is_passed_over(caplog):
    found = [*recorded([b"a"]), Damage(AT, 77, False), *recorded([b"b"])]
    inlet = Inlet("det", Wire(), Totals(), Recorded(None, found))
    with caplog.at_level(logging.WARNING):
        assert [bytes(inlet.receive().parts[0]) for _ in range(2)] == [b"a", b"b"]
    assert "77 bytes" in caplog.text
    assert inlet.receive() is None


def test_a_capture_that_cannot_be_read_on_does_not_keep_the_live_frames_away(caplog):
    def broken():
        yield from recorded([b"a"])
        raise RecordingError("the disk went away")

    inlet = Inlet("det", Wire([b"live"]), Totals(), Recorded(None, broken()))
    assert bytes(inlet.receive().parts[0]) == b"a"
    assert bytes(inlet.receive().parts[0]) == b"live"
    assert "the disk went away" in caplog.text


@pytest.mark.parametrize("protocol", ["simplon-v1", "stream-v2"])
def test_what_was_recorded_is_inferred_again_and_marked(protocol):
    messages = series(protocol)
    bench = Recovering(protocol, recorded(*messages[:4]), live=messages[4:])
    bench.take_all()
    frames = bench.runners[0].queue.clear()
    assert [(frame.image_id, frame.recovered) for frame in frames] == [
        *((at, True) for at in range(3)),
        *((at, False) for at in range(3, 5)),
    ]
    (record,) = bench.intake.records.values()
    assert record.recovered
    assert record.series.counts().received == 5


def test_a_settled_series_is_neither_inferred_nor_published_again():
    messages = series("stream-v2")
    bench = Recovering("stream-v2", recorded(*messages), frozenset({AT}))
    bench.take_all()
    assert not bench.opened
    assert not len(bench.runners[0].queue)
    assert bench.intake.pop_finished() == []
    assert not bench.intake.records


def test_where_a_stream_without_series_was_closed_another_series_begins_again():
    messages = series("array-1.0", images=4)
    (uid,) = {
        message.series_uid
        for message in DECODERS["array-1.0"]("det").decode([memoryview(part) for part in messages[0]], NOW)
    }
    bench = Recovering("array-1.0", [*recorded(*messages[:2]), mark(closed=uid), *recorded(*messages[2:])])
    bench.take_all()
    assert len({record.series.uid for record in bench.opened}) == 2


def test_what_the_controller_said_is_remembered():
    messages = series("stream-v2")
    bench = Recovering("stream-v2", [*recorded(*messages[:3]), mark(triggered="uid-1", images=2)])
    bench.take_all()
    (record,) = bench.intake.records.values()
    assert record.series.counts().expected == 2


def test_what_the_controller_says_is_noted_in_the_capture():
    messages, capture = series("stream-v2"), Capture()
    bench = Recovering("stream-v2", capture=capture, live=messages[:3])
    bench.take_all()
    (record,) = bench.intake.records.values()
    assert bench.intake.triggered(record, 2)
    assert not bench.intake.triggered(record, 1)  # more came
    assert capture.marks == [{"triggered": "uid-1", "images": 2}]


def test_a_series_is_marked_as_settled_when_its_logs_are_whole_and_its_results_had_time_to_leave():
    messages, capture = series("stream-v2"), Capture()
    bench = Recovering("stream-v2", capture=capture, live=messages)
    bench.take_all()
    bench.images()
    (record,) = bench.intake.pop_finished()
    assert record.series.close_reason is CloseReason.END
    now = time.monotonic_ns()
    bench.intake.close(record, ["r"], now)
    bench.intake.settle(now + SETTLE_NS)
    assert not [facts for facts in capture.marks if "settled" in facts]  # its log may not be whole
    bench.intake.settling.logged(ended("uid-1", "r"))
    bench.intake.settle(now + SETTLE_NS - 1)
    assert not [facts for facts in capture.marks if "settled" in facts]  # results may still be on their way
    bench.intake.settle(now + SETTLE_NS)
    assert capture.marks[-1] == {"settled": "uid-1", "at": [1, 0], "open": []}


def test_a_settled_mark_says_where_the_oldest_series_that_is_not_begins():
    capture = Capture()
    first, second = series("stream-v2"), series("stream-v2", uid="uid-2")
    bench = Recovering("stream-v2", capture=capture, live=[*first, *second[:2]])
    bench.take_all()
    bench.images()
    (record,) = bench.intake.pop_finished()
    bench.intake.close(record, [], 0)
    bench.intake.settle(SETTLE_NS)
    assert capture.marks[-1] == {"settled": "uid-1", "at": [1, 0], "open": ["uid-2"], "from": [1, len(first)]}


def test_a_settled_mark_passes_over_nothing_that_is_still_to_be_recovered():
    first, second = series("stream-v2"), series("stream-v2", uid="uid-2")
    messages = [Message(Place(1, at), NOW, list(map(memoryview, each))) for at, each in enumerate([*first, *second])]
    capture = Capture()
    bench = Recovering("stream-v2", messages, capture=capture)
    for _ in first:
        bench.intake.take_next(bench.opened.append, bench.fail)
        bench.intake.place(bench.fail)
    bench.images()
    (record,) = bench.intake.pop_finished()
    bench.intake.close(record, [], 0)
    bench.intake.settle(SETTLE_NS)
    assert capture.marks == [{"settled": "uid-1", "at": [1, 0], "open": [], "from": [1, len(first)]}]


def test_a_series_begins_with_the_first_piece_of_its_start_message():
    header, *images = series("simplon-v1")
    garbage = [b"[]"]
    bench = Recovering("simplon-v1", capture=Capture(), live=[header[:1], garbage, header[1:], *images])
    bench.take_all()
    (record,) = bench.intake.records.values()
    assert record.place == Place(1, 0)
    assert record.series.announced


def test_a_series_that_began_anew_under_its_old_id_has_one_name_in_all_its_notices():
    first, second = series("stream-v2"), series("stream-v2")  # of two arming dates
    bench = Recovering("stream-v2", live=[*first[:3], *second])
    bench.take_all()
    assert [record.started("r").series_uid for record in bench.opened] == ["uid-1", "uid-1~1"]
    assert [record.ended("r").series_uid for record in bench.opened] == ["uid-1", "uid-1~1"]


def test_series_that_never_settle_are_bounded():
    settling = Settling()
    for number in range(MOST_CLOSING + 2):
        settling.close(str(number), {"r"}, 0, Place(1, number))
    assert len(list(settling)) == MOST_CLOSING
    assert min(settling.places()) == Place(1, 2)


def test_a_settled_mark_names_the_series_that_are_not():
    settling = Settling()
    settling.close("a", set(), 0)
    settling.close("b", {"r"}, 0)
    assert settling.pop_settled(SETTLE_NS) == [("a", None)]
    assert list(settling) == ["b"]
    settling.logged(ended("b", "other"))
    assert settling.pop_settled(SETTLE_NS) == []
    settling.logged(ended("b", "r"))
    assert settling.pop_settled(SETTLE_NS) == [("b", None)]
