import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.messages import Compression, Frame, SeriesEnd, SeriesStart
from streams.series import MAX_CHANNELS, MAX_IMAGE_ID, Arrival, CloseReason, Series, SeriesBook, State

GRACE, IDLE = 10, 100


def start(expected: int | None = 4, channels: tuple[str, ...] = ("a",), uid: str = "u") -> SeriesStart:
    return SeriesStart("det", uid, 7, expected, channels)


def frame(image_id: int, channel: str = "a", uid: str = "u") -> Frame:
    return Frame("det", uid, 7, image_id, channel, (1, 1), "<u2", Compression.NONE, b"\0\0")


def opened(expected: int | None = 4, channels: tuple[str, ...] = ("a",)) -> Series:
    return Series(start(expected, channels), announced=True, now_ns=0)


@pytest.mark.parametrize(
    ("events", "state", "reason"),
    [
        ([0, 1, 2, 3], State.OPEN, None),
        ([0, 1, 2, 3, "end"], State.CLOSED, CloseReason.END),
        ([0, 1, "end"], State.ENDING, None),
        ([0, 1, "end", 3, 2], State.CLOSED, CloseReason.END),
        ([0, 1, "end", ("time", GRACE)], State.CLOSED, CloseReason.GRACE_OVER),
        ([0, 1, "end", ("time", GRACE - 1)], State.ENDING, None),
        ([0, ("time", IDLE - 1)], State.OPEN, None),
        ([0, ("time", IDLE)], State.CLOSED, CloseReason.IDLE),
        ([0, "superseded"], State.CLOSED, CloseReason.SUPERSEDED),
        ([0, "end", "superseded"], State.CLOSED, CloseReason.SUPERSEDED),
        ([0, "superseded", "end"], State.CLOSED, CloseReason.SUPERSEDED),
        ([0, "shutdown", ("time", IDLE)], State.CLOSED, CloseReason.SHUTDOWN),
    ],
)
def test_state_table(events, state, reason):
    series = opened()
    for event in events:
        if isinstance(event, int):
            series.take(frame(event), 0)
        elif event == "end":
            series.end(0)
        elif event == "superseded":
            series.supersede()
        elif event == "shutdown":
            series.shut_down()
        else:
            series.advance(event[1], grace_ns=GRACE, idle_ns=IDLE)
    assert (series.state, series.close_reason) == (state, reason)


def test_arrivals_are_judged_by_absolute_id():
    series = opened()
    taken = [series.take(frame(i), 0) for i in (2, 0, 2, 4, -1)]
    assert taken == [Arrival.NEW, Arrival.NEW, Arrival.DUPLICATE, Arrival.UNEXPECTED, Arrival.REFUSED]
    series.end(0)
    series.advance(GRACE, grace_ns=GRACE, idle_ns=IDLE)
    assert series.take(frame(1), 0) is Arrival.LATE
    counts = series.counts()
    assert (counts.expected, counts.received, counts.missing, counts.awaited) == (4, 2, 2, 0)
    assert (counts.duplicate, counts.late, counts.unexpected, counts.refused) == (1, 1, 1, 1)
    assert series.missing_ids() == {"a": [(1, 2), (3, 4)]}


def test_an_unannounced_channel_is_unexpected():
    assert opened().take(frame(0, "b"), 0) is Arrival.UNEXPECTED


def test_channels_count_separately():
    series = opened(2, ("a", "b"))
    for channel, image_id in (("a", 0), ("b", 0), ("a", 1)):
        assert series.take(frame(image_id, channel), 0) is Arrival.NEW
    assert (series.counts().expected, series.counts().awaited) == (4, 1)


def test_without_a_number_only_holes_are_missing():
    series = opened(None, ())
    for image_id in (0, 1, 4):
        series.take(frame(image_id), 0)
    series.end(0)
    assert series.state is State.ENDING
    series.advance(GRACE, grace_ns=GRACE, idle_ns=IDLE)
    counts = series.counts()
    assert (counts.expected, counts.received, counts.missing) == (None, 3, 2)


@given(st.integers(0, 12), st.lists(st.integers(-1, 14), max_size=40), st.booleans())
def test_expected_is_always_received_missing_and_awaited(expected, ids, ends):
    series = opened(expected)
    for image_id in ids:
        series.take(frame(image_id), 0)
        counts = series.counts()
        assert counts.expected == counts.received + counts.missing + counts.awaited
    if ends:
        series.end(0)
        series.advance(GRACE, grace_ns=GRACE, idle_ns=IDLE)
    counts = series.counts()
    assert counts.expected == counts.received + counts.missing + counts.awaited
    assert counts.received == len({i for i in ids if 0 <= i < expected})
    assert not ends or counts.awaited == 0


