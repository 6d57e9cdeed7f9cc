from typing import Any

import pytest

from edge.bench.heartbeat import PERIOD_S, Heartbeat


class Loop:
    """An event loop that a test turns by hand."""

    def __init__(self) -> None:
        self.due: Any = None

    def call_soon_threadsafe(self, call: Any) -> None:
        call()

    def call_later(self, seconds: float, call: Any) -> None:
        assert seconds == PERIOD_S
        self.due = call


def test_the_longest_gap_between_two_beats_is_kept(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    loop = Loop()
    with Heartbeat(loop) as heart:  # pyright: ignore[reportArgumentType]
        for at in (100.005, 100.010, 100.130, 100.135, 100.160):
            now[0] = at
            loop.due()
    assert heart.worst_s == pytest.approx(0.120)
    assert heart.worst_at_s == pytest.approx(100.130)


def test_it_ends_with_its_context():
    loop = Loop()
    with Heartbeat(loop):  # pyright: ignore[reportArgumentType]
        last = loop.due
    loop.due = None
    last()
    assert loop.due is None
