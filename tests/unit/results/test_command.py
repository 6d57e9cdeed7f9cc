import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from edge.commands.results import results
from edge.results.build import build
from streams.ledger.reconciling import reconcile
from tests.unit.results.notices import FACTS, ended, packed, result, started, write_log


def run(*args: str | Path):
    return CliRunner().invoke(results, [str(arg) for arg in args], terminal_width=200)


@pytest.fixture
def complete(tmp_path) -> Path:
    positions = [{"x": at / 4, "y": 2.0} for at in range(4)]
    rows = [result(at, position=where) for at, where in enumerate(positions)]
    return write_log(tmp_path / "good.log", started(4), *rows, ended(4))


@pytest.fixture
def incomplete(tmp_path) -> Path:
    rows = [result(0), result(2), result(2), result(5)]
    return write_log(tmp_path / "holes.log", started(8), *rows, ended(3, "incomplete", arrivals={"images": 8}))


def test_a_complete_file(complete):
    shown = run("--build", complete)
    assert shown.exit_code == 0, shown.output
    assert "complete" in shown.output
    assert "4 results for 4 images" in shown.output
    assert run(complete.with_suffix(".h5")).output == shown.output


def test_a_file_with_holes_says_where(incomplete):
    for shown in (run(incomplete), run("--build", incomplete)):
        assert shown.exit_code == 3
        assert "3 results for 8 images; none for images 1, 3 to 4, 6 to 7" in " ".join(shown.output.split())


def test_a_file_without_results_says_why(tmp_path):
    account = {"published": 0, "failed": {"conditioning": 3}, "dropped": {"shutdown": 1}, "unwanted": 2}
    log = write_log(tmp_path / "none.log", started(6), ended(0, "incomplete", account=account))
    shown = " ".join(run("--build", log).output.split())
    assert "without result 1 dropped (shutdown), 3 failed (conditioning), 2 not for this route" in shown
    assert "route peaks time" in shown  # no result has told the model


def test_what_the_detector_dropped_is_held_against_what_is_missing(tmp_path):
    def said(name: str, absent: int, dropped: int) -> str:
        arrivals = {"expected": 4, "received": 4 - absent, "missing": absent}
        facts = {"detector_dropped": dropped, "reconciled": reconcile(absent, dropped), "arrivals": arrivals}
        facts |= {"latency_ms": {"max": 3.5, "p99": 2.5, "p50": 1.5}}
        last = ended(4 - absent, "incomplete" if absent else "complete", **facts)
        log = write_log(tmp_path / name, started(4), *(result(at) for at in range(4 - absent)), last)
        return " ".join(run("--build", log).output.split())

    lossy = said("a.log", 3, 1)
    assert (
        "dropped 1 images itself; of the missing ones 1 are among them, 2 were lost on the way or never taken" in lossy
    )
    assert "p50 1.5 ms, p99 2.5 ms, max 3.5 ms" in lossy
    whole = said("b.log", 0, 0)
    assert "dropped 0 images itself" in whole and "lost" not in whole


def test_json_of_a_file_and_of_its_log_agree(incomplete):
    build(incomplete)
    from_log, from_file = (
        json.loads(run("--json", path).output) for path in (incomplete, incomplete.with_suffix(".h5"))
    )
    differs = {name for name in from_log if from_log[name] != from_file[name]}
    assert differs == {"file", "kind", "datasets"}
    (dataset,) = from_file["datasets"]
    assert (dataset["name"], dataset["units"], dataset["shape"]) == ("a0", "counts", [8, 2])
    assert (dataset["low"], dataset["high"]) == (-1.5, 5.0)
    assert dataset["mean"] == pytest.approx((0 + 2 + 5 - 3 * 1.5) / 6)
    quick = json.loads(run("--json", "--quick", incomplete.with_suffix(".h5")).output)
    assert quick["datasets"][0]["mean"] is None


def test_a_nan_takes_no_part_in_statistics(tmp_path):
    array = np.array([np.nan, 3.0])
    log = write_log(tmp_path / "s.log", started(1), packed(result(0, array), [array]), ended(1))
    (dataset,) = json.loads(run("--json", "--build", log).output)["datasets"]
    assert (dataset["low"], dataset["mean"], dataset["high"]) == (3.0, 3.0, 3.0)


def test_the_worst_file_decides(complete, incomplete, tmp_path):
    assert run(complete, incomplete).exit_code == 3
    assert run(complete, tmp_path / "none.h5", incomplete).exit_code == 1


