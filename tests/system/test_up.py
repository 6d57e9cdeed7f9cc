"""The real `edge up`: Triton, data plane and agent are killed and come back; `edge status` tells; nothing is left."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streams.sockets import context, push
from tests.system.serving import CONFIG, descendants
from tests.system.upping import Up, running
from tests.system.witness import entries, eventually, process_runs

MORE = """
[agent]
listen = "tcp://127.0.0.1:*"
folder = "agent"

[recording]
folder = "captures"
quota_gib = 0.1

[up]
folder = "{run}"
"""
EDGE = (sys.executable, "-m", "edge")


@dataclass
class Station:
    """A folder with a configuration, and a detector that the data plane connects to."""

    folder: Path
    config: Path

    @property
    def up(self) -> tuple[str, ...]:
        return (*EDGE, "up", "-c", str(self.config), "--json", "--stop-at-eof")

    def status(self) -> tuple[int, dict[str, Any]]:
        """Exit code and answer of `edge status`."""
        command = [*EDGE, "status", "-c", str(self.config), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def station(triton: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    folder = tmp_path_factory.mktemp("up")
    with context() as ctx:
        detector = push(ctx)
        address = detector.bind("tcp://127.0.0.1:*")
        config = CONFIG.format(protocol="stream-v2", address=address, memory_mib=4)
        (folder / "edge.toml").write_text(config + MORE.format(run=folder / "run"))
        before = Path.cwd()
        os.chdir(folder)
        try:
            yield Station(folder, folder / "edge.toml")
        finally:
            os.chdir(before)


def nothing_left(up: Up, below: dict[int, str]) -> None:
    """No process of it, and none of what its services named after themselves in /dev/shm."""
    eventually(lambda: not any(process_runs(pid) for pid in below), f"the end of {below}")
    pids = {line["pid"] for line in up.told if line.get("pid")}
    assert not [name for pid in pids for name in entries(f"edge-{pid}-")]


def test_each_service_is_killed_and_comes_back_and_status_tells(station: Station) -> None:
    with running(station.up) as up:
        told = up.ready()["services"]
        assert set(told) == {"triton", "serve", "agent"} and told["serve"]["handshake"].startswith("tcp://127.0.0.1:")
        assert "token" not in told["triton"]
        eventually(lambda: station.status()[0] == 0, "all is well")
        for name in ("agent", "serve", "triton"):
            mark = len(up.told)
            os.kill(next(line["pid"] for line in reversed(up.told) if line.get("service") == name), signal.SIGKILL)
            assert "killed by SIGKILL" in up.change(name, "backing-off", mark)["reason"]
            up.change(name, "ready", mark)
        assert [up.changes(name).count("ready") for name in ("agent", "serve", "triton")] == [2, 2, 2]
        code, answer = station.status()
        assert [each["restarts"] for each in answer["up"]["services"]] == [1, 1, 1]
        below = descendants(up.process.pid)
        assert up.stop() == 0, up.told[-5:]
        nothing_left(up, below)
    code, answer = station.status()
    assert code == 3 and answer["up"] is None and "edge up" in answer["problems"][0]["remedy"]


def test_a_killed_edge_up_leaves_nothing_and_the_next_one_starts_at_once(station: Station) -> None:
    with running(station.up) as up:
        up.ready()
        below = descendants(up.process.pid)
        up.stop(signal.SIGKILL)
        with running(station.up) as following:
            following.ready()
            nothing_left(up, below)
            with running(station.up) as second:
                assert second.end() == 4 and "another `edge up`" in second.errors()
            assert following.stop() == 0


def test_what_cannot_be_used_is_said_at_once(station: Station, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(station.config.read_text().replace('model = "identity"', 'model = "nonsense"'))
    for command in ("up", "status"):
        done = subprocess.run([*EDGE, command, "-c", str(bad)], capture_output=True, text=True, timeout=60)
        assert done.returncode == os.EX_CONFIG and "nonsense" in done.stderr
