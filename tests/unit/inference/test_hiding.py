"""What other users see of a command line."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.inference import hiding


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    argv = [sys.executable, "-c", "print(flush=True); input()", "--token=s3cret", "--again=s3cret", "--port=1"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it runs, and has its arguments
        yield process
        process.kill()


def test_a_secret_is_taken_out_everywhere(process: "subprocess.Popen[bytes]") -> None:
    path = Path(f"/proc/{process.pid}/cmdline")
    assert path.read_bytes().count(b"s3cret") == 2
    assert hiding.hide("s3cret", process.pid)
    assert path.read_bytes().endswith(b"--token=******\0--again=******\0--port=1\0")


def test_a_process_that_is_gone_is_no_error(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    assert not hiding.hide("s3cret", process.pid)
