"""`edge bench` as a user runs it, at a small part of its length. What it measures depends on the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge.bench.activity import ACTIVITIES
from edge.bench.rows import by_name
from edge.demo.map import EXPOSURE

pytestmark = pytest.mark.usefixtures("triton")

PAUSES = 4


def bench(folder: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], dict]:
    numbers = folder / "numbers.json"
    command = [sys.executable, "-m", "edge", "bench", "pause", "--pauses", str(PAUSES), "--output", str(folder)]
    line = [*command, "--json", str(numbers), *options]
    done = subprocess.run(line, capture_output=True, text=True, timeout=180, check=False)
    return done, by_name(json.loads(numbers.read_text()))


def test_pauses_cost_no_point_and_double_none(tmp_path):
    done, numbers = bench(tmp_path, "--limit-ms", "30000")
    assert done.returncode == 0, done.stderr
    values = {name: row["value"] for name, row in numbers.items()}
    each = numbers["each"]["detail"]
    assert values["pauses"] == len(each) == numbers["pause/all"]["detail"]["count"] == PAUSES
    assert values["over_limit"] == values["problems"] == 0
    assert {one["doing"] for one in each} <= set(ACTIVITIES)
    assert values["points"] == values["observations"] >= 12
    assert values["images"] >= EXPOSURE.frames * values["points"]
    assert values["ledger_complete"] is True
    assert f"all {PAUSES} pauses" in done.stdout
    assert "load average" in done.stdout
    assert "Pausing..." not in done.stdout
    (documents,) = tmp_path.glob("pause/*/run-0.jsonl")
    lines = [json.loads(line) for line in documents.read_text().splitlines()]
    assert (lines[0]["name"], lines[-1]["name"]) == ("start", "stop")
    assert lines[-1]["doc"]["exit_status"] == "success"


def test_a_pause_over_the_limit_is_a_failure(tmp_path):
    done, numbers = bench(tmp_path, "--limit-ms", "0")
    assert done.returncode == 1
    assert numbers["over_limit"]["value"] == PAUSES
    worst = numbers["worst"]["detail"]
    assert f"the worst took {worst['ms']:.1f} ms" in done.stderr
    assert worst["doing"] in done.stderr
    assert "Traceback" not in done.stderr
