"""The fault bench itself: the code passes, and a ledger that lies does not."""

import json

import pytest
from click.testing import CliRunner

from edge.bench import faults
from edge.bench.faultreport import markdown, table
from edge.bench.faultrun import Run
from edge.bench.faulttable import ORDERS, Kind, declared
from edge.commands.bench_faults import faults as command
from streams.codecs import PROTOCOLS
from streams.ledger.book import SeriesBook
from streams.ledger.lifecycle import TRANSITIONS, Arrival, CloseReason, Event, State
from streams.ledger.series import Series
from streams.messages import Frame, SeriesStart


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_seed_of_every_cell(protocol):
    found = list(faults.cells([protocol], list(ORDERS), seeds=1))
    assert [str(mismatch) for cell in found for mismatch in cell.mismatches] == []
    assert len(found) == len(ORDERS)
    assert {cell.fault for cell in found if not cell.runs} == {
        fault for fault in ORDERS if declared(protocol, fault).kind is Kind.ABSENT
    }


class ByOrder(SeriesBook):
    """Takes images by the order of their arrival, not by id."""

    def of_frame(self, frame, now_ns):
        series, new = super().of_frame(frame, now_ns)
        if not hasattr(series, "judge_by_id"):
            series.judge_by_id, series.came = series._judge, {}
            series._judge = lambda frame: self.in_order(series, frame)
        return series, new

    @staticmethod
    def in_order(series: Series, frame: Frame) -> Arrival:
        series.came[frame.channel] = series.came.get(frame.channel, -1) + 1
        fields = {name: getattr(frame, name) for name in frame.__struct_fields__}
        return series.judge_by_id(Frame(**fields | {"image_id": series.came[frame.channel]}))


class Closing(SeriesBook):
    """Closes a series at its end, whatever is awaited."""

    def end(self, message, now_ns):
        series = super().end(message, now_ns)
        if series is not None and series.state is State.ENDING:
            series.state, series.close_reason = TRANSITIONS[State.OPEN, Event.END_ALL_IN]
        return series


class Believing(SeriesBook):
    """Takes the number of images that came for the number that was asked for."""

    def open(self, start, now_ns):
        fields = {name: getattr(start, name) for name in start.__struct_fields__}
        return super().open(SeriesStart(**fields | {"expected": None}), now_ns)


class Forgetful(SeriesBook):
    """Enters what is left of an older series as a series of its own."""

    def of_frame(self, frame, now_ns):
        known = self._series.get(frame.series_uid)
        if known is not None and known.state is State.CLOSED:
            del self._series[frame.series_uid]
        return super().of_frame(frame, now_ns)


@pytest.mark.parametrize(
    ("book", "fault"),
    [(ByOrder, "drop"), (ByOrder, "duplicate"), (Closing, "early-end"), (Closing, "abort"),
     (Believing, "drop-last"), (Forgetful, "stale")],
)  # fmt: skip
def test_a_ledger_that_lies_is_found(book, fault):
    def running(protocol, options, told):
        return Run(protocol, options, told, book())

    (cell,) = faults.cells(["stream-v2"], [fault], 1, running)
    assert cell.mismatches
    assert {mismatch.fault for mismatch in cell.mismatches} == {fault}


@pytest.mark.parametrize(("seed", "expected"), [(0, False), (1, True)])
def test_in_every_second_run_images_are_in_flight_when_a_series_is_closed(monkeypatch, seed, expected):
    settle, found = Run._settle, []

    def settling(run, when):
        accounts = [record.accounts["bench"] for record in run._records if record.series.state is State.CLOSED]
        found.append(any(account.in_flight > 1 for account in accounts))
        settle(run, when)

    monkeypatch.setattr(Run, "_settle", settling)
    assert faults.one("stream-v2", "restart", seed, declared("stream-v2", "restart")) == []
    assert any(found) == expected


@pytest.mark.parametrize("protocol", ["bsread", "karabo", "karabo-1.0"])
def test_an_absence_that_is_not_told_is_found(protocol, monkeypatch):
    monkeypatch.setattr(Series, "absent", lambda series, message: None)
    (cell,) = faults.cells([protocol], ["empty"], 1)
    assert any("in truth" in str(mismatch) for mismatch in cell.mismatches)


def test_equations_that_do_not_hold_are_found(monkeypatch):
    monkeypatch.setattr(Series, "_awaited", lambda self: 1)
    monkeypatch.setattr(Series, "_outstanding", lambda self: 7)
    (cell,) = faults.cells(["simplon-v1"], ["delay"], 1)
    assert any("expected 48 is not" in str(mismatch) for mismatch in cell.mismatches)


def test_a_false_claim_where_nothing_can_be_known_is_found(monkeypatch):
    """A stream that began in the middle: what is before the first image must not be called missing."""
    first_image = Series.__init__

    def from_zero(self, start, **options):
        first_image(self, start, **options)
        self._first = 0

    monkeypatch.setattr(Series, "__init__", from_zero)
    (cell,) = faults.cells(["bsread"], ["drop-first"], 1)
    assert cell.declared.kind is Kind.UNDETECTABLE
    assert "which it cannot know" in str(cell.mismatches[0])


def test_every_cell_has_its_reason():
    for protocol in PROTOCOLS:
        for fault in ORDERS:
            assert declared(protocol, fault).reason


def test_the_command(tmp_path):
    kept = tmp_path / "faults.json"
    args = ["--seeds", "1", "--protocol", "array-1.0", "--fault", "drop", "--fault", "no-end", "--json", str(kept)]
    result = CliRunner().invoke(command, args)
    assert result.exit_code == 0, result.output
    assert "1 runs of 1 cells: 0 mismatches" in result.output
    rows = {row["name"]: row for row in json.loads(kept.read_text())["rows"]}
    assert (rows["cells"]["value"], rows["mismatches"]["value"]) == (1, 0)
    assert rows["array-1.0/drop"]["detail"]["declared"] == "detectable"
    assert rows["array-1.0/no-end"]["detail"]["runs"] == 0


def test_the_command_fails_where_the_account_lies(monkeypatch):
    monkeypatch.setitem(TRANSITIONS, (State.OPEN, Event.END), (State.CLOSED, CloseReason.END))
    result = CliRunner().invoke(command, ["--seeds", "1", "--protocol", "stream-v2", "--fault", "early-end"])
    assert result.exit_code == 1
    assert "mismatch: stream-v2, early-end, seed 0: received 47" in result.output


def test_tables():
    found = list(faults.cells(["stream-v2", "bsread"], ["drop-first", "no-end"], 1))
    assert table(found).row_count == 2
    lines = markdown(found).splitlines()
    assert lines[0] == "| fault | `stream-v2` | `bsread` | how, or why not |"
    assert lines[3].startswith("| `no-end` | ● | - | closed for silence")
