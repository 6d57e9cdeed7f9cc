"""A worker's codec: no image of a series before its start, wherever that came."""

from collections.abc import Callable, Sequence

from edge.workers.names import second
from edge.workers.starts import RECOVERED_NS, RECOVERED_WAIT_S, WAIT_S, AwaitingDecoder
from streams.messages import Compression, Frame, Message, Part, SeriesEnd, SeriesStart

NOW_NS = 10**18


def start(uid: str = "uid", series_id: int = 1) -> SeriesStart:
    return SeriesStart("det", uid, series_id, 5, ("image",))


def frame(uid: str = "uid", series_id: int = 1, image_id: int = 0) -> Frame:
    return Frame("det", uid, series_id, image_id, "image", (2, 2), "<u2", Compression.NONE, b"12345678")


class Inner:
    """Hands out what it is told to."""

    def __init__(self) -> None:
        self.next: list[Message] = []
        self.closed_names: list[str] = []

    def decode(self, parts: Sequence[Part], received_ns: int) -> list[Message]:
        return self.next

    def closed(self, series_uid: str) -> None:
        self.closed_names.append(series_uid)


class Rig:
    """A decoder, and what whoever gathers says while it waits."""

    def __init__(self, *relayed: SeriesStart) -> None:
        self.relayed, self.waits = list(relayed), list[float]()
        self.inner = Inner()
        self.decoder = AwaitingDecoder(self.inner, self._wait)

    def _wait(self, done: Callable[[], bool], patience_s: float) -> None:
        self.waits.append(patience_s)
        while self.relayed and not done():
            self.decoder.relayed(self.relayed.pop(0))

    def decode(self, *messages: Message, received_ns: int = 2 * NOW_NS) -> list[Message]:
        self.inner.next = list(messages)
        return self.decoder.decode([b""], received_ns)


def test_a_start_that_another_worker_got_comes_before_the_first_image_and_once():
    rig = Rig(start("other"), start())
    assert rig.decode(frame()) == [start(), frame()]
    assert rig.decode(frame(image_id=1)) == [frame(image_id=1)]
    assert rig.waits == [WAIT_S]
    assert not rig.decoder.own(start())
    assert rig.decode(frame("other")) == [start("other"), frame("other")]
    assert rig.waits == [WAIT_S]


def test_a_start_of_our_own_is_not_waited_for():
    rig = Rig()
    assert rig.decode(start()) == [start()]
    assert rig.decode(frame()) == [frame()]
    assert rig.waits == []
    assert rig.decoder.own(start())


def test_a_start_that_does_not_come_is_waited_for_once_and_handed_out_when_it_does():
    rig = Rig()
    assert rig.decode(frame()) == [frame()]
    assert rig.decode(frame(image_id=1)) == [frame(image_id=1)]
    assert rig.waits == [WAIT_S]
    rig.decoder.relayed(start())
    assert rig.decode(frame(image_id=2)) == [start(), frame(image_id=2)]


def test_messages_of_a_capture_are_given_more_time():
    rig = Rig(start())
    rig.decode(frame(), received_ns=1)
    assert rig.waits == [RECOVERED_WAIT_S]
    assert RECOVERED_WAIT_S > WAIT_S > 0 < RECOVERED_NS


def test_an_end_is_not_held_up():
    rig = Rig()
    end = SeriesEnd("det", "uid", 1)
    assert rig.decode(end) == [end]
    assert rig.waits == []


def test_a_name_that_was_made_up_gives_way_to_the_one_that_the_others_know():
    rig = Rig(start("2026-11-22_1"))
    made_up = f"{2 * NOW_NS}_1"
    assert rig.decode(frame(made_up)) == [start("2026-11-22_1"), frame("2026-11-22_1")]
    assert rig.decode(frame(made_up, image_id=1)) == [frame("2026-11-22_1", image_id=1)]
    assert rig.decode(SeriesEnd("det", made_up, 1)) == [SeriesEnd("det", "2026-11-22_1", 1)]


def test_the_protocols_decoder_hears_of_closed_series():
    rig = Rig()
    rig.decoder.closed("uid")
    assert rig.inner.closed_names == ["uid"]


def armed(date: str) -> SeriesStart:
    return SeriesStart("det", "uid", 1, 5, ("image",), header={"arm_date": date})


def test_a_second_series_of_an_id_has_another_name():
    rig = Rig()
    assert rig.decode(armed("monday"), frame()) == [armed("monday"), frame()]
    assert rig.decode(armed("monday")) == [armed("monday")]  # said twice
    tuesday = second(armed("tuesday"))
    name = tuesday.series_uid
    assert rig.decode(armed("tuesday"), frame(), frame(image_id=1)) == [tuesday, frame(name), frame(name, image_id=1)]
    assert rig.decode(SeriesEnd("det", "uid", 1)) == [SeriesEnd("det", name, 1)]
    assert rig.decoder.own(tuesday)
    assert rig.decode(armed("tuesday")) == [tuesday]
    assert rig.waits == []


def test_the_name_of_a_second_series_comes_with_its_start():
    rig = Rig()
    tuesday = second(armed("tuesday"))
    name = tuesday.series_uid
    rig.decoder.relayed(armed("monday"))
    assert rig.decode(frame()) == [armed("monday"), frame()]
    rig.decoder.relayed(tuesday)
    assert rig.decode(frame()) == [tuesday, frame(name)]
    assert not rig.decoder.own(tuesday)
    assert rig.decode(frame(image_id=1)) == [frame(name, image_id=1)]


def test_whoever_gathers_may_know_better_how_a_series_of_our_own_is_called():
    rig = Rig()
    tuesday = second(armed("tuesday"))
    assert rig.decode(armed("tuesday"), frame()) == [armed("tuesday"), frame()]
    rig.decoder.relayed(tuesday)
    assert rig.decode(frame(image_id=1)) == [tuesday, frame(tuesday.series_uid, image_id=1)]
    assert not rig.decoder.own(tuesday)