def test_book_opens_a_series_by_its_first_frame():
    book = SeriesBook()
    first, new = book.of_frame(frame(0, uid="one"), 0)
    assert new
    assert not first.announced
    assert book.of_frame(frame(1, uid="one"), 0) == (first, False)


def test_a_start_closes_what_was_open():
    book = SeriesBook()
    first, _ = book.open(start(uid="one"), 0)
    second, new = book.open(start(uid="two"), 0)
    assert new
    assert first.close_reason is CloseReason.SUPERSEDED
    assert book.open(start(uid="two"), 0) == (second, False)
    book.end(SeriesEnd("det", "unheard of", 9), 0)
    assert second.state is State.OPEN


def test_a_stray_frame_closes_nothing():
    book = SeriesBook()
    running, _ = book.open(start(uid="running"), 0)
    stray, new = book.of_frame(frame(5, uid="aborted"), 0)
    assert new
    assert running.take(frame(0, uid="running"), 0) is Arrival.NEW
    assert {running.state, stray.state} == {State.OPEN}


def test_a_start_that_frames_overtook_still_tells_how_many():
    book = SeriesBook()
    series, _ = book.of_frame(frame(0), 0)
    series.take(frame(0), 0)
    assert book.open(start(3), 0) == (series, True)
    for image_id in (1, 2):
        series.take(frame(image_id), 0)
    series.end(0)
    assert (series.counts().expected, series.close_reason) == (3, CloseReason.END)


def test_a_start_that_the_frames_contradict_tells_nothing():
    book = SeriesBook()
    series, _ = book.of_frame(frame(0), 0)
    series.take(frame(7), 0)
    book.open(start(3), 0)
    assert series.counts().expected is None


def test_an_impossible_number_of_images_is_no_number():
    series = opened(2**63 - 1, ("a", "b", "c"))
    assert series.counts().expected is None
    assert opened(MAX_IMAGE_ID).counts().expected == MAX_IMAGE_ID


def test_the_book_stays_small_whatever_comes():
    book = SeriesBook()
    running, _ = book.open(start(uid="running"), 0)
    for number in range(1000):
        series, _ = book.of_frame(frame(0, uid=str(number)), 0)
        series.take(frame(0, uid=str(number)), 0)
        for one in list(book._series.values()):
            if one.state is State.CLOSED:
                book.finish(one.uid)
    assert len(book._series) <= SeriesBook.REMEMBERED + SeriesBook.MOST_OPEN
    assert running.state is State.OPEN  # the announced one goes last


def test_a_series_is_known_until_its_account_is_final():
    book = SeriesBook()
    first, _ = book.open(start(uid="first"), 0)
    for number in range(20):
        book.open(start(uid=str(number)), 0)
    assert book.of_frame(frame(0, uid="first"), 0) == (first, False)
    for uid in ("first", *map(str, range(SeriesBook.REMEMBERED))):
        book.finish(uid)
    assert book.of_frame(frame(0, uid="first"), 0)[1]


def test_a_source_we_do_not_read_is_neither_idle_nor_late():
    series = opened()
    series.touch(IDLE)
    series.advance(IDLE + 1, grace_ns=GRACE, idle_ns=IDLE)
    assert series.state is State.OPEN
    series.end(IDLE)
    series.touch(IDLE + GRACE)
    series.advance(IDLE + GRACE + 1, grace_ns=GRACE, idle_ns=IDLE)
    assert series.state is State.ENDING


def test_channels_of_an_unannounced_series_are_bounded():
    series = Series(SeriesStart("det", "u", 7, None, ()), announced=False, now_ns=0)
    arrivals = [series.take(frame(0, str(number)), 0) for number in range(MAX_CHANNELS + 1)]
    assert arrivals == [Arrival.NEW] * MAX_CHANNELS + [Arrival.REFUSED]


def test_every_second_image_of_an_endless_series_is_taken_in_bounded_memory(monkeypatch):
    """Another consumer gets the rest: nothing is refused, and the oldest holes become missing for good."""
    monkeypatch.setattr("streams.series.MAX_RUNS", 100)
    series = opened(None)
    for number in range(1000):
        assert series.take(frame(2 * number), 0) is Arrival.NEW
        counts = series.counts()
        assert counts.received + counts.missing + counts.awaited == 2 * number + 1
    assert (counts.received, counts.missing, counts.awaited) == (1000, 900, 99)
    assert series.take(frame(1), 0) is Arrival.LATE
    assert series.take(frame(1997), 0) is Arrival.NEW
    assert series.take(frame(1996), 0) is Arrival.DUPLICATE
