"""`edge demo map` as a user runs it: the whole loop, three strategies."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - the detector's files are compressed with bitshuffle
import numpy as np
import pytest
from PIL import Image

from tests.system.demos import Demo
from tests.system.serving import wait_until

pytestmark = pytest.mark.usefixtures("triton")

POINTS = 24
FRAMES_A_POINT = 2


def primary_events(documents: Path) -> list[dict]:
    """Data of the definitive events of a run, in order."""
    streams, events = {}, {}
    for line in documents.read_text().splitlines():
        record = json.loads(line)
        name, document = record["name"], record["doc"]
        if name == "descriptor":
            streams[document["uid"]] = document["name"]
        elif name == "event" and streams[document["descriptor"]] == "primary":
            events[document["seq_num"]] = document["data"]
    return [events[number] for number in sorted(events)]


def test_a_small_map_by_three_strategies(tmp_path):
    demo = Demo(tmp_path, "--points", str(POINTS), "--seed", "1", "--protocol", "simplon-v1", name="map")
    code, out, err = demo.finish()
    assert code == 0, err
    numbers = json.loads(demo.json.read_text())
    strategies = numbers["strategies"]
    assert list(strategies) == list(numbers["nrmse"]) == ["adaptive", "raster", "sobol"]
    assert numbers["plan"]["points"] == POINTS and numbers["plan"]["exit_status"] == "success"
    points = sum(one["plan"]["points"] for one in strategies.values())
    assert numbers["frames"]["expected"] == numbers["frames"]["published"] == FRAMES_A_POINT * points
    assert numbers["ledger_complete"] is True
    assert all(0 < error < 0.35 for error in numbers["nrmse"].values())  # a constant guess is at about 0.25 to 0.3
    assert numbers["nrmse"]["adaptive"] < 0.2
    assert 0 < numbers["suggest_ms"]["p50"] <= numbers["suggest_ms"]["p99"]
    assert 0 < numbers["latency_ms"]["p50"] <= numbers["latency_ms"]["p99"]
    rivals = [strategies[name]["plan"]["beam_time_s"] for name in ("raster", "sobol")]
    assert all(time_s <= 1.25 * numbers["plan"]["beam_time_s"] for time_s in rivals)
    assert "success" in out and "complete" in out
    with Image.open(tmp_path / "map.png") as picture:
        assert min(picture.size) > 500
        assert len(picture.convert("L").getcolors()) > 100
    demo.nothing_is_left()
    files_hold_what_was_measured(next((tmp_path / "map").iterdir()))


def files_hold_what_was_measured(folder: Path) -> None:
    """The result file of the adaptive run agrees with its documents, and its raw frames can be opened."""
    results = sorted((folder / "results").glob("*.h5"))
    assert len(results) == 3
    shown = subprocess.run([sys.executable, "-m", "edge", "results", *results], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    events = primary_events(folder / "adaptive.jsonl")
    assert len(events) == POINTS
    with h5py.File(results[0]) as file:
        intensity, count = (file["entry/peaks/image"][name][:] for name in ("intensity", "count"))
        for event in events:
            rows = slice(event["detector_first_image"], event["detector_first_image"] + FRAMES_A_POINT)
            assert intensity[rows].sum() == pytest.approx(event["detector_intensity"], rel=1e-4, abs=1e-2)
            assert count[rows].mean() == pytest.approx(event["detector_peaks"])
        raw = file["entry/instrument/detector/raw/data_000001"]
        assert raw.shape[0] == FRAMES_A_POINT * POINTS
        assert np.count_nonzero(raw[0])


def test_triton_killed_in_the_middle_of_a_map_costs_no_point(tmp_path):
    demo = Demo(tmp_path, "--points", str(POINTS), name="map")
    server = demo.server()
    demo.frames_flow()
    wait_until(lambda: demo.published() > 5 * FRAMES_A_POINT, "the fifth point")
    os.kill(server, signal.SIGKILL)
    code, _, err = demo.finish()
    assert code == 0, err
    numbers = json.loads(demo.json.read_text())
    assert numbers["plan"] | {"beam_time_s": 0} == {"points": POINTS, "exit_status": "success", "beam_time_s": 0}
    assert numbers["ledger_complete"] is True
    assert "inference server lost" in demo.log()
    demo.nothing_is_left()


def test_ctrl_c_ends_the_run_in_order(tmp_path):
    demo = Demo(tmp_path, "--points", "200", name="map")
    demo.server()
    demo.frames_flow()
    wait_until(lambda: demo.published() > 3 * FRAMES_A_POINT, "the third point")
    demo.process.send_signal(signal.SIGINT)
    code, _, err = demo.finish()
    assert code == 1, err
    assert "Aborted!" in err
    stop = json.loads(next(tmp_path.rglob("adaptive.jsonl")).read_text().splitlines()[-1])
    assert (stop["name"], stop["doc"]["exit_status"]) == ("stop", "abort")
    assert "on peaks: complete" in demo.log()  # the account knows how many images were triggered
    demo.nothing_is_left()
