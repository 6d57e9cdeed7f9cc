"""The guardian and the parent's end of it, with a small program in the place of the server."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.inference import guarded, shm_names
from edge.inference.guarded import Guarded, Launch
from edge.inference.guardian import MOST_FILES
from edge.inference.shm_names import SHM_FOLDER

SERVER = "import os, sys, time; open(os.environ['SHM'], 'w').write('x' * 5); time.sleep(60)"


@pytest.fixture
def claim() -> Iterator[shm_names.Claim]:
    made = shm_names.claim()
    yield made
    made.release()


@pytest.fixture
def watched(claim: shm_names.Claim) -> Iterator[Guarded]:
    made = Guarded(claim.prefix, claim.lock_fd, lambda _: None)
    yield made
    made.close()


def launch_of(claim: shm_names.Claim, tmp_path: Path, **env: str) -> Launch:
    region = SHM_FOLDER / f"{claim.prefix}-t1.region"
    argv = (sys.executable, "-c", SERVER)
    return Launch(argv, {"SHM": str(region), **env}, tmp_path / "log", f"{claim.prefix}-t1.")


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_the_server_makes_is_ours_alone(watched: Guarded, claim: shm_names.Claim, tmp_path: Path) -> None:
    launch = launch_of(claim, tmp_path)
    watched.launch(launch)
    region = Path(launch.env["SHM"])
    wait_for(lambda: region.exists() and region.read_text() == "xxxxx")  # we can read it
    assert region.stat().st_mode & 0o077 == 0
    watched.end(0.0)
    assert not region.exists()


def test_the_server_writes_no_core_and_may_open_many_files(
    watched: Guarded, claim: shm_names.Claim, tmp_path: Path
) -> None:
    pid = watched.launch(launch_of(claim, tmp_path))
    limits = {line[:20].strip(): line[20:].split() for line in Path(f"/proc/{pid}/limits").read_text().splitlines()}
    assert limits["Max core file size"][:2] == ["0", "0"]
    soft, hard, _ = limits["Max open files"]
    assert int(soft) >= min(int(hard), MOST_FILES)


def test_broken_request_leaves_the_memory_of_a_living_parent(watched: Guarded, claim: shm_names.Claim) -> None:
    arena = SHM_FOLDER / f"{claim.prefix}-r-frames"
    arena.write_text("frames")
    watched._send({"start": "nonsense"})
    wait_for(lambda: not watched.alive())
    assert arena.read_text() == "frames" and shm_names.lock_path(claim.prefix).exists()


def test_request_larger_than_the_pipe_arrives(watched: Guarded, claim: shm_names.Claim, tmp_path: Path) -> None:
    many = {f"SETTING_{number}": "x" * 100_000 for number in range(10)}
    assert watched.launch(launch_of(claim, tmp_path, **many)) > 0


def test_request_is_sent_in_parts_where_the_pipe_takes_parts(watched: Guarded) -> None:
    class Narrow:
        closed = False
        sent = b""

        def write(self, data: memoryview) -> int:
            self.sent += data[:10]
            return len(data[:10])

    narrow, stdin = Narrow(), watched._process.stdin
    watched._process.stdin = narrow  # pyright: ignore[reportAttributeAccessIssue]
    watched._send({"stop": "x" * 30})
    watched._process.stdin = stdin
    assert narrow.sent == b'{"stop": "' + b"x" * 30 + b'"}\n'


def test_modules_of_the_working_directory_are_not_imported(tmp_path: Path) -> None:
    (tmp_path / "signal.py").write_text("raise SystemExit('the wrong signal')")
    code = (
        "from edge.inference import shm_names; from edge.inference.guarded import Guarded; "
        "claim = shm_names.claim(); watched = Guarded(claim.prefix, claim.lock_fd, print); "
        "watched._send({'bye': True}); code = watched._process.wait(20); claim.release(); raise SystemExit(code)"
    )
    root = str(Path(guarded.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
