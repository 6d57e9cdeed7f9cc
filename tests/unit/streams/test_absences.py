"""What the sender says does not exist: it is neither lost nor taken by anybody."""

import pytest

from streams.ledger.book import SeriesBook
from streams.ledger.lifecycle import Arrival, CloseReason
from streams.ledger.series import EARLY_IDS, Series
from streams.ledger.shares import Share
from streams.messages import Absent, Compression, Frame, SeriesStart

GRACE, IDLE = 10, 100


def frame(image_id: int, channel: str = "a") -> Frame:
    return Frame("det", "u", 7, image_id, channel, (1, 1), "<u2", Compression.NONE, b"\0\0")


def absent(image_id: int, count: int = 1, channel: str = "a") -> Absent:
    return Absent("det", "u", 7, image_id, channel, count)


def opened(expected: int | None = None, share: Share | None = None, first_image: int = 0) -> Series:
    start = SeriesStart("det", "u", 7, expected, ("a",), first_image=first_image)
    return Series(start, announced=True, now_ns=0, share=share)


def fed(series: Series, *messages: Frame | Absent) -> Series:
    for message in messages:
        if isinstance(message, Frame):
            series.take(message, 0)
        else:
            series.absent(message)
    return series


def test_every_fourth_pulse_has_an_image_and_nobody_is_accused():
    series = opened()
    for pulse in range(100):
        fed(series, absent(pulse) if pulse % 4 else frame(pulse))
    series.shut_down()
    counts = series.counts()
    assert (counts.received, counts.missing, counts.absent) == (25, 0, 72)  # nobody waits for one after the last image
    assert (series.missing_ids(), series.suspicion()) == ({"a": []}, None)


def test_a_second_consumer_shows_between_empty_pulses():
    series = opened()
    for pulse in range(0, 200, 2):  # it gets the others
        fed(series, absent(pulse) if pulse % 8 == 2 else frame(pulse))
    series.shut_down()
    assert (series.counts().absent, series.counts().missing) == (25, 99)
    assert series.suspicion().stride == 2


def test_where_the_number_is_known_absent_images_are_a_part_of_it():
    series = fed(opened(4), frame(0), absent(1, 2))
    counts = series.counts()
    assert (counts.expected, counts.received, counts.awaited, counts.absent) == (4, 1, 1, 2)
    series.end(0)
    fed(series, frame(3))
    assert (series.close_reason, series.counts().missing) == (CloseReason.END, 0)
    series = fed(opened(3), frame(0), frame(1))
    series.end(0)
    series.absent(absent(2, 1000))  # no more than were announced
    assert (series.close_reason, series.counts().absent) == (CloseReason.END, 1)


def test_said_twice_it_changes_nothing():
    series = fed(opened(), frame(0), absent(1, 3), frame(4))
    before = series.counts()
    assert fed(series, absent(1, 3), absent(2)).counts() == before
    assert before.absent == 3


def test_a_sender_that_contradicts_itself_is_not_believed():
    """As where each of two senders has one half of a train, and says that the other half is absent."""
    series = fed(opened(), frame(0), absent(1), absent(2), frame(5))
    assert series.counts().absent == 2
    assert series.take(frame(2), 0) is Arrival.NEW
    assert fed(series, absent(3)).counts().absent == 0
    series.shut_down()
    assert (series.counts().received, series.missing_ids()) == (3, {"a": [(1, 2), (3, 5)]})
    series = fed(opened(), *map(frame, range(4)), absent(7), frame(9), absent(3))
    assert (series.counts().received, series.counts().absent, series.counts().awaited) == (5, 0, 5)


def test_it_is_told_of_known_channels_while_the_series_is_open():
    series = fed(opened(), frame(0), absent(1, 1, "b"), frame(2))
    assert series.channels == ("a",) and series.counts().awaited == 1
    series.shut_down()
    assert fed(series, absent(1)).counts().missing == 1
    book = SeriesBook()
    book.absent(absent(0))
    assert book.open_series() == []


def test_silence_is_silence_though_pulses_go_by():
    series = fed(opened(), frame(0))
    series.absent(absent(1))
    series.advance(IDLE, grace_ns=GRACE, idle_ns=IDLE)
    assert series.close_reason is CloseReason.IDLE


def test_what_lies_before_the_first_image_counts_where_an_earlier_one_comes():
    series = fed(opened(first_image=5000), frame(5000), absent(4998, 2), absent(5000 - EARLY_IDS - 9, 3))
    assert (series.counts().absent, series.counts().awaited) == (0, 0)
    fed(series, frame(4996))
    assert (series.counts().absent, series.counts().awaited) == (2, 1)


def test_memory_is_bounded_and_what_is_absent_is_not_lost_by_it(monkeypatch):
    monkeypatch.setattr("streams.ledger.series.MAX_RUNS", 100)
    series = opened()
    for number in range(1000):  # an image, an empty pulse, one that is lost
        fed(series, frame(3 * number), absent(3 * number + 1))
        assert series._absent.runs("a") <= 100 and series._seen["a"].runs <= 100
    counts = series.counts()
    assert (counts.received, counts.absent, counts.missing + counts.awaited) == (1000, 999, 999)
    fed(series, absent(1), absent(2))  # long given up
    assert series.counts() == counts
    assert (series.intervals(), series.absent_ids()) == ({}, {})


def test_empty_pulses_for_ever_take_bounded_memory(monkeypatch):
    monkeypatch.setattr("streams.ledger.series.MAX_RUNS", 100)
    series = fed(opened(), frame(0))
    for number in range(1, 1000):
        fed(series, absent(2 * number))
    assert series._absent.runs("a") == 100
    fed(series, frame(5000))
    counts = series.counts()
    assert (counts.absent, counts.awaited) == (100, 4899)  # no more than is known


def test_a_hostile_count_costs_nothing():
    series = fed(opened(), frame(0), absent(1, 2**62), frame(2**40))
    assert series.counts().absent == 0  # an image came after all
    assert fed(opened(first_image=9), frame(9), absent(-5, 3), absent(12, 2**47)).absent_ids() == {
        "a": [(12, 2**47, 0, 1)]
    }


@pytest.mark.parametrize("expected", [None, 9])
def test_a_share_tells_all_that_are_absent(expected):
    series = fed(opened(expected, Share(1, 2)), frame(0), absent(2), absent(4), absent(6))
    assert (series.counts().absent, series.absent_ids()) == (3, {"a": [(2, 1, 2, 3)]})
    assert (series.counts().missing, series.missing_ids()) == (0, {})
