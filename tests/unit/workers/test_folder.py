"""The folder in which the processes meet: never what an earlier process left, whose number we may have."""

import fcntl
import os
from pathlib import Path

import click
import pytest

from edge.commands import serve_workers
from edge.commands.serve_workers import LINK
from edge.config import Config, parse
from edge.supervision.inbox import MAX_PATH

SOURCE = {"name": "det", "protocol": "stream-v2", "address": "tcp://127.0.0.1:9"}


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r")


def config(folder: Path) -> Config:
    route = {"name": "check", "model": "identity"}
    return parse({"source": [SOURCE], "route": [route], "up": {"folder": str(folder)}})


def left_by(pid: int, base: Path) -> Path:
    folder = base / f"serve-{pid}"
    folder.mkdir()
    (folder / "bound.json").write_text('{"results": "tcp://127.0.0.1:5555"}')
    (folder / "worker-1.began").touch()
    return folder


def test_what_a_process_of_our_number_left_is_not_ours(base: Path):
    left_by(os.getpid(), base)  # each container begins to count anew
    with serve_workers._folder(config(base)) as folder:
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_where_another_one_of_our_number_runs_we_meet_elsewhere(base: Path):
    theirs = left_by(os.getpid(), base)
    lock = os.open(theirs / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with serve_workers._folder(config(base)) as folder:
            assert folder != theirs and list(folder.iterdir()) == []
    finally:
        os.close(lock)
    assert (theirs / "bound.json").exists()


def test_what_those_that_are_gone_left_is_swept_and_the_rest_stays(base: Path):
    gone, running = left_by(2**22 + 1, base), left_by(os.getppid(), base)
    with serve_workers._folder(config(base)):
        assert not gone.exists()
        assert running.exists()


def test_sockets_have_short_names(base: Path):
    with serve_workers._folder(config(base / ("long" * 30))) as folder:
        assert len(bytes(folder / LINK)) <= MAX_PATH


def test_a_folder_that_cannot_be_made_is_told(base: Path):
    (base / "file").touch()
    meeting = serve_workers._folder(config(base / "file"))
    with pytest.raises(click.ClickException, match=r"cannot use the run folder .*set up\.folder"):
        meeting.__enter__()
