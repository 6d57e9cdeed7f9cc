"""Result files of the real `edge serve`: whole after a normal series, right after a kill, one file over a restart."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from edge.demo.children import ChildError, data_plane
from edge.models.identity import checksum
from edge.results import builder
from edge.results.builder import Builder
from streams.simulation.simulator import Faults
from streams.sockets import Context, Socket, context, push
from tests.system.serving import CONFIG, Station, alive, descendants, image, wait_until
from tests.unit.results.notices import ended, result, started, write_log

pytestmark = pytest.mark.usefixtures("triton")

RAW = "../raw/series_{series_id}_master.h5"


@contextmanager
def keeping(ctx: Context, detector: Socket, address: str, tmp_path: Path, routes: str = "") -> Iterator[Station]:
    """A running `edge serve` that keeps result files in `tmp_path`/results; `routes` is TOML of more routes."""
    config = CONFIG.format(protocol="stream-v2", address=address, memory_mib=4) + routes
    config = config.replace("[results]\n", f"[results]\nfolder = '{tmp_path}/results'\nraw_frames = '{RAW}'\n")
    with data_plane(config, tmp_path) as addresses:
        at = Station(ctx, detector, "stream-v2", dict(addresses))
        try:
            yield at
        finally:
            at.results.close()


@contextmanager
def detecting() -> Iterator[tuple[Context, Socket, str]]:
    with context() as ctx:
        detector = push(ctx)
        yield ctx, detector, detector.bind("tcp://127.0.0.1:*")


def edge_results(*args: object) -> tuple[int, list[dict]]:
    """Exit status of `edge results --json`, and what it printed."""
    command = [sys.executable, "-m", "edge", "results", "--json", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def the_only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def check_rows(file: Path, images: int, wanted: set[int] | None = None) -> set[int]:
    """Every row of a file is that image's own checksum; the ids that have one, all of `wanted` among them."""
    with h5py.File(file) as built:
        data = built["entry/check/image"]
        assert data["image_id"][:].tolist() == list(range(images))
        there = set(np.flatnonzero(data["status"][:]).tolist())
        for image_id in range(images):
            own = checksum(image(image_id)).tolist() if image_id in there else [0, 0]
            assert data["checksum"][image_id].tolist() == own
            where = data["position_row"][image_id], data["position_col"][image_id]
            expected = (2.0 * image_id, 2.0 * image_id + 1) if image_id in there else (np.nan, np.nan)
            np.testing.assert_array_equal(where, expected)
    assert wanted is None or wanted == there
    return there


def test_a_series_becomes_a_file_with_its_raw_frames(tmp_path):
    raw, results = tmp_path / "raw", tmp_path / "results"
    raw.mkdir()
    with detecting() as (ctx, detector, address), keeping(ctx, detector, address, tmp_path) as at:
        at.send(at.simulation(50))
        at.collect()
        wait_until(lambda: bool(list(results.glob("*.h5"))), "the result file")
        wait_until(lambda: not list(results.glob("*.log")), "the removal of its log")
        file = the_only(results, "*.h5")
        check_rows(file, 50, set(range(50)))
        (code, [shown]) = edge_results(file)
        assert (code, shown["verdict"], shown["served_verdict"]) == (0, "complete", "complete")
        assert (shown["stored"], shown["images"], shown["route"], shown["model"]) == (50, 50, "check", "identity")
        assert not shown["raw"]["resolves"]

        with h5py.File(raw / "series_1_data_000001.h5", "w") as data:
            data["entry/data/data"] = np.stack([image(image_id) for image_id in range(50)])
        with h5py.File(raw / "series_1_master.h5", "w") as master:
            master["entry/data/data_000001"] = h5py.ExternalLink("series_1_data_000001.h5", "/entry/data/data")
        assert edge_results(file)[1][0]["raw"] == {
            "file": "../raw/series_1_master.h5",
            "path": "/entry/data",
            "resolves": True,
            "data_files": 1,
            "data_files_absent": 0,
        }
        with h5py.File(file) as built:  # the raw frame of a row is the frame that the row's result is of
            frame = built["entry/instrument/detector/raw/data_000001"][17]
            assert checksum(frame).tolist() == built["entry/check/image/checksum"][17].tolist()

        # What the detector lost is a hole in its place, and the log stays.
        at.send(at.simulation(20, number=2, faults=Faults(lost=frozenset({0, 3, 4}))))
        at.collect()
        wait_until(lambda: bool(list(results.glob("*-series-2-*.h5"))), "the second file")
        second = the_only(results, "*-series-2-*.h5")
        check_rows(second, 20, set(range(20)) - {0, 3, 4})
        code, [shown] = edge_results(second)
        assert (code, shown["verdict"]) == (3, "incomplete")
        assert shown["channels"][0]["holes"] == [[0, 1], [3, 5]]
        assert second.with_suffix(".log").exists()


def test_channels_and_routes_keep_to_their_own(tmp_path):
    results = tmp_path / "results"
    one = '[[route]]\nname = "one"\nmodel = "identity"\nchannels = ["high"]\npixel_bits = [16]\n'
    with detecting() as (ctx, detector, address), keeping(ctx, detector, address, tmp_path, one) as at:
        at.send(at.simulation(25, channels=("low", "high"), faults=Faults(lost=frozenset({24}))))
        wait_until(lambda: len(list(results.glob("*.h5"))) == 2, "the files of both routes")
    for route, channels in (("check", ["low", "high"]), ("one", ["high"])):
        with h5py.File(the_only(results, f"*-{route}-*.h5")) as built:
            data = {
                group.attrs["channel"]: group for group in built[f"entry/{route}"].values() if "signal" in group.attrs
            }
            assert set(data) == set(channels)
            for group in data.values():  # the last image is missing, and has its row all the same
                assert group["status"][:].tolist() == [1] * 24 + [0]


