"""The tools of `edge bench chaos`: a proxy that fails to order, a clock that is stepped, file systems that are full."""

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.bench.chaos.clock import Clock
from edge.bench.chaos.mounts import SHM, Mounts, NoMounts
from edge.bench.chaos.processes import alive, end_family, family
from edge.bench.proxy import Proxy


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that says what it hears."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer(one: socket.socket) -> None:
            with one:
                try:
                    while data := one.recv(4096):
                        one.sendall(data)
                except OSError:
                    return

        def serve() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(one,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 5)


def test_a_cut_resets_and_new_connections_pass(echo: int) -> None:
    with Proxy(echo, narrow=True) as proxy:
        with connect(proxy) as one:
            one.sendall(b"hello")
            assert one.recv(5) == b"hello"
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                for _ in range(100):
                    if one.recv(5) == b"":
                        raise ConnectionResetError
        with connect(proxy) as another:
            another.sendall(b"again")
            assert another.recv(5) == b"again"


def test_silence_keeps_what_it_holds_back(echo: int) -> None:
    with Proxy(echo) as proxy, connect(proxy) as one:
        one.settimeout(0.2)
        proxy.silence()
        one.sendall(b"hello")
        with pytest.raises(TimeoutError):
            one.recv(5)
        proxy.restore()
        one.settimeout(5)
        assert one.recv(5) == b"hello"


def test_an_address_is_rewritten(echo: int) -> None:
    with Proxy(echo, rewrite=(b":11111", b":22222")) as proxy, connect(proxy) as one:
        one.sendall(b"tcp://host:11111")
        assert one.recv(64) == b"tcp://host:22222"
    with pytest.raises(ValueError, match="length"):
        Proxy(echo, rewrite=(b"1", b"22"))


def test_the_clock_is_stepped_and_the_monotonic_one_is_not(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    clock.step(-3600.0)
    code = "import time; print(time.time(), time.time_ns(), time.monotonic())"
    line = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **clock.environment}, check=True)
    seconds, nanoseconds, monotonic = map(float, done.stdout.split())
    assert seconds == pytest.approx(time.time() - 3600, abs=60)
    assert nanoseconds / 1e9 == pytest.approx(seconds, abs=5)
    assert monotonic == pytest.approx(time.monotonic(), abs=60)


def test_mounts_are_full_and_have_room_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    try:
        mounts = Mounts(data, 8, 4)
    except NoMounts as error:
        pytest.skip(str(error))
    with mounts:
        script = (
            f"import os; open('{data}/%d' % os.getpid(), 'wb').write(bytes(100000)); open('{SHM}/there', 'w').close()"
        )
        line = [*mounts.prefix, sys.executable, "-c", script]
        subprocess.run(line, check=True)
        assert [path.stat().st_size for path in mounts.seen(data).iterdir()] == [100000]
        assert list(data.iterdir()) == []
        with mounts.full(data):
            done = subprocess.run(line, capture_output=True, text=True)
            assert os.strerror(errno.ENOSPC) in done.stderr
        subprocess.run(line, check=True)


def test_a_family_is_found_and_ended() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as parent:
        deadline = time.monotonic() + 20
        while len(found := family(parent.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(found) == 2
        end_family(parent.pid)
        assert not any(map(alive, found))
