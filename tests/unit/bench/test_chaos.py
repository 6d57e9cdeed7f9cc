"""The failure table, and the judge of `edge bench chaos`."""

from collections import Counter
from pathlib import Path

import pytest

from edge.bench.chaos import report
from edge.bench.chaos.frames import pictures
from edge.bench.chaos.judging import Judged, Kept, judge
from edge.bench.chaos.processes import role_of
from edge.bench.chaos.run import Measured
from edge.bench.chaos.striking import Struck
from edge.bench.chaos.table import ROWS, markdown
from edge.bench.hostile import zmtp
from edge.bench.rows import document

PAGE = Path(__file__).parents[3] / "edge/bench/README.md"


def kept(ids: range | list[int], verdict: str = "complete", **reasons: int) -> Kept:
    return Kept(Counter(ids), 0, verdict, None, Counter(reasons), 1)


def test_the_page_holds_the_table() -> None:
    assert markdown() in PAGE.read_text()


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.lasts_s[0] <= row.lasts_s[1] for row in ROWS)


def test_one_result_each() -> None:
    found = judge("one", 5, kept(range(5)), Counter(range(5)))
    assert (found.results, found.failures, found.lost, found.undelivered) == (5, 0, Counter(), 0)


def test_what_is_missing_has_a_reason_or_is_unaccounted() -> None:
    there = [0, 1, 2]
    found = judge("one", 6, kept(there, "incomplete", missing=2), Counter(there))
    assert (found.unaccounted, found.lost) == (1, {"missing": 2})
    assert found.examples


def test_what_was_announced_and_never_sent_is_no_reason() -> None:
    there = Kept(Counter([0, 1]), 0, "incomplete", 100, Counter(missing=98), 1)
    assert judge("one", 2, there, Counter([0, 1])).failures == 0
    assert judge("one", 4, there, Counter([0, 1])).lost == {"missing": 2}
    there.reasons["missing"] = 97
    assert judge("one", 4, there, Counter([0, 1])).unaccounted == 1


def test_handed_out_and_not_in_the_file() -> None:
    handed_out = Counter(range(4))
    assert judge("one", 4, kept([0, 1], "incomplete"), handed_out).lost == {"unlogged": 2}
    assert judge("one", 4, kept([0, 1], "complete"), handed_out).unaccounted == 2
    assert judge("one", 4, kept([0, 1], "unknown"), handed_out).lost == {"unlogged": 2}


def test_in_the_file_and_not_handed_out() -> None:
    assert judge("one", 3, kept(range(3)), Counter([0])).undelivered == 2


def test_twice_strange_and_wrong() -> None:
    twice = kept([0, 0, 1])
    twice.wrong = 1
    found = judge("one", 2, twice, Counter([0, 1, 1, 7]), wrong=2)
    assert (found.duplicates, found.unaccounted, found.wrong) == (2, 1, 3)
    assert found.failures == 6


def test_verdicts_add_up() -> None:
    total = Judged()
    for sent in (4, 6):
        total.add(judge("one", sent, kept(range(4), "incomplete", missing=2), Counter(range(4))))
    assert (total.frames, total.results, total.lost) == (10, 8, {"missing": 2})


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ("python -P -m edge up -c edge.toml", "up"),
        ("/env/bin/python /env/bin/edge serve -c edge.toml", "serve"),
        ("python -P -m edge agent serve", "agent"),
        ("python -P -m edge triton -c edge.toml", "triton"),
        ("python -P -m edge.inference.guardian 17 edge-17", "guardian"),
        ("/x/bin/tritonserver --id=edge", "tritonserver"),
        ("/x/triton_python_backend_stub /x/model.py", "model"),
        ("python -m edge watch", ""),
        ("", ""),
    ],
)
def test_roles(line: str, role: str) -> None:
    assert role_of(line.split()) == role


def measured(**changes: object) -> Measured:
    made = Measured("frames", 100.0, 70.0, 60.0, [Struck(ROWS[0].name, 0.0, 0.0, 2.0, 1)])
    made.memory = [{"serve": 60 << 20, "shm": 40 << 20} for _ in range(20)]
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_bars() -> None:
    assert report.failures(measured()) == []
    assert report.failures(measured(judged=Judged(unaccounted=1)))
    assert report.failures(measured(judged=Judged(duplicates=1)))
    assert report.failures(measured(struck=[Struck(ROWS[0].name, 0.0, 0.0, 11.0, 1)]))
    assert report.failures(measured(struck=[Struck(ROWS[0].name, 0.0, 0.0, None, 1, "waited")]))
    assert report.failures(measured(broken="it did not start"))
    grown = measured()
    grown.memory[-5:] = [{"serve": 66 << 20, "shm": 40 << 20}] * 5
    assert report.failures(grown)


def test_rows_are_of_the_common_form() -> None:
    rows = {row["name"]: row for row in document("edge bench chaos", report.rows(measured()))["rows"]}
    assert rows["memory_growth_ratio"]["value"] == 1.0
    assert rows["recovery_p99_s"]["value"] == 2.0
    assert {f"recovery/{row.name}" for row in ROWS} <= rows.keys()


def test_pictures_differ_and_say_which_they_are() -> None:
    shown = pictures(None, 5)
    assert len(set(shown.plain.checksums)) == 5
    assert shown.plain.checksum(7) == shown.plain.checksums[2]
    assert "simulated" in shown.origin
    assert shown.large.images[0].sum() > shown.plain.images[0].sum()


def test_zmtp_bytes() -> None:
    assert len(zmtp.greeting()) == 64
    assert zmtp.message(b"a", b"bc") == b"\x01\x01a\x00\x02bc"
    assert zmtp.frame(b"", length=2**62)[:2] == b"\x02\x40"
    assert zmtp.ready(b"SUB").startswith(b"\x04")