def kill(pid: int) -> None:
    """End `edge serve` as a power cut would, and wait for what it leaves behind to end by itself."""
    below = descendants(pid)
    os.killpg(pid, signal.SIGKILL)  # Triton too; the process that builds files sees its input close
    wait_until(lambda: not any(map(alive, below)), "the end of all that edge serve had started")


def publish_some(at: Station, count: int, number: int = 1) -> list:
    """Send the first `count` images of a series of 120 and wait for their results; the messages that remain."""
    messages = list(at.simulation(120, number=number).messages())
    for message in messages[: count + 1]:  # the first one announces the series
        assert at.detector.send(message.parts, 5000)
    seen: set[int] = set()
    while len(seen) < count:
        received = at.results.receive(10)
        assert received is not None, f"only {len(seen)} results came"
        seen |= {received[0].image_id} if hasattr(received[0], "image_id") else set()
    return messages[count + 1 :]


def test_what_was_logged_survives_a_kill_and_a_torn_write(tmp_path):
    results = tmp_path / "results"
    with detecting() as (ctx, detector, address), keeping(ctx, detector, address, tmp_path) as at:
        at.send(at.simulation(3))
        at.collect()
        wait_until(lambda: not list(results.glob("*.log")), "a file, and so a process that builds them")
        publish_some(at, 40, number=2)
        wait_until(lambda: edge_results(the_only(results, "*.log"))[1][0]["stored"] == 40, "the last record")
        kill(at.addresses["pid"])
    log = the_only(results, "*.log")
    whole = log.read_bytes()
    for cut in (0, 1, 300):
        log.write_bytes(whole[: len(whole) - cut])
        code, [shown] = edge_results("--build", log)
        assert (code, shown["verdict"], shown["served_verdict"]) == (3, "unknown", "")
        there = check_rows(log.with_suffix(".h5"), 120)
        assert len(there) == shown["stored"]
        assert there <= set(range(40))
        assert len(there) == 40 - (cut > 0)  # a record of this model has more than 300 bytes
        assert (shown["torn_bytes"] > 0) is (cut > 0)


@pytest.mark.parametrize("ending", ["killed", "stopped"])
def test_a_series_over_a_restart_is_one_file(tmp_path, ending):
    results = tmp_path / "results"
    with detecting() as (ctx, detector, address):
        with keeping(ctx, detector, address, tmp_path) as at:
            rest = publish_some(at, 60)
            if ending == "killed":
                wait_until(lambda: edge_results(the_only(results, "*.log"))[1][0]["stored"] == 60, "the last record")
                kill(at.addresses["pid"])
        with keeping(ctx, detector, address, tmp_path) as at:
            for message in rest:
                assert detector.send(message.parts, 5000)
            at.collect()
            wait_until(lambda: not list(results.glob("*.log")), "the removal of the log of a complete file")
    code, [shown] = edge_results(the_only(results, "*.h5"))
    check_rows(the_only(results, "*.h5"), 120, set(range(120)))
    assert (code, shown["verdict"], shown["served_verdict"], shown["starts"]) == (0, "complete", "incomplete", 2)


def test_a_stop_waits_for_the_file(tmp_path):
    with detecting() as (ctx, detector, address):
        with keeping(ctx, detector, address, tmp_path) as at:
            at.send(at.simulation(30))
            at.collect()
        assert not descendants(at.addresses["pid"])
    check_rows(the_only(tmp_path / "results", "*.h5"), 30, set(range(30)))


def test_a_lost_builder_is_started_anew(tmp_path):
    made = Builder()
    made.start()
    for name in ("first", "second"):
        made.put(write_log(tmp_path / f"{name}.log", started(1), result(0), ended(1)))
        wait_until((tmp_path / f"{name}.h5").exists, f"the {name} file")
        wait_until(lambda: not list(tmp_path.glob("*.log")), "the removal of its log")
        for pid in builders(os.getpid()):
            os.kill(pid, signal.SIGKILL)
    made.put(write_log(tmp_path / "bad.log", b""))
    made.put(write_log(tmp_path / "last.log", started(1), result(0), ended(2)))
    made.close(30)
    assert builders(os.getpid()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"first.h5", "second.h5", "last.h5", "last.log", "bad.log"}


def test_a_builder_that_takes_too_long_is_ended_and_its_logs_stay(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(builder, "COMMAND", (sys.executable, "-c", "import time; time.sleep(600)"))
    others = descendants(os.getpid()).keys()  # of other tests: multiprocessing keeps one
    made = Builder()
    made.start()
    logs = [write_log(tmp_path / f"{name}.log", started(1), result(0), ended(1)) for name in ("s", "t")]
    for log in logs:
        made.put(log)
    wait_until(lambda: bool(descendants(os.getpid()).keys() - others), "the start of the child")
    made.close(0)
    assert descendants(os.getpid()).keys() == others
    for log in logs:
        assert log.exists()
        assert f"edge results --build {log}" in caplog.text


def builders(pid: int) -> list[int]:
    return [
        below for below in descendants(pid) if b"edge.results.worker" in Path(f"/proc/{below}/cmdline").read_bytes()
    ]


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(tmp_path):
    (tmp_path / "results").touch()
    with (
        detecting() as (ctx, detector, address),
        pytest.raises(ChildError, match=r"cannot write result files.*results\.folder"),
        keeping(ctx, detector, address, tmp_path),
    ):
        pytest.fail("it started")
