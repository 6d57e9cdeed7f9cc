"""The detector's own count of dropped images: what readings mean, and how they are asked for, without a network."""

import queue
import threading
from typing import Any

import httpx
import pytest

from edge.config import ConfigError, check_url
from edge.pipeline.dropped import REMEMBERED, DroppedBook, Reading
from edge.simplon.dropped import DroppedPoll

PATIENCE_S = 10


def book(*readings: tuple[int, str | None, int]) -> DroppedBook:
    """Readings of (count, series, second); each took half a second."""
    entered = DroppedBook()
    for count, uid, second in readings:
        entered.take(Reading("det", count, uid, asked_ns=second * 10, answered_ns=second * 10 + 5))
    return entered


def test_nothing_is_known_before_the_first_reading() -> None:
    assert book().of("a", 0) is None


def test_the_last_reading_of_a_named_series_counts() -> None:
    entered = book((0, "a", 1), (2, "a", 2), (5, "a", 3), (0, "b", 4), (1, "b", 5))
    assert entered.of("a", 0) == 5
    assert entered.of("b", 0) == 1


def test_the_counter_is_reset_by_arm() -> None:
    """A fall is no negative loss, and a new series does not inherit the old one's."""
    entered = book((7, None, 1), (0, None, 2), (3, None, 3))
    assert entered.of("new", since_ns=19) == 3
    assert entered.of("old", since_ns=0, until_ns=18) == 7


def test_armed_again_while_the_start_message_is_on_its_way() -> None:
    """The readings after the reset fall into the time of the old series, and do not make its losses smaller."""
    assert book((7, None, 1), (0, None, 2)).of("old", since_ns=0) == 7


def test_what_was_asked_before_the_start_arrived_may_be_of_the_series_before() -> None:
    assert book((9, None, 1)).of("new", since_ns=11) is None
    assert book((9, None, 1)).of("new", since_ns=10) == 9


def test_an_equal_count_is_valid_at_both_ends_of_its_run() -> None:
    entered = book((0, None, 1), (0, None, 2), (0, None, 3))
    assert entered.of("first", since_ns=0, until_ns=16) == 0
    assert entered.of("last", since_ns=30) == 0


def test_series_that_we_name_ourselves_are_found_by_time() -> None:
    """SIMPLON v1 has no unique id on the wire: the detector's never equals ours, yet tells series apart."""
    entered = book((4, "theirs-1", 1), (6, "theirs-1", 2), (8, "theirs-2", 3))
    assert entered.of("2026-01-02/1", since_ns=5, until_ns=None) == 6
    assert entered.of("2026-01-02/2", since_ns=30, until_ns=None) == 8


def test_it_is_bounded() -> None:
    entered = book(*((count, None, count) for count in range(10 * REMEMBERED)))
    assert entered.of("a", since_ns=0) == 10 * REMEMBERED - 1
    assert len(entered._runs) == REMEMBERED


class Unit:
    """A control unit: what it answers, by path; a status where that is a number."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {"detector/api/version": "1.8.0", **answers}
        self.asked: list[tuple[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.strip("/")
        self.asked.append((request.method, path))
        answer = self.answers.get(path)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(404) if answer is None else httpx.Response(200, json={"value": answer})


DROPPED = "stream/api/1.8.0/status/dropped"
UID = "detector/api/1.8.0/status/series_unique_id"


def first(unit: Unit, interval_s: float = 60.0) -> Reading:
    read: queue.Queue[Reading] = queue.Queue()
    with DroppedPoll("det", "http://det", read.put, interval_s, httpx.MockTransport(unit)):
        return read.get(timeout=PATIENCE_S)


def test_a_reading() -> None:
    unit = Unit(**{DROPPED: 3, UID: "abc"})
    reading = first(unit)
    assert (reading.source, reading.count, reading.series_uid) == ("det", 3, "abc")
    assert reading.asked_ns <= reading.answered_ns
    assert {method for method, _ in unit.asked} == {"GET"}


def test_the_version_of_the_interface_is_found_out() -> None:
    unit = Unit(**{"detector/api/version": "1.6.0", "stream/api/1.6.0/status/dropped": 4})
    reading = first(unit)
    assert (reading.count, reading.series_uid) == (4, None)


def test_a_series_that_changes_meanwhile_is_not_named() -> None:
    class Arming(Unit):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            answer = super().__call__(request)
            if request.url.path.endswith("dropped"):
                self.answers[UID] = "next"
            return answer

    assert first(Arming(**{DROPPED: 3, UID: "abc"})).series_uid is None


def test_a_detector_that_names_no_series_is_asked_for_the_name_once() -> None:
    read: queue.Queue[Reading] = queue.Queue()
    unit = Unit(**{DROPPED: 3})
    with DroppedPoll("det", "http://det", read.put, 0.001, httpx.MockTransport(unit)):
        assert [read.get(timeout=PATIENCE_S).series_uid for _ in range(3)] == [None] * 3
    assert unit.asked.count(("GET", UID)) == 1


def test_asked_at_once_where_that_is_wanted() -> None:
    read: queue.Queue[Reading] = queue.Queue()
    unit = Unit(**{DROPPED: 3})
    with DroppedPoll("det", "http://det", read.put, 3600.0, httpx.MockTransport(unit)) as poll:
        assert read.get(timeout=PATIENCE_S).count == 3
        unit.answers[DROPPED] = 5
        poll.ask()
        assert read.get(timeout=PATIENCE_S).count == 5
        assert (poll.readings, poll.errors) == (2, 0)


@pytest.mark.parametrize("bad", [httpx.ConnectTimeout("slow"), httpx.ConnectError("refused"), None, "many", -1])
def test_a_detector_that_does_not_tell_is_asked_again(bad: Any) -> None:
    read: queue.Queue[Reading] = queue.Queue()
    unit = Unit(**{DROPPED: bad})
    with DroppedPoll("det", "http://det", read.put, 0.001, httpx.MockTransport(unit)) as poll:
        failed = threading.Event()
        while poll.errors < 3 and not failed.wait(0.001):
            pass
        assert read.empty()
        unit.answers[DROPPED] = 8
        assert read.get(timeout=PATIENCE_S).count == 8


def test_nothing_is_handed_over_after_the_end() -> None:
    read: queue.Queue[Reading] = queue.Queue()
    answered, go_on = threading.Event(), threading.Event()

    class Slow(Unit):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            answered.set()
            go_on.wait(PATIENCE_S)
            return super().__call__(request)

    with DroppedPoll("det", "http://det", read.put, 0.001, httpx.MockTransport(Slow(**{DROPPED: 1}))) as poll:
        assert answered.wait(PATIENCE_S)
    go_on.set()
    poll._thread.join(PATIENCE_S)
    assert not poll._thread.is_alive() and read.empty()


@pytest.mark.parametrize("url", ["", "http://10.42.41.10", "http://det:8000", "http://det/", "http://[::1]:80"])
def test_addresses_of_detectors(url: str) -> None:
    check_url(url, "source 'det': detector_url")


@pytest.mark.parametrize(
    "url", ["10.42.41.10", "https://det", "tcp://det:80", "http://", "http://det:99999", "http://d/x"]
)
def test_what_is_no_address_of_a_detector(url: str) -> None:
    with pytest.raises(ConfigError, match="source 'det': detector_url"):
        check_url(url, "source 'det': detector_url")
