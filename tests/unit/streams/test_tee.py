"""The tee without sockets: what the writer gets, what happens to copies, and that nothing ends it."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from streams.tee import NOTICE_S, PART_BYTES, Copies, Counts, Tee

MESSAGES = [[b"head", bytes([number])] for number in range(20)]
NBYTES = len(b"head") + 1


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class End:
    """A socket that gives `messages` and takes what `takes` allows."""

    def __init__(self, messages: Sequence[list[bytes]] = (), takes: Callable[[int], bool] = lambda tried: True) -> None:
        self.messages, self.takes = list(messages), takes
        self.got: list[Sequence[Any]] = []
        self.tried = 0

    def take(self) -> list[Any] | None:
        return self.messages.pop(0) if self.messages else None

    def give(self, message: Sequence[Any]) -> bool:
        self.tried += 1
        if not self.takes(self.tried):
            return False
        self.got.append(message)
        return True


def run(source: End, writer: End, copy: End, *, copy_bytes: int = 1 << 30, stop_after: int = 50) -> tuple[Tee, int]:
    """Run until `stop_after` waits: what waits there takes the time that it was given."""
    clock, waits = Clock(), 0

    def wait(taking: Sequence[Any], giving: Sequence[Any], timeout_ms: int) -> None:
        nonlocal waits
        waits += 1
        clock.now += timeout_ms / 1000
        if waits == stop_after:
            tee.stop()

    tee = Tee(source, writer, copy, wait, copy_bytes, clock)
    return tee, tee.run(patience_s=3.0)


def test_both_get_everything_in_order() -> None:
    writer, copy = End(), End()
    tee, left = run(End(MESSAGES), writer, copy)
    assert left == 0
    assert writer.got == copy.got == MESSAGES
    counts = tee.counts
    assert (counts.received, counts.written, counts.copied, counts.dropped) == (20, 20, 20, 0)
    assert counts.received_bytes == 20 * NBYTES


def test_the_very_parts_are_passed_on() -> None:
    """No copy is made of the bytes: the same objects leave."""
    writer, copy = End(), End()
    run(End(MESSAGES), writer, copy)
    for sent, written, copied in zip(MESSAGES, writer.got, copy.got, strict=True):
        assert all(one is other is third for one, other, third in zip(sent, written, copied, strict=True))


def test_nothing_is_read_while_the_writer_waits() -> None:
    source = End(MESSAGES)
    writer = End(takes=lambda tried: len(writer.got) < 3)
    tee, left = run(source, writer, End())
    assert left == 1
    assert writer.got == MESSAGES[:3]
    assert len(source.messages) == 20 - 4  # the fourth is at hand
    assert (tee.counts.received, tee.counts.written) == (4, 3)
    assert tee.counts.writer_stalls == 1 and tee.counts.writer_stalled
    assert tee.counts.writer_wait_s > NOTICE_S


def test_a_slow_writer_gets_everything() -> None:
    writer = End(takes=lambda tried: tried % 3 == 0)
    tee, left = run(End(MESSAGES), writer, End(), stop_after=1000)
    assert left == 0 and writer.got == MESSAGES
    assert tee.counts.writer_stalls == 0 and not tee.counts.writer_stalled
    assert tee.counts.writer_wait_s == pytest.approx(20 * 2 * 0.2)


def test_a_writer_that_comes_back_is_no_longer_stalled() -> None:
    writer = End(takes=lambda tried: tried > 20)
    tee, left = run(End(MESSAGES), writer, End(), stop_after=100)
    assert left == 0 and writer.got == MESSAGES
    assert tee.counts.writer_stalls == 1 and not tee.counts.writer_stalled


def test_the_writer_has_everything_where_nobody_takes_copies() -> None:
    writer = End()
    tee, left = run(End(MESSAGES), writer, End(takes=lambda tried: False))
    assert left == 0 and writer.got == MESSAGES
    assert (tee.counts.copied, tee.counts.dropped, tee.counts.drop_runs) == (0, 20, 1)


def test_a_copy_never_goes_before_the_writer() -> None:
    copy = End()
    writer = End(takes=lambda tried: len(writer.got) >= len(copy.got) and len(writer.got) < 3)
    run(End(MESSAGES), writer, copy)
    assert copy.got == writer.got == MESSAGES[:3]


def broken(tried: int) -> bool:
    raise RuntimeError("broken")


def test_an_error_on_the_side_of_the_copy_costs_copies_only() -> None:
    writer = End()
    tee, left = run(End(MESSAGES), writer, End(takes=broken))
    assert left == 0 and writer.got == MESSAGES
    assert (tee.counts.copied, tee.counts.dropped, tee.counts.errors) == (0, 20, 20)


def test_an_error_on_the_side_of_the_writer_loses_no_message() -> None:
    writer = End(takes=lambda tried: broken(tried) if tried in (1, 5) else True)
    tee, left = run(End(MESSAGES), writer, End())
    assert left == 0 and writer.got == MESSAGES
    assert tee.counts.errors == 2


def test_an_error_of_the_source_does_not_end_it() -> None:
    class Failing(End):
        def take(self) -> list[Any] | None:
            self.tried += 1
            return broken(self.tried) and None if self.tried == 2 else super().take()

    writer = End()
    tee, _ = run(Failing(MESSAGES), writer, End())
    assert writer.got == MESSAGES and tee.counts.errors == 1


def test_what_has_arrived_is_passed_on_after_the_stop() -> None:
    source, writer = End(MESSAGES), End()
    tee = Tee(source, writer, End(), lambda *_: None, 1 << 20, Clock())
    tee.stop()
    assert tee.run(patience_s=3.0) == 0
    assert writer.got == MESSAGES


def test_a_detector_that_never_pauses_does_not_hold_up_the_stop() -> None:
    clock = Clock()

    class Endless(End):
        def take(self) -> list[Any] | None:
            clock.now += 0.1
            return [b"image"]

    writer = End()
    tee = Tee(Endless(), writer, End(), lambda *_: None, 1 << 20, clock)
    tee.stop()
    assert tee.run(patience_s=1.0) == 0
    assert 10 <= len(writer.got) <= 11


def charged(message: Sequence[bytes]) -> int:
    return NBYTES + PART_BYTES * len(message)


def test_copies_are_bounded_in_bytes() -> None:
    counts = Counts()
    copies = Copies(counts, max_bytes=3 * charged(MESSAGES[0]))
    for message in MESSAGES[:5]:
        copies.offer(message, NBYTES, now=0.0)
    assert (len(copies), counts.dropped) == (3, 2)
    taken = End()
    copies.flush(taken.give, now=0.1)
    assert taken.got == MESSAGES[:3] and counts.copied == 3
    copies.offer(MESSAGES[5], NBYTES, now=0.2)
    assert len(copies) == 1  # there is room again


def test_copies_are_bounded_in_time() -> None:
    counts, nobody = Counts(), End(takes=lambda tried: False)
    copies = Copies(counts, max_bytes=1 << 30, max_age_s=1.0)
    copies.offer(MESSAGES[0], NBYTES, now=0.0)
    copies.offer(MESSAGES[1], NBYTES, now=0.9)
    copies.flush(nobody.give, now=1.0)
    assert (len(copies), counts.dropped) == (2, 0)
    copies.flush(nobody.give, now=1.5)
    assert (len(copies), counts.dropped) == (1, 1)
    late = End()
    copies.flush(late.give, now=1.6)
    assert late.got == MESSAGES[1:2]


def test_a_copy_larger_than_all_room_is_dropped() -> None:
    counts = Counts()
    Copies(counts, max_bytes=10).offer(MESSAGES[0], NBYTES, now=0.0)
    assert counts.dropped == 1


def test_runs_of_drops_are_counted_not_each_drop() -> None:
    counts = Counts()
    copies = Copies(counts, max_bytes=0)
    for now in (0.0, 0.5, 1.4, 10.0, 10.1):
        copies.flush(End().give, now)
        copies.offer(MESSAGES[0], NBYTES, now)
    assert (counts.dropped, counts.drop_runs) == (5, 2)


def test_what_is_abandoned_is_dropped() -> None:
    counts = Counts()
    copies = Copies(counts, max_bytes=1 << 30)
    copies.offer(MESSAGES[0], NBYTES, now=0.0)
    copies.abandon()
    assert (len(copies), counts.dropped) == (0, 1)
