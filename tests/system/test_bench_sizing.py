"""The commands that size a machine, at a small part of their length. What they measure depends on the machine: nothing
here looks at a time. What they count has to be right."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.bench.rows import by_name
from edge.bench.sizing import copies, rig
from edge.bench.sizing.feeder import Feeder
from edge.bench.sizing.feeding import Order
from edge.bench.sizing.figures import BARS
from edge.bench.sizing.ingest import CASES
from edge.bench.sizing.overload import SLOW
from edge.bench.sizing.wire import Case
from edge.demo.children import ChildError

MODELS = rig.Setup(routes=(rig.RouteText("identity", "identity", (8, 16)), rig.RouteText("ptycho", "ptycho")))
EXACT = {"unaccounted", "wrong", "slots_leaked", "overload_unaccounted", "copies_per_frame"}
"""Bars that hold on every machine."""

Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def announced(triton: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where one `edge triton` announces its server, which has the models of all tests here."""
    with rig.triton(MODELS, tmp_path_factory.mktemp("triton")) as file:
        yield file


def bench(folder: Path, name: str, *options: str) -> tuple[str, Rows]:
    """Run it; what it printed, and its rows. Its exit code and its last words say which bars are missed."""
    file = folder / "rows.json"
    line = [sys.executable, "-P", "-W", "error", "-m", "edge", "bench", name, "--output", str(folder)]
    done = subprocess.run([*line, "--json", str(file), *options], capture_output=True, text=True, timeout=120)
    assert file.exists(), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    rows = by_name(json.loads(file.read_text()))
    missed = {bar for bar, limit in BARS.items() if bar in rows and not limit.kept(rows[bar]["value"])}
    assert done.returncode == bool(missed), done.stderr
    assert all(f"{bar} is " in done.stderr for bar in missed)
    assert not missed & EXACT, done.stdout + done.stderr
    assert "load average" in done.stdout
    return done.stdout, rows


def value(rows: Rows, name: str) -> Any:
    return rows[name]["value"]


def test_ingest(tmp_path: Path) -> None:
    chosen = [word for name in CASES for word in ("--row", name)]
    picture = tmp_path / "one.png"
    said, rows = bench(tmp_path, "ingest", "--rounds", "1", "--scale", "0.05", "--plot", str(picture), *chosen)
    for name, case in CASES.items():
        of_ours, of_bare = value(rows, f"{name}/ours_cpu_us"), value(rows, f"{name}/bare_cpu_us")
        assert value(rows, name) == pytest.approx(of_bare / of_ours)
        images = max(10, round(0.05 * case.images))
        assert rows[name]["detail"]["frames_a_round"] == images - images // 5
    assert set(rows["ingest_bslz4"]["detail"]["decoders_cpu_us"]) == {"dectris-compression", "bitshuffle"}
    assert picture.read_bytes()[1:4] == b"PNG"
    assert "ingest_2048_v2" in said


def test_known_copies_are_counted(tmp_path: Path) -> None:
    library = copies.compiled(tmp_path)
    assert copies.known_copies(library, tmp_path, 0) == 0
    assert copies.known_copies(library, tmp_path, 5) == 10


def test_copies_of_a_frame_in_the_whole_of_edge_serve(announced: Path, tmp_path: Path) -> None:
    _, rows = bench(tmp_path, "ingest", "--row", "copies_per_frame", "--scale", "0.05", "--triton-file", str(announced))
    assert value(rows, "copies_per_frame/2048") == 1  # from its message into its slot
    for name in copies.CASES:
        assert value(rows, f"copies_per_frame/{name}") <= value(rows, "copies_per_frame") <= 1
        assert rows[f"copies_per_frame/{name}"]["detail"]["frames"] == 10


