"""`edge demo ptycho` as a user runs it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from tests.data import measured_data
from tests.system.serving import alive, descendants, shared_memory, wait_until

pytestmark = pytest.mark.usefixtures("triton")

STAR = "siemens_star/siemens-star-small.npz.bz2"
DEMOS = int(os.environ.get("EDGE_TEST_DEMOS", "3"))
"""Demos in a row; the middle one is killed."""


class Demo:
    """One run of the command."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.json = folder / "numbers.json"
        command = [sys.executable, "-m", "edge", "demo", "ptycho", "--output", str(folder), "--json", str(self.json)]
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.family: dict[int, str] = {}

    def server(self) -> int:
        """The process id of its Triton, once it has one."""
        found: list[int] = []

        def look() -> bool:
            assert self.process.poll() is None, self.process.communicate()
            self.family |= descendants(self.process.pid)
            found[:] = [pid for pid, name in descendants(self.process.pid).items() if name == "tritonserver"]
            return bool(found)

        wait_until(look, "the start of Triton", 60)
        return found[0]

    def frames_flow(self) -> None:
        """Return when frames are being inferred."""
        log = self.folder / "serve.log"
        wait_until(lambda: log.exists() and "expecting" in log.read_text(), "the start of the series", 90)
        self.family |= descendants(self.process.pid)

    def published(self) -> float:
        """Results published so far, as /metrics tells."""
        address = re.search(r"metrics (http://\S+)", (self.folder / "serve.log").read_text())
        assert address is not None
        text = urllib.request.urlopen(address[1], timeout=5).read().decode()
        found = re.search(r'edge_frames_settled_total{outcome="published".*} (\S+)', text)
        return float(found[1]) if found else 0.0

    def finish(self) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        out, err = self.process.communicate(timeout=180)
        return self.process.returncode, out, err

    def nothing_is_left(self) -> None:
        wait_until(lambda: not any(map(alive, self.family)), f"the end of {self.family}")
        for pid in (self.process.pid, *self.family):
            wait_until(lambda pid=pid: not shared_memory(pid), "the removal of shared memory")


def listening() -> set[int]:
    """TCP ports on which this machine listens."""
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


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