def damaged(path: Path, file: Path) -> None:
    raw = bytearray(file.read_bytes())
    at = raw.find(np.array([0, -1.5, 1, -1.5], np.float32).tobytes())
    assert at < 0, "the values are compressed"
    with h5py.File(file) as built:
        dataset = built["entry/peaks/image/a0"]
        chunk = dataset.id.get_chunk_info(0)
    raw[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda path, file: path.write_bytes(b"no HDF5"), "cannot read"),
        (lambda path, file: path.write_bytes(file.read_bytes()[:3000]), "truncated"),
        (lambda path, file: h5py.File(path, "w").close(), "no result file of edge serve"),
        (damaged, "cannot read"),
    ],
)
def test_unreadable_files_say_why(tmp_path, complete, spoil, text):
    path = tmp_path / "spoilt.h5"
    spoil(path, build(complete).file)
    shown = run(path)
    assert shown.exit_code == 1
    assert text in shown.output and str(path) in shown.output


def edit(change):
    def spoil(path: Path, file: Path) -> None:
        path.write_bytes(file.read_bytes())
        with h5py.File(path, "r+") as built:
            change(built)

    return spoil


def reshape(file: h5py.File) -> None:
    del file["entry/account"]
    file["entry/account"] = 3


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.attrs.modify("edge_results", 2),
        lambda file: file.attrs.create("edge_results", "x"),
        lambda file: file.move("entry", "exit"),
        reshape,
        lambda file: file["entry"].attrs.__delitem__("default"),
        lambda file: file["entry/peaks/image"].__delitem__("status"),
        lambda file: file["entry/peaks/image"].attrs.__delitem__("channel"),
        lambda file: file["entry/account/file"].__delitem__("stored"),
    ],
)
def test_a_file_of_another_layout_is_one_line(tmp_path, complete, change):
    path = tmp_path / "odd.h5"
    edit(change)(path, build(complete).file)
    shown = run(path)
    assert shown.exit_code == 1
    assert shown.output.startswith("Error: ") and shown.output.count("\n") == 1


def test_raw_links_are_tried(tmp_path):
    facts = FACTS | {"raw_frames": "raw/m.h5::/entry/data"}
    log = write_log(tmp_path / "s.log", started(1), result(0), ended(1), facts=facts)
    file = build(log).file
    assert "m.h5 is not there" in run(file).output
    (tmp_path / "raw").mkdir()
    with h5py.File(tmp_path / "raw" / "m.h5", "w") as master:
        master["entry/data/data_000001"] = h5py.ExternalLink("d.h5", "/entry/data/data")
    assert "1 of 1 data files are not there" in run(file).output
    with h5py.File(tmp_path / "raw" / "d.h5", "w") as data:
        data["entry/data/data"] = np.arange(6, dtype=np.uint16).reshape(1, 2, 3)
    assert "all there" in run(file).output
    with h5py.File(file) as built:
        assert built["entry/instrument/detector/raw/data_000001"][0, 1, 2] == 5
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("raw", "s.h5"):
        (tmp_path / name).rename(moved / name)
    assert "all there" in run(moved / "s.h5").output


def test_a_picture_over_the_scan_or_over_the_ids(complete, incomplete, tmp_path):
    for log in (complete, incomplete):
        assert run("--build", log, "--plot", tmp_path / "p.png").exit_code in (0, 3)
        assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert run("--plot", tmp_path / "p.png", complete).exit_code == 1  # a log has no picture
    assert run("--plot", tmp_path / "p.unknown", complete.with_suffix(".h5")).exit_code == 1
    assert run("--plot", tmp_path / "p.png", complete, incomplete).exit_code == 2
    empty = write_log(tmp_path / "e.log", started(2), ended(0, "incomplete"))
    assert "no results to show" in run("--build", "--plot", tmp_path / "p.png", empty).output


def test_a_restart_within_the_series_is_told(tmp_path):
    rows = [started(2), result(0), result(1, origin="b"), ended(1, "incomplete", origin="b", arrivals={})]
    shown = run("--build", write_log(tmp_path / "s.log", *rows))
    assert shown.exit_code == 0
    assert "started 2 times" in shown.output


def test_words_from_the_wire_are_shown_as_they_are(tmp_path):
    log = write_log(tmp_path / "s.log", started(1, series_uid="[bold]x[/nonsense]"))
    assert "[bold]x[/nonsense]" in run(log).output


def test_results_outside_of_the_models_range_are_told(tmp_path):
    energy, counts = "energy 12 keV, trained at 8.8 keV", "7 counts a frame, trained at 100"
    rows = [result(0), result(1, untrained=(energy,)), result(2, untrained=(energy, counts)), result(2)]
    log = write_log(tmp_path / "far.log", started(3), *rows, ended(3, untrained=(energy, counts)))
    for shown in (run(log), run("--build", log), run(log.with_suffix(".h5"))):
        assert f"untrained 2 results: {energy}; {counts}" in " ".join(shown.output.split())
    told = json.loads(run("--json", log.with_suffix(".h5")).output)["untrained"]
    assert told == {"results": 2, "reasons": [energy, counts]}
    with h5py.File(log.with_suffix(".h5")) as file:
        assert list(file["entry/peaks"].attrs["untrained"]) == [energy, counts]


def test_nothing_is_said_of_a_range_that_was_kept(complete):
    assert "untrained" not in run("--build", complete).output
