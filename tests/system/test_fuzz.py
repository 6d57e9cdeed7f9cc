"""`edge bench fuzz`: a small part of the full run with the same code, and readers that are broken on purpose."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from edge.bench import fuzz
from edge.bench.fuzz import Options, run, save
from edge.bench.rows import by_name

BROKEN = "tests.system.broken_readers:targets"


def broken(name: str, hang_s: float = 60.0, inputs: int = 400) -> fuzz.Outcome:
    return run(Options([name], inputs, 0, 1, hang_s, BROKEN))[name]


def test_nothing_that_reads_bytes_of_strangers_can_be_broken(tmp_path):
    numbers = tmp_path / "rows.json"
    line = [sys.executable, "-m", "edge", "bench", "fuzz", "--inputs", "5000", "--json", str(numbers)]
    done = subprocess.run(
        [*line, "--output", str(tmp_path), "--hang-s", "30"], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = by_name(json.loads(numbers.read_text()))
    names = fuzz.names()
    assert rows["inputs"]["value"] == 5000 * len(names)
    assert [rows[name]["value"] for name in ("crashes", "hangs", "over_allocations")] == [0, 0, 0]
    for name in names:
        seen = rows[f"{name}/inputs"]
        assert seen["value"] == 5000 and seen["detail"]["accepted"] > 100, name
        assert seen["detail"]["accepted"] + sum(seen["detail"]["refused"].values()) == 5000
    assert "no crash, no hang, no over-allocation" in done.stdout
    assert not (tmp_path / "fuzz").exists()


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("raises", "crash", "KeyError: 'what is not there' in tests/system/broken_readers.py"),
        ("segfaults", "crash", "the process ended: Segmentation fault"),
        ("exits", "crash", "the process ended: exit code 3"),
        ("allocates without end", "over_allocation", "MemoryError"),
    ],
)
def test_a_broken_reader_is_found(name, kind, text):
    outcome = broken(name)
    assert outcome.inputs == 400
    assert {(one.kind, one.text[: len(text)]) for one in outcome.findings} == {(kind, text)}
    assert outcome.taken > 100
    assert outcome.taken + outcome.refused.total() + len(outcome.findings) == 400


def test_a_reader_that_never_comes_back_is_stopped():
    outcome = broken("hangs", hang_s=0.1, inputs=60)
    assert {(one.kind, one.text) for one in outcome.findings} == {("hang", "not finished after 1 s")}
    assert outcome.inputs == 60


def test_a_reader_that_works_too_long_is_found():
    outcome = broken("is slow", hang_s=0.3, inputs=60)
    assert {one.kind for one in outcome.findings} == {"hang"}
    assert all(one.text.endswith("s of processor time") for one in outcome.findings)


def test_a_reader_that_allocates_too_much_is_found_where_it_is_traced():
    outcome = broken("allocates")
    assert {one.kind for one in outcome.findings} == {"over_allocation"}
    assert outcome.most_bytes >= 64 << 20


def test_a_sound_reader_is_left_in_peace():
    outcome = broken("is sound")
    assert outcome.findings == [] and outcome.inputs == 400


def test_what_was_found_can_be_repeated(tmp_path):
    options = Options(["raises"], 300, 5, 2, 60.0, BROKEN)
    outcome = run(options)["raises"]
    again = run(Options(["raises"], 300, 5, 1, 60.0, BROKEN))["raises"]
    assert Counter(outcome.findings) == Counter(again.findings)
    saved = save(outcome.findings[0], options, tmp_path)
    assert fuzz.repeat(saved, BROKEN).startswith("crash: KeyError: 'what is not there' in ")
    kept = json.loads(saved.read_text())
    assert (kept["target"], kept["kind"], kept["seed"]) == ("raises", "crash", 5)
    *before, last = kept["messages"]
    assert len(last) == 3 and all(len(one) != 3 for one in before)


def test_a_reader_that_does_not_exist_is_named():
    line = [sys.executable, "-m", "edge", "bench", "fuzz", "--codec", "eiger"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "no reader is called eiger; there are simplon-v1, stream-v2" in done.stderr


def test_a_saved_input_is_repeated_by_the_command(tmp_path):
    line = [sys.executable, "-m", "edge", "bench", "fuzz", "--repeat"]
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps({"target": "panda", "messages": [["7b"]]}))
    done = subprocess.run([*line, str(saved)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "refused: malformed\n")
    saved.write_text("{}")
    done = subprocess.run([*line, str(saved)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and "holds no input of the fuzzer" in done.stderr
