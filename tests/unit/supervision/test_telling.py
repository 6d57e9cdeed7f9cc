"""What is told, and to whom: lines for people and programs, logs, the run folder."""

import errno
import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from edge.supervision import runfolder
from edge.supervision.inbox import words
from edge.supervision.logfile import LogFile
from edge.supervision.runfolder import ServiceState, UpState
from edge.supervision.voice import MAX_LINE_BYTES, Voice


def test_a_terminal_that_does_not_read_holds_nothing_up_and_gets_the_newest_lines() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)  # as a terminal is: a write would wait for ever now
    voice = Voice(writing, as_json=True)
    for number in range(1_500):
        voice.note(str(number))
    voice.flush(0.0)
    while b"reason" not in (data := os.read(reading, 1 << 20)):
        voice.flush(0.0)
    assert json.loads(data.lstrip(b"\0").split(b"\n")[0])["reason"] == "500"
    os.close(reading)
    voice.note("nobody")
    voice.flush(0.0)
    os.close(writing)


def test_a_line_that_is_longer_than_a_pipe_takes_at_once_waits_for_its_reader_too() -> None:
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 2 * MAX_LINE_BYTES)
    voice = Voice(writing, as_json=True)
    voice.note("x" * 2 * size)  # would wait for ever
    voice.note("after")
    data = b""
    while not data.endswith(b"}\n") or data.count(b"\n") < 2:
        data += os.read(reading, 1 << 20)
        voice.flush(0.0)
    assert [len(json.loads(line)["reason"]) for line in data.splitlines()] == [2 * size, 5]
    os.close(reading)
    os.close(writing)


def test_a_disk_that_is_full_for_a_while_costs_lines_but_not_all_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []

    def write(descriptor: int, data: bytes) -> int:
        if len(taken) == 0 and b"first" in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken.append(data)
        return len(data)

    with open(os.devnull, "wb") as file:
        monkeypatch.setattr(os, "write", write)
        voice = Voice(file.fileno(), as_json=False)
        voice.note("first")
        voice.note("second")
    assert [line[9:] for line in taken] == [b"second\n"]


def test_lines_for_people_and_for_programs(tmp_path: Path) -> None:
    for as_json in (True, False):
        with (tmp_path / str(as_json)).open("wb") as file:
            voice = Voice(file.fileno(), as_json)
            voice.change("serve", 12, "ready", "ready after 5.2 s")
            voice.said("serve", 12, "12:00:00 WARNING a port")
            voice.ready({"agent": {"agent": "tcp://x:1"}, "serve": {"publish": "tcp://x:2", "n": 1}, "triton": {}})
            voice.end(0, "stopped as asked")
    lines = (tmp_path / "False").read_text().splitlines()
    assert [line[9:] for line in lines] == [
        "serve ready after 5.2 s",
        "serve: WARNING a port",
        "all ready",
        "  agent: tcp://x:1",
        "  serve: publish tcp://x:2",
        "stopped as asked",
    ]
    told = [json.loads(line) for line in (tmp_path / "True").read_text().splitlines()]
    assert [line["event"] for line in told] == ["change", "said", "ready", "end"]
    assert all(line.pop("time") > 0 for line in told)
    assert told[1]["reason"] == "12:00:00 WARNING a port"
    assert told[0] == {
        "event": "change",
        "service": "serve",
        "pid": 12,
        "state": "ready",
        "reason": "ready after 5.2 s",
    }


def test_a_log_tells_what_matters_once_and_printable(tmp_path: Path) -> None:
    path = tmp_path / "serve.log"
    path.write_text("12:00:00 ERROR   of an earlier process\n")
    log = LogFile(path)
    descriptor = log.opened()
    os.write(descriptor, b"12:00:01 INFO    ready\n12:00:02 WARNING \x1b]0;evil\x07 \xff\nTraceback\nError: no room")
    assert log.matters() == ["12:00:02 WARNING ?]0;evil? \ufffd"]
    assert log.last_words == ""
    os.write(descriptor, b" left\nOSError: [Errno 28]\n")
    assert log.matters() == ["Error: no room left", "OSError: [Errno 28]"]
    assert log.last_words == "[Errno 28]"
    assert log.matters() == []
    os.close(descriptor)


