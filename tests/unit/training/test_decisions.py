"""The log of decisions: what a killed process leaves of it is read, and gone on with."""

from pathlib import Path

from edge.training.arriving import FileFacts
from edge.training.deciding import Gain
from edge.training.decisions import Decision, DecisionLog

SCAN = FileFacts("scan.npz", 10, 5)
GAIN = Gain(1.1, 1.0, 0.1, 0.05, 0.15, 114)


def decision(what: str, **facts: object) -> Decision:
    return Decision(what, "ptycho", SCAN, **facts)  # pyright: ignore[reportArgumentType]


def test_what_was_written_is_read_again(tmp_path: Path):
    log = DecisionLog(tmp_path / "log")
    told = log.append(decision("deployed", base=1, version=2, gain=GAIN, trained=202))
    assert told.time.endswith("+00:00")
    again = DecisionLog(tmp_path / "log")
    assert again.decisions == [told] and again.decisions[0].gain == GAIN
    assert again.done() == [SCAN] and again.predecessor(2) == 1 and again.predecessor(1) is None


def test_a_line_that_was_cut_off_costs_no_other(tmp_path: Path):
    path = tmp_path / "log"
    first = DecisionLog(path).append(decision("kept", base=1))
    path.write_bytes(path.read_bytes() + b'{"what":"depl')
    log = DecisionLog(path)
    assert log.decisions == [first]
    second = log.append(decision("refused", why="no probe"))
    assert DecisionLog(path).decisions == [first, second]


def test_only_the_end_of_a_scan_counts_as_dealt_with(tmp_path: Path):
    log = DecisionLog(tmp_path / "log")
    for what in ("confirmed", "rolled_back", "deploying"):
        log.append(decision(what, base=1, version=2))
        assert log.done() == []
    assert log.cut_short() == log.decisions[-1]
    log.append(decision("deployed", base=1, version=2))
    assert log.done() == [SCAN] and log.cut_short() is None
    assert log.checks(1, 2) == 1 and log.checks(2, 1) == 0
    log.append(decision("rolling_back", base=1, version=2))
    assert log.cut_short() == log.decisions[-1]
    log.append(decision("rolled_back", base=1, version=2))
    assert log.cut_short() is None


def test_a_damaged_line_costs_no_other(tmp_path: Path):
    path = tmp_path / "log"
    first = DecisionLog(path).append(decision("kept", base=1))
    for damage in (b'{"what":"caf\xe9"}\n', b'{"what":' + b"[" * 5000 + b"\n", b"\x00\n"):
        path.write_bytes(path.read_bytes() + damage)
    assert DecisionLog(path).decisions == [first]
