"""`edge demo ptycho` as a user runs it."""

import json
import os
import signal
import socket
from pathlib import Path

import pytest
from PIL import Image

from tests.data import measured_data
from tests.system.demos import Demo, listening
from tests.system.serving import wait_until

pytestmark = pytest.mark.usefixtures("triton")

STAR = "siemens_star/siemens-star-small.npz.bz2"
DEMOS = int(os.environ.get("EDGE_TEST_DEMOS", "3"))
"""Demos in a row; the middle one is killed."""


def test_a_simulated_scan_becomes_a_picture(tmp_path):
    code, out, err = Demo(tmp_path, "--frames", "80", "--rate", "200", "--protocol", "simplon-v1").finish()
    assert code == 0, err
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    zero = {"missing": 0, "failed": 0, "unwanted": 0, "dropped": 0}
    all_of_them = dict.fromkeys(("sent", "expected", "received", "inferred", "published"), 80)
    assert numbers["frames"] == all_of_them | zero
    assert numbers["ledger_complete"] is True
    assert 0 < numbers["latency_ms"]["p50"] <= numbers["latency_ms"]["p99"]
    assert numbers["phase_mae_rad"] < 0.7 * numbers["phase_mae_constant_rad"]
    assert "complete" in out
    with Image.open(tmp_path / "ptycho.png") as picture:
        assert min(picture.size) > 500
        assert len(picture.convert("L").getcolors()) > 100


def test_the_measured_star_with_triton_killed_mid_scan(tmp_path):
    """Frames that share no pixel with the frames the probe came from are reconstructed to 0.13 rad."""
    demo = Demo(tmp_path, "--data", str(measured_data(STAR)), "--rate", "100")
    server = demo.server()
    demo.frames_flow()
    wait_until(lambda: demo.published() > 100, "the hundredth result")
    os.kill(server, signal.SIGKILL)
    code, _, err = demo.finish()
    assert code == 0, err
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["frames"]["published"] == numbers["frames"]["expected"] == 516
    assert numbers["ledger_complete"] is True
    assert numbers["judged_frames"] == 114
    assert numbers["phase_mae_constant_rad"] > 0.3
    assert numbers["phase_mae_rad"] <= 0.13
    assert "inference server lost" in (tmp_path / "serve.log").read_text()
    demo.nothing_is_left()


def test_demos_in_a_row_leave_nothing_behind(tmp_path):
    before = listening()
    for number in range(DEMOS):
        folder = tmp_path / str(number)
        folder.mkdir()
        demo = Demo(folder, "--frames", "30", "--rate", "100")
        demo.server()
        demo.frames_flow()
        if number == DEMOS // 2:
            demo.process.kill()
        code, _, err = demo.finish()
        assert code == (-signal.SIGKILL if number == DEMOS // 2 else 0), err
        demo.nothing_is_left()
    wait_until(lambda: listening() <= before, "the release of every port")


def test_ctrl_c_stops_everything(tmp_path):
    demo = Demo(tmp_path, "--rate", "5")
    demo.server()
    demo.frames_flow()
    os.killpg(demo.process.pid, signal.SIGINT)
    code, _, err = demo.finish()
    assert code == 1
    assert "Traceback" not in err
    demo.nothing_is_left()


@pytest.mark.parametrize("content", [b"no scan at all", None, b""])
def test_a_file_that_is_no_scan_is_one_clear_line(content, tmp_path):
    path = tmp_path / "scan.npz"
    if content is not None:
        path.write_bytes(content)
    refused(path, tmp_path, path.name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ptycho_cxi/PETRAIII_P25_Near_Field_Ptycho.cxi", "100 x 100"),
        ("powder_ceria/ceria_pilatus2m.hdf5", "1679 x 1475"),
        ("siemens_star/reference_rpie_3modes.npz", "frames"),
    ],
)
def test_a_scan_for_another_model_says_what_this_one_takes(name, said, tmp_path):
    refused(measured_data(name), tmp_path, said)


def refused(path: Path, folder: Path, said: str) -> None:
    code, _, err = Demo(folder, "--data", str(path)).finish()
    assert code == 1
    assert "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert said in errors[0]


def test_a_server_that_is_not_there_is_one_clear_line(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code, _, err = Demo(tmp_path, "--frames", "2", "--triton-url", f"127.0.0.1:{port}").finish()
    assert code == 1
    assert f"127.0.0.1:{port}" in err
    assert "Traceback" not in err