def test_pipeline(announced: Path, tmp_path: Path) -> None:
    said, rows = bench(
        tmp_path,
        "pipeline",
        "--rounds",
        "1",
        "--ptycho-rounds",
        "1",
        "--scale",
        "0.05",
        "--triton-file",
        str(announced),
    )
    assert value(rows, "pipeline_cpu_us_ratio") == pytest.approx(
        value(rows, "pipeline/serve_cpu_us") / value(rows, "pipeline/bare_cpu_us")
    )
    assert value(rows, "pipeline_ptycho_ratio") == pytest.approx(
        value(rows, "ptycho/serve_per_s") / value(rows, "ptycho/onnxruntime_per_s")
    )
    # from the first result to the last of 400; answers to requests that are in flight together overtake one another
    assert rows["pipeline_cpu_us_ratio"]["detail"]["frames_a_round"] == pytest.approx(399, abs=64)
    assert "1 rounds of ptycho" in said


def test_latency(announced: Path, tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    options = ("--rounds", "1", "--seconds", "0.5", "--plot", str(picture), "--triton-file", str(announced))
    said, rows = bench(tmp_path, "latency", *options)
    for percentile in ("p50", "p99"):
        ours, bare = (value(rows, f"latency/{side}_{percentile}") for side in ("serve", "triton"))
        assert value(rows, f"latency_{percentile}_extra_ms") == pytest.approx(ours - bare)
        assert min(ours, bare) > 0
    assert picture.read_bytes()[1:4] == b"PNG"
    assert "1 rounds of 0.5 s at 200 frames/s" in said


def test_overload(announced: Path, tmp_path: Path) -> None:
    said, rows = bench(tmp_path, "overload", "--frames", "800", "--triton-file", str(announced))
    assert value(rows, "frames") == 800
    assert value(rows, "overload_others_complete") == 1.0
    assert value(rows, "overload_unaccounted") == value(rows, "wrong") == value(rows, "slots_leaked") == 0
    dropped = rows["overload_dropped"]
    assert 0 < dropped["value"] < 800
    assert dropped["detail"]["overload"] == dropped["value"]
    assert value(rows, "overload_slow_share") == pytest.approx(1 - dropped["value"] / 800)
    assert SLOW.name in said


def test_soak(announced: Path, tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    options = ("--frames", "5000", "--shape", "32", "48", "--check-every", "7", "--plot", str(picture))
    said, rows = bench(tmp_path, "soak", *options, "--triton-file", str(announced))
    assert value(rows, "frames") == value(rows, "results") == 5000
    assert rows["wrong"]["detail"]["checked"] == 20 * 36  # 0, 7, ..., 245 of 250 images in 20 series
    assert value(rows, "lost") == value(rows, "unaccounted") == 0
    assert value(rows, "memory_growth_ratio/short_run") > 0.5
    assert "memory_growth_ratio" not in rows
    assert picture.read_bytes()[1:4] == b"PNG"
    assert "5000 frames in 20 series" in said


def test_soak_with_faults_ends_with_every_slot_free(announced: Path, tmp_path: Path) -> None:
    options = ("--frames", "2000", "--shape", "32", "48", "--faults", "--strikes", "2", "--check-every", "7")
    said, rows = bench(tmp_path, "soak", *options, "--triton-file", str(announced))
    assert value(rows, "slots_leaked") == value(rows, "unaccounted") == value(rows, "wrong") == 0
    lost = rows["lost"]["detail"]
    assert lost["failed: too_large"] == 12  # 3 images in each of 4 series
    assert lost["missing"] == 32  # each 7th message of 60 in each of 4 series
    assert lost["failed: wrong_dtype"] == 120  # half of the images of 4 series
    assert value(rows, "frames") == value(rows, "results") + value(rows, "lost")
    assert rows["strikes"]["detail"]["struck"] == ["identity_u8 unloaded", "tritonserver killed"]
    assert "too_large" in said


def test_a_sender_that_fails_ends_and_says_why() -> None:
    with Feeder() as feeder:
        feeder.order(Order(Case("stream-v2", (8, 8), images=3), address="nonsense"))
        with pytest.raises(ChildError, match=r"the sender ended: .*nonsense"):
            feeder.sent()


def test_what_cannot_start_is_told(tmp_path: Path) -> None:
    nowhere = tmp_path / "triton.json"
    nowhere.write_text("{}")
    line = [sys.executable, "-m", "edge", "bench", "soak", "--frames", "100", "--output", str(nowhere)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "choose another --output" in done.stderr
    assert "Traceback" not in done.stderr
