"""Which series a message belongs to, and what becomes of the others."""

from streams.ledger.book import SeriesBook
from streams.ledger.lifecycle import Arrival, CloseReason, State
from streams.messages import Compression, Frame, SeriesEnd, SeriesStart

GRACE, IDLE = 10, 100


def start(expected: int | None = 4, channels: tuple[str, ...] = ("a",), uid: str = "u", **changes) -> SeriesStart:
    return SeriesStart("det", uid, 7, expected, channels, **changes)


def frame(image_id: int, channel: str = "a", uid: str = "u") -> Frame:
    return Frame("det", uid, 7, image_id, channel, (1, 1), "<u2", Compression.NONE, b"\0\0")


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


def test_a_start_that_its_frames_overtook_ends_the_series_before():
    book = SeriesBook()
    first, _ = book.open(start(uid="one"), 0)
    second, _ = book.of_frame(frame(0, uid="two"), 0)
    assert first.state is State.OPEN
    assert book.open(start(uid="two"), 0) == (second, True)
    assert (first.close_reason, second.state) == (CloseReason.SUPERSEDED, State.OPEN)


def test_a_start_that_was_late_does_not_end_the_series_after_its_own():
    book = SeriesBook()
    first, _ = book.of_frame(frame(0, uid="one"), 0)
    second, _ = book.of_frame(frame(0, uid="two"), 0)
    assert book.open(start(uid="one"), 0) == (first, True)
    assert {first.state, second.state} == {State.OPEN}
    assert book.open(start(uid="two"), 0) == (second, True)
    assert (first.close_reason, second.state) == (CloseReason.SUPERSEDED, State.OPEN)


def test_what_is_left_of_an_older_series_is_stale_and_counted_in_the_newest():
    book = SeriesBook()
    first, _ = book.open(start(uid="one"), 0)
    first.take(frame(0, uid="one"), 0)
    second, _ = book.open(start(uid="two"), 0)
    before = first.counts()
    for image_id in (1, 2):
        series, new = book.of_frame(frame(image_id, uid="one"), 0)
        assert (series, new) == (first, False)
        assert series.take(frame(image_id, uid="one"), 0) is Arrival.STALE
    book.end(SeriesEnd("det", "one", 7), 0)
    book.end(SeriesEnd("det", "never seen", 3), 0)
    assert first.counts() == before
    assert (second.counts().stale, second.counts().received, second.state) == (4, 0, State.OPEN)


def test_a_frame_after_the_end_is_late_until_another_series_is_opened():
    book = SeriesBook()
    series, _ = book.open(start(1), 0)
    series.take(frame(0), 0)
    book.end(SeriesEnd("det", "u", 7), 0)
    assert series.take(frame(1), 0) is Arrival.LATE
    book.open(start(uid="next"), 0)
    assert series.take(frame(1), 0) is Arrival.STALE


def test_a_repeated_start_changes_nothing_though_it_differs_in_details():
    """Jungfraujoch sends one on each of its sockets."""
    book = SeriesBook()
    first, _ = book.open(start(header={"arm_date": "x", "socket_number": 0}), 0)
    first.take(frame(0), 0)
    assert book.open(start(header={"arm_date": "x", "socket_number": 1}), 0) == (first, False)
    assert first.state is State.OPEN


def test_a_detector_that_begins_anew_under_the_same_unique_id():
    book = SeriesBook()
    first, _ = book.open(start(header={"arm_date": "09:00"}), 0)
    first.take(frame(0), 0)
    second, new = book.open(start(header={"arm_date": "09:01"}), 0)
    assert new and second.uid != first.uid
    assert first.close_reason is CloseReason.SUPERSEDED
    assert book.of_frame(frame(0), 0) == (second, False)
    assert second.take(frame(0), 0) is Arrival.NEW  # ids begin again
    assert book.end(SeriesEnd("det", "u", 7), 0) is second
    third, _ = book.open(start(header={"arm_date": "09:02"}), 0)
    assert len({first.uid, second.uid, third.uid}) == 3
    assert book.open(start(header={"arm_date": "09:02"}), 0) == (third, False)


def test_names_of_detectors_that_begin_anew_are_forgotten_too():
    book = SeriesBook()
    for number in range(50):
        series, _ = book.open(start(header={"arm_date": number}), 0)
        series.shut_down()
        book.finish(series.uid)
    assert len(book._series) + len(book._renamed) <= 2 * SeriesBook.REMEMBERED


def test_an_end_and_a_start_that_both_came_late():
    book = SeriesBook()
    series, _ = book.of_frame(frame(2), 0)
    series.take(frame(2), 0)
    book.end(SeriesEnd("det", "u", 7), 0)
    assert series.state is State.ENDING
    for image_id in (0, 1):
        series.take(frame(image_id), 0)
    assert book.open(start(3), 0) == (series, True)
    assert series.close_reason is CloseReason.END

    other, _ = book.of_frame(frame(2, uid="v"), 0)
    other.take(frame(2, uid="v"), 0)
    book.end(SeriesEnd("det", "v", 7), 0)
    assert book.open(start(4, uid="v"), 0) == (other, True)
    assert (other.state, other.counts().awaited) == (State.ENDING, 3)
