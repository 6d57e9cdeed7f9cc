import io

import pytest
from rich.console import Console

from edge.bench import report
from edge.bench.activity import EXPOSING, MOVING
from edge.bench.heartbeat import PERIOD_S
from edge.bench.pause import Measured, Run
from edge.bench.pauser import Pause
from edge.bench.rows import by_name, document
from edge.experiment.series import SeriesRecord


def measured(*problems: str) -> Measured:
    pauses = tuple(Pause(0.5 * n, EXPOSING if n == 7 else MOVING, n > 4, n / 1000, 0.0005) for n in range(1, 11))
    run = Run(12, 12, 1, (SeriesRecord(1, "uid", 48, "", "complete"),), problems)
    return Measured(pauses, (run, run), 0.025, 3.0, 60.0)


def outcome(limit_ms: float = 50.0, *problems: str):
    return report.numbers(measured(*problems), limit_ms, (0.5, 1.5))


def test_latencies_by_what_was_done():
    found = outcome()["honoured_ms"]
    assert found["all"] == pytest.approx({"count": 10, "p50": 5.5, "p95": 9.55, "p99": 9.91, "max": 10.0})
    assert found["from_call"]["max"] == pytest.approx(0.5)
    assert (found[MOVING]["count"], found[EXPOSING]["count"], found[EXPOSING]["max"]) == (9, 1, pytest.approx(7.0))
    assert (found["agent trains"]["count"], found["agent does not train"]["max"]) == (6, pytest.approx(4.0))
    assert found["reading, saving"] == {"count": 0, "p50": None, "p95": None, "p99": None, "max": None}


def test_totals_of_all_runs():
    found = outcome()
    assert (found["points"], found["observations"], found["rejected"], found["images"]) == (24, 24, 2, 96)
    assert found["stall_ms"] == pytest.approx(1e3 * (0.025 - PERIOD_S))
    assert found["ledger_complete"] is True
    assert report.failures(found) == []


def test_the_rows_hold_everything():
    kept = by_name(document("edge bench pause", report.rows(outcome())))
    assert kept["pause/all"]["value"] == pytest.approx(5.5)
    assert kept["pause/all"]["spread"] == pytest.approx([5.5, 10.0])
    assert kept["pause/all"]["detail"]["p99"] == pytest.approx(9.91)
    assert kept["pause/reading, saving"]["value"] is None
    assert (kept["points"]["value"], kept["worst"]["detail"]["doing"]) == (24, MOVING)
    assert (kept["ledger_complete"]["value"], kept["problems"]["value"]) == (True, 0)
    assert len(kept["each"]["detail"]) == 10


def test_a_pause_over_the_limit_names_the_worst():
    (said,) = report.failures(outcome(8.5))
    assert said == (
        "2 of 10 pauses took longer than 8.5 ms; the worst took 10.0 ms, 5.0 s after the start, while moving and the "
        "agent trained"
    )


def test_a_run_that_lost_something_fails():
    assert report.failures(outcome(50.0, "a point is lost")) == ["a point is lost"] * 2


def test_the_table_shows_only_what_was_met():
    screen = io.StringIO()
    Console(file=screen, width=100).print(report.table(outcome()))
    text = screen.getvalue()
    assert "reading, saving" not in text
    assert [line.split()[-1] for line in text.splitlines() if line.strip().startswith(("moving", "exposing"))] == [
        "10.0",
        "7.0",
    ]


def test_the_summary_says_where_it_was_measured():
    text = "\n".join(report.summary(outcome()))
    assert "20.0 ms" in text
    assert "load average 0.5 before, 1.5 after" in text
    assert f"{outcome()['machine']['cores']} cores" in text


def test_a_run_that_broke_before_the_first_pause():
    broken = Measured((), (Run(0, 0, 0, (), ("no beam",)),), 0.0, 0.0, 1.0)
    found = report.numbers(broken, 50.0, (0.5, 1.5))
    assert (found["worst"], found["honoured_ms"]["all"]["max"]) == (None, None)
    assert report.failures(found) == ["no beam"]
    kept = by_name(document("edge bench pause", report.rows(found)))
    assert (kept["pause/all"]["value"], kept["worst"]["value"], kept["problems"]["detail"]) == (None, None, ["no beam"])
