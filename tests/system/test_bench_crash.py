"""`edge bench crash` with one kill: the real thing, and proof that its judge sees what is wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.bench.crashactors import image
from edge.bench.crashcheck import Delivered, frames_of, in_files, judge
from edge.bench.rows import by_name
from edge.models.identity import checksum
from streams.recording.segments import segments


@pytest.fixture(scope="module")
def benched(triton: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    return bench(tmp_path_factory.mktemp("bench"))


def bench(folder: Path, *more: str) -> Path:
    """Run it with one kill; its folder."""
    numbers = folder / "crash.json"
    line = [sys.executable, "-W", "error", "-m", "edge", "bench", "crash", "--kills", "1", "--output", str(folder)]
    done = subprocess.run([*line, "--json", str(numbers), *more], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = by_name(json.loads(numbers.read_text()))
    assert (rows["kills"]["value"], rows["unaccounted"]["value"], rows["duplicates"]["value"]) == (1, 0, 0)
    assert (rows["wrong"]["value"], rows["strange"]["value"]) == (0, 0)
    assert rows["frames"]["value"] > 0
    assert "verdict: 1 kills" in done.stdout
    (run,) = (folder / "crash").iterdir()
    return run


def handed_out(capture: Path) -> Delivered:
    """What a subscriber should have been handed."""
    found = Delivered()
    for key, series_id in frames_of(capture).items():
        found.add(key, tuple(map(int, checksum(image(series_id, key[1])))))
    return found


def test_one_result_each(benched: Path) -> None:
    capture = benched / "captures" / "det"
    found = judge(capture, benched / "results", handed_out(capture), image)
    assert (found.failures, found.examples) == (0, [])
    assert found.frames == len(frames_of(capture)) == in_files(benched / "results").times.total()


def test_with_a_triton_of_its_own(triton: None, tmp_path: Path) -> None:
    bench(tmp_path, "--embedded", "--seed", "3")


def test_what_is_lost_doubled_or_changed_is_seen(benched: Path, tmp_path: Path) -> None:
    capture = benched / "captures" / "det"
    files = tmp_path / "results"
    shutil.copytree(benched / "results", files)
    one = sorted(files.glob("*.h5"))[0]
    held = in_files(files).times
    one.rename(tmp_path / one.name)
    for log in files.glob(f"{one.stem}.log"):
        log.unlink()
    gone = held.total() - in_files(files).times.total()
    delivered = handed_out(capture)
    first, second, *_ = sorted(delivered.times)
    delivered.times[first] += 1
    delivered.said[second] = (0, 0)
    delivered.add(("nobody's", 0), (1, 2))
    found = judge(capture, files, delivered, image)
    assert (found.unaccounted_files, found.unaccounted_subscriber) == (gone, 0)
    assert (found.duplicates_subscriber, found.wrong, found.strange) == (1, 1, 1)
    assert found.failures == gone + 3
    assert len(found.examples) == 4
    shutil.copy(tmp_path / one.name, files / one.name)
    shutil.copy(tmp_path / one.name, files / f"again-{one.name}")
    assert judge(capture, files, delivered, image).duplicates_files == gone > 0


def test_a_damaged_capture_is_seen(benched: Path, tmp_path: Path) -> None:
    shutil.copytree(benched / "captures", tmp_path / "captures")
    path = next(iter(segments(tmp_path / "captures" / "det").values()))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    found = judge(tmp_path / "captures" / "det", benched / "results", Delivered(), image)
    assert found.damaged_bytes > 0
    assert found.failures > found.unaccounted
