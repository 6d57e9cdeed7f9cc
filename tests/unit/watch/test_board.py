"""What `edge watch` knows, from notices; and how it is said."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from edge.watch.board import REASONS, Board, closing_line, lost, plain, shown
from edge.watch.logtail import LogTail
from edge.watch.scrape import arrived, unread
from edge.watch.table import table
from streams.codecs.results import Heartbeat, Result, SeriesEnded, SeriesStarted
from streams.ledger.lifecycle import CloseReason
from streams.ledger.reconciling import Reconciled
from streams.ledger.strides import Suspicion

COMMON: dict[str, Any] = {
    "source": "det",
    "series_uid": "u1",
    "series_id": 1,
    "route": "peaks",
    "origin": "o",
    "seq": 0,
}
MODEL: dict[str, Any] = {"channel": "image", "model": "peaks", "model_version": "1", "model_sha256": ""}


def started(expected: int | None = 10, **changes: Any) -> SeriesStarted:
    return SeriesStarted(**COMMON | {"published_ns": 0, "expected": expected, "announced": True} | changes)


def result(image_id: int, latency_ms: float = 5.0, **changes: Any) -> Result:
    times = {"received_ns": 1_000_000_000, "published_ns": 1_000_000_000 + int(latency_ms * 1e6)}
    return Result(**COMMON | MODEL | times | {"image_id": image_id} | changes)


def ended(received: int = 10, absent: int = 0, verdict: str = "complete", **changes: Any) -> SeriesEnded:
    arrivals = {"expected": received + absent, "received": received, "missing": absent}
    account = {"published": received, "dropped": {}, "failed": {}, "unpublished": {}}
    facts = {"published_ns": 0, "reason": "end", "verdict": verdict, "arrivals": arrivals, "account": account}
    return SeriesEnded(**COMMON | facts | {"latency_ms": {"p50": 5.0, "p99": 9.0, "max": 9.5}} | changes)


def test_an_open_series() -> None:
    board = Board()
    board.take(started(), {})
    for image_id in range(4):
        board.take(result(image_id), {"count": np.array([image_id], np.int32)})
    board.arrived({"det": 6, "other": 3})
    (row,) = board.rows(now=10.0)
    assert (row.series_id, row.open, row.received, row.expected, row.published) == (1, True, 6, 10, 4)
    assert row.missing is None and row.lost == 0
    assert row.latency_ms == pytest.approx((5.0, 5.0), rel=0.02)
    assert row.values == "count 3"


def test_a_closed_series() -> None:
    board = Board()
    board.take(started(), {})
    board.take(ended(8, 2, "incomplete"), {})
    (row,) = board.rows(now=10.0)
    assert (row.open, row.received, row.expected, row.published, row.missing) == (False, 8, 10, 8, 2)
    assert row.verdicts == {"incomplete": 1} and row.latency_ms == (5.0, 9.0)
    assert board.incomplete == 1


def test_arrivals_of_the_open_series_are_those_of_no_closed_one() -> None:
    """Two routes tell of the same series: its frames are counted once."""
    board = Board()
    for route in ("peaks", "ptycho"):
        board.take(ended(route=route), {})
    board.take(started(series_uid="u2", series_id=2), {})
    board.arrived({"det": 13})
    row = board.rows(now=1.0)[0]
    assert (row.series_id, row.received) == (2, 3)


def test_without_counters_nothing_is_made_up() -> None:
    board = Board()
    board.take(started(expected=None), {})
    (row,) = board.rows(now=1.0)
    assert row.received is None and row.expected is None and row.latency_ms is None


def test_the_rate_is_that_of_the_last_seconds() -> None:
    board = Board()
    board.take(started(), {})
    for tick in range(100):
        for image_id in range(10):
            board.take(result(10 * tick + image_id), {})
        rate = board.rows(now=1 + tick / 10)[0].rate_hz
    assert rate == pytest.approx(100.0)
    for tick in range(100, 140):
        rate = board.rows(now=1 + tick / 10)[0].rate_hz
    assert rate == 0.0


def test_a_series_whose_start_was_missed() -> None:
    board = Board()
    board.take(result(5), {})
    (row,) = board.rows(now=1.0)
    assert (row.published, row.expected) == (1, None)
    board.take(started(), {})
    assert (board.rows(now=2.0)[0].published, board.rows(now=2.0)[0].expected) == (1, 10)


def test_a_heartbeat_is_no_news() -> None:
    board = Board()
    board.take(Heartbeat("peaks", "o", 3, 0), {})
    assert board.rows(now=1.0) == []


def test_values_of_a_result() -> None:
    small = {"count": np.array([7]), "checksum": np.array([1, 2]), "row": np.zeros(128)}
    assert shown(small) == "count 7, checksum 1 2"
    assert shown({"phase": np.full((80, 80), 0.5, np.float32)}) == "mean phase 0.5"
    assert shown({}) == "" and shown({"none": np.zeros((0, 3))}) == ""


def test_a_closed_series_in_a_line() -> None:
    assert closing_line(ended()) == (
        "series 1 of det on peaks: complete, 10 of 10 images, 10 results, p50 5.0 ms, p99 9.0 ms"
    )
    lost_ones = {"dropped": {"shutdown": 1}, "failed": {"truncated": 2}, "unpublished": {}}
    account = {"published": 6, "unwanted": 3} | lost_ones
    bad = ended(
        9, 5, "incomplete", account=account, latency_ms={}, detector_dropped=3, reconciled=Reconciled(3, 2, 0),
        suspicion=Suspicion(stride=2, phase=1, missing=5, text="every 2nd image is missing"),
    )  # fmt: skip
    assert lost(bad) == 3
    line = closing_line(bad)
    where = "5 missing of which 3 dropped by the detector, 2 lost on the way or never taken"
    for words in (where, "1 dropped (shutdown)", "2 failed (truncated)", "3 not for this route"):
        assert words in line
    assert line.endswith("every 2nd image is missing")
    assert "0 of ? images" in closing_line(ended(arrivals={"expected": None, "received": 0, "missing": 0}))


def test_a_line_names_what_is_missing_and_why_the_series_was_closed() -> None:
    def line(missing: dict[str, list[tuple[int, int]]], reason: str = "grace_over") -> str:
        return closing_line(ended(5, 9, "incomplete", missing=missing, reason=reason))

    assert "9 missing (3, 7 to 8), p50" in line({"image": [(3, 4), (7, 9)]})
    assert "(a 3, b 7 to 8)" in line({"a": [(3, 4)], "b": [(7, 9)]})
    assert "(0, 2, 4, 6, ...)" in line({"image": [(at, at + 1) for at in range(0, 18, 2)]})
    assert line({}).endswith("; it ended, and awaited images did not come")
    assert set(REASONS) == set(CloseReason)


def test_messages_that_make_no_series_are_told() -> None:
    """A wrong protocol in the configuration: nothing else would show."""
    board = Board()
    assert board.troubles == []
    page = (
        "# TYPE edge_messages_malformed_total counter\n"
        'edge_messages_malformed_total{source="det",reason="malformed"} 3.0\n'
        'edge_messages_malformed_total{source="det",reason="truncated"} 1.0\n'
    )
    board.unread(unread(page))
    board.unread(unread(page) | unread("<html>nothing of ours</html>"))
    (told,) = board.troubles
    assert told == "det: 4 messages could not be read (3 malformed, 1 truncated); is its protocol right?"
    assert told in drawn(board, width=150)


def test_a_closed_series_as_json() -> None:
    document = json.loads(json.dumps(plain(ended(missing={"image": [(3, 5)]}))))
    assert document["verdict"] == "complete" and document["missing"] == {"image": [[3, 5]]}
    assert not {"origin", "seq", "v"} & document.keys()


def drawn(board: Board, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(board.rows(now=1.0), "Ctrl-C ends it", board.troubles))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 150])
def test_the_table(width: int) -> None:
    board = Board()
    board.take(ended(8, 2, "incomplete"), {})
    board.take(started(route="ptycho", series_id=7), {})
    board.take(result(0, route="ptycho", series_id=7), {"count": np.array([3])})
    shown = drawn(board, width)
    for words in ("peaks", "ptycho", "1 closed", "8 / 10", "? / 10", "1 incomplete", "5.0/9.0", "Ctrl-C ends it"):
        assert words in shown
    assert "det on ptycho: newest result: count 3" in shown
    assert "no series yet" not in shown and "no series yet" in drawn(Board(), width)


def test_counters_are_read_from_the_page() -> None:
    page = (
        "# HELP edge_frames_arrived_total Frames\n# TYPE edge_frames_arrived_total counter\n"
        'edge_frames_arrived_total{arrival="new",source="det"} 12.0\n'
        'edge_frames_arrived_total{arrival="late",source="det"} 3.0\n'
    )
    assert arrived(page) == {"det": 12}
    assert arrived("") == {}
    assert arrived("<html>nothing of ours</html>") == {}


def test_warnings_of_the_log_are_told_once_and_whole(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    tail = LogTail(log)
    assert tail.new() == []
    log.write_text("16:00:00 INFO    ready\n16:00:01 WARNING source det: no mask\n16:00:02 ERR")
    assert tail.new() == ["16:00:01 WARNING source det: no mask"]
    with log.open("a") as more:
        more.write("OR   disk full\n  a line of a traceback\n")
    assert tail.new() == ["16:00:02 ERROR   disk full"]
    assert tail.new() == []


def test_a_series_outside_of_its_models_range_is_told() -> None:
    reason = "energy 12 keV, trained at 8.8 keV"
    board = Board()
    board.take(started(untrained=(reason,)), {})
    assert board.rows(now=1.0)[0].untrained == (reason,) and f"untrained: {reason}" in drawn(board, width=150)
    board.take(result(0), {})
    assert board.rows(now=2.0)[0].untrained == ()
    last = ended(untrained=(reason,))
    board.take(last, {})
    assert board.rows(now=3.0)[0].untrained == (reason,)
    assert closing_line(last).endswith(f"untrained: {reason}")
