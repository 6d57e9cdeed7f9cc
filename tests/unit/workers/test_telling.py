"""A worker's ledger tells of everything, in order, but of what is settled."""

import pytest

from edge.workers import words
from edge.workers.telling import MOST_IDS, TellingBook
from streams.ledger.lifecycle import CloseReason, State
from streams.ledger.shares import Share
from streams.messages import Absent, Compression, Frame, SeriesEnd, SeriesStart


def start(uid: str = "uid") -> SeriesStart:
    return SeriesStart("det", uid, 1, 3, ("image",))


def frame(image_id: int, uid: str = "uid", channel: str = "image") -> Frame:
    return Frame("det", uid, 1, image_id, channel, (2, 2), "<u2", Compression.NONE, b"12345678")


class Rig:
    def __init__(self) -> None:
        self.settled: set[str] = set()
        self.relayed: set[str] = set()
        self.hurried = 0
        self.book = TellingBook(
            "det",
            Share(1, 2),
            self.settled.__contains__,
            lambda begun: begun.series_uid not in self.relayed,
            self.hurry,
        )

    def hurry(self) -> None:
        self.hurried += 1

    def take(self, *frames: Frame) -> None:
        for each in frames:
            series, _ = self.book.of_frame(each, 0)
            series.take(each, 0)


def test_what_happens_is_told_in_order_and_images_together():
    rig = Rig()
    rig.book.open(start(), 0)
    rig.take(frame(0), frame(2), frame(1, channel="other"), frame(1))
    rig.book.absent(Absent("det", "uid", 1, 5, "image", 2))
    rig.book.end(SeriesEnd("det", "uid", 1), 0)
    begun, *told = rig.book.pop_told()
    assert isinstance(begun, words.Began)
    assert told == [
        words.Arrived("det", "uid", 1, "image", [0, 2]),
        words.Arrived("det", "uid", 1, "other", [1]),
        words.Arrived("det", "uid", 1, "image", [1]),
        words.Lacking("det", "uid", 1, "image", 5, 2),
        words.Ended("det", "uid"),
    ]
    assert rig.hurried == 1
    assert not rig.book
    assert rig.book.pop_told() == []


def test_a_run_of_images_is_bounded():
    rig = Rig()
    rig.take(*(frame(image_id) for image_id in range(MOST_IDS + 3)))
    assert [len(word.image_ids) for word in rig.book.pop_told() if isinstance(word, words.Arrived)] == [MOST_IDS, 3]


def test_a_start_that_another_worker_told_is_not_told_again():
    rig = Rig()
    rig.relayed.add("uid")
    assert rig.book.open(start(), 0)[1]
    assert rig.book.pop_told() == []


def test_the_end_of_a_series_that_this_worker_saw_nothing_of_is_told():
    rig = Rig()
    assert rig.book.end(SeriesEnd("det", "uid", 1), 0) is None
    assert rig.book.pop_told() == [words.Ended("det", "uid")]


@pytest.mark.parametrize("when", ["before", "after"])
def test_nothing_is_told_of_what_an_earlier_process_settled(when: str):
    rig = Rig()
    rig.settled.add("old")
    rig.take(frame(0, "old"), frame(0, "new"))
    if when == "after":  # its record goes with it, so it is known now or never
        rig.book.finish("old")
        rig.settled.clear()
    assert [word.series_uid for word in rig.book.pop_told() if isinstance(word, words.Arrived)] == ["new"]


def test_a_share_stays_open_until_it_is_said_that_it_is_closed():
    rig = Rig()
    series, _ = rig.book.open(start(), 0)
    rig.take(frame(0), frame(1), frame(2))
    rig.book.end(SeriesEnd("det", "uid", 1), 0)
    assert series.state is State.ENDING
    assert rig.book.open_series() == [series]
    rig.book.close("another")
    rig.book.close("uid")
    assert series.close_reason is CloseReason.END
    assert rig.book.open_series() == []