def test_a_log_is_bounded_while_its_service_has_it_open(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "serve.log", max_bytes=1000)
    descriptor = log.opened()
    for number in range(100):
        os.write(descriptor, f"12:00:00 ERROR {number:04}\n".encode() * 10)
        assert len(log.matters()) == 10
        assert (tmp_path / "serve.log").stat().st_size <= 1200
    assert "ERROR 0" in (tmp_path / "serve.log.1").read_text()
    os.truncate(tmp_path / "serve.log", 0)  # by somebody else
    os.write(descriptor, b"CRITICAL x\n")
    assert log.matters() == ["CRITICAL x"]
    os.write(descriptor, b"0123456789\n" * 100_000)  # faster than it is read
    log.matters()
    assert (tmp_path / "serve.log").stat().st_size == 0
    os.close(descriptor)


def test_a_log_that_cannot_be_emptied_now_is_not_told_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(tmp_path / "serve.log", max_bytes=10)
    descriptor = log.opened()
    os.write(descriptor, b"12:00:00 ERROR once\n")
    with monkeypatch.context() as patched:
        patched.setattr(os, "truncate", refuse)
        assert log.matters() == ["12:00:00 ERROR once"]
        assert log.matters() == []
    log.matters()
    assert (tmp_path / "serve.log").stat().st_size == 0
    os.close(descriptor)


def refuse(*_: object) -> None:
    raise FileNotFoundError(errno.ENOENT, "No such file or directory")


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"RUNTIME_DIRECTORY": "/run/edge:/run/other", "XDG_RUNTIME_DIR": "/run/user/1"}, "/run/edge"),
        ({"XDG_CACHE_HOME": "/c", "XDG_RUNTIME_DIR": "/run/user/1"}, "/c/detector-edge/run-beam"),
        ({"HOME": "/home/x"}, "/home/x/.cache/detector-edge/run-beam"),
    ],
)
def test_where_the_run_folder_is(environment: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(runfolder.socket, "gethostname", lambda: "beam")
    assert runfolder.run_folder("") == Path(folder)
    assert runfolder.run_folder("/srv/run") == Path("/srv/run")


def test_the_folder_has_one_owner_and_says_who(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert not runfolder.is_held(folder)
    lock = runfolder.take(folder)
    assert folder.stat().st_mode & 0o777 == 0o700 and runfolder.is_held(folder)
    runfolder.write_state(folder, UpState(4711, 1, "boot", "/etc/edge.toml", 0.0, ()))
    with pytest.raises(runfolder.HeldError, match=r"pid 4711, /etc/edge\.toml"):
        runfolder.take(folder)
    os.close(lock)
    assert not runfolder.is_held(folder)
    os.close(runfolder.take(folder))
    folder.chmod(0o770)
    with pytest.raises(runfolder.RunFolderError, match="chmod go-w"):
        runfolder.take(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(runfolder.RunFolderError, match=r"up\.folder"):
        runfolder.take(tmp_path / "file")


def test_a_state_comes_back_as_it_was_and_anything_else_is_none(tmp_path: Path) -> None:
    assert runfolder.read_state(tmp_path) is None
    state = UpState(1, 2, "b", "c", 3.5, (ServiceState("serve", "ready", 5, 6, facts={"publish": "tcp://x:1"}),))
    runfolder.write_state(tmp_path, state)
    assert runfolder.read_state(tmp_path) == state
    for broken in (b"", b"[]", b"{}", b'{"pid": "x"}', b"\xff", b"[" * 100_000):
        (tmp_path / "state.json").write_bytes(broken)
        assert runfolder.read_state(tmp_path) is None


def test_words_of_a_datagram() -> None:
    assert words(b"READY=1\nSTATUS=a=b\nnothing\n\xff=\xfe") == {"READY": "1", "STATUS": "a=b", "\ufffd": "\ufffd"}
    assert words(b"STATUS=a\x1b[2J\r") == {"STATUS": "a?[2J?"}  # it is shown on terminals


def test_a_folder_that_others_may_write_into_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    runfolder.make(folder)
    runfolder.make(folder)
    folder.chmod(0o777)
    with pytest.raises(runfolder.RunFolderError, match="others may write"):
        runfolder.make(folder)
    with pytest.raises(runfolder.RunFolderError, match="others may write"):
        runfolder.take(folder)
