"""A watch that is killed again and again: what serves is always whole, and every scan is dealt with once."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from edge.inference.own import serving
from edge.training.decisions import DecisionLog
from edge.training.watching import LOCK_FILE, LOG_FILE
from tests.system.toy_watch import MODEL, quality, write_version
from tests.unit.training.test_watching import write_scan

SCANS = 4
KILLS = 8
DELAYS_S = 0.02, 0.45
"""Around the times at which it writes, renames and logs; a scan takes it some 0.3 s."""


def start(folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-P", "-m", "tests.system.toy_watch", str(folder)])


def wait_for_work(models: Path, process: "subprocess.Popen[bytes]") -> None:
    """Until it has imported everything and holds the lock, or has ended."""
    lock = models / MODEL / LOCK_FILE
    lock.unlink(missing_ok=True)
    while not lock.exists() and process.poll() is None:
        pass


def test_killed_again_and_again(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (tmp_path / "scans").mkdir()
    write_version(models / MODEL / "1", 2.0)
    for number in range(SCANS):
        write_scan(tmp_path / "scans" / f"{number}.npz", seed=number)
        os.utime(tmp_path / "scans" / f"{number}.npz", (number, number))
    dice = random.Random(7)
    killed = 0
    for _ in range(KILLS):
        process = start(tmp_path)
        wait_for_work(models, process)
        try:
            process.wait(dice.uniform(*DELAYS_S))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        quality(serving(MODEL, models).folder)
    assert killed >= 3
    assert start(tmp_path).wait(60) == 0

    log = DecisionLog(models / MODEL / LOG_FILE)
    deployed = [one for one in log.decisions if one.what == "deployed"]
    assert [one.scan.name for one in deployed] == [f"{number}.npz" for number in range(SCANS)]
    assert [(one.base, one.version) for one in deployed] == [(number, number + 1) for number in range(1, SCANS + 1)]
    assert {one.what for one in log.decisions} <= {"deploying", "deployed", "confirmed"}
    left = {path.name for path in (models / MODEL).iterdir()} - {LOG_FILE, LOCK_FILE}
    assert left == {str(number) for number in range(1, SCANS + 2)}
    assert abs(quality(serving(MODEL, models).folder) - (2.0 - 0.1 * SCANS)) < 1e-9
