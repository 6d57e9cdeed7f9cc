"""The server of an `edge triton`, seen from outside: a small program in its place, a client that is only pretended."""

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge.inference import announced, announcement
from edge.inference.announced import AnnouncedHost
from edge.inference.announcement import Announcement
from edge.inference.client import InferenceClient
from edge.inference.errors import ServerError
from edge.inference.events import Plan, Served
from edge.inference.repository import model_sha256
from edge.inference.requests import InferenceError
from edge.inference.shared_memory import Namespace
from tests.unit.inference.graphs import COUNTS, write_models

ID = "edge-1-00000000-t1"
PATIENCE_S = 20


class Client:
    """Answers as `id` says, at every address."""

    id = ID

    def __init__(self, url: str, timeout_s: float, token: str) -> None:
        self.url, self.token, self.closed = url, token, False

    def identity(self, timeout_s: float) -> str:
        if not self.id:
            raise InferenceError("unavailable", "refused")
        return self.id

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    argv = [sys.executable, "-c", "print(flush=True); input()", f"--id={ID}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it runs, and has its arguments
        yield process
        process.kill()


class Bench:
    def __init__(self, path: Path, namespace: Namespace) -> None:
        self.path = path
        self.told: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.host = AnnouncedHost(path, Plan((), namespace, announced=path), self.told.put)

    def announce(self, pid: int, epoch: int = 1, url: str = "127.0.0.1:1") -> None:
        announcement.write(self.path, Announcement(url, "token", pid, ID, epoch, 0.0))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(announced, "InferenceClient", Client)
    monkeypatch.setattr(Client, "id", ID)
    with Namespace(tmp_path) as namespace:
        made = Bench(tmp_path / "triton.json", namespace)
        yield made
        made.host.close()


def opening(bench: Bench) -> "tuple[threading.Thread, queue.SimpleQueue[InferenceClient]]":
    opened: queue.SimpleQueue[InferenceClient] = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: opened.put(bench.host.open()), daemon=True)
    thread.start()
    return thread, opened


def test_waits_for_the_file_and_reads_it_anew(bench: Bench, process: "subprocess.Popen[bytes]") -> None:
    _, opened = opening(bench)
    bench.announce(process.pid, url="127.0.0.1:2")
    assert opened.get(timeout=PATIENCE_S).url == "127.0.0.1:2"
    assert not bench.host.end(0.0)  # it runs
    bench.announce(process.pid, 2, url="127.0.0.1:3")
    assert bench.host.open().url == "127.0.0.1:3"


def test_a_server_that_died_is_told_and_known_to_be_gone(bench: Bench, process: "subprocess.Popen[bytes]") -> None:
    bench.announce(process.pid)
    bench.host.open()
    process.kill()
    assert bench.told.get(timeout=PATIENCE_S) == f"tritonserver {process.pid} has ended"
    assert bench.host.end(0.0)


@pytest.mark.parametrize("how", ["withdrawn", "replaced"])
def test_a_server_that_is_announced_no_more_is_told(
    bench: Bench, process: "subprocess.Popen[bytes]", how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announced, "GONE_S", 0.01)
    bench.announce(process.pid)
    bench.host.open()
    announcement.withdraw(bench.path) if how == "withdrawn" else bench.announce(process.pid, 2)
    assert "no more" in bench.told.get(timeout=PATIENCE_S)
    assert not bench.host.end(0.0)


def test_the_next_server_is_not_ready_before_the_last_has_ended(
    bench: Bench, process: "subprocess.Popen[bytes]"
) -> None:
    """It may still write to the memory of requests that it never answered."""
    bench.announce(process.pid)
    bench.host.open()
    assert not bench.host.end(0.0)
    other = Announcement("127.0.0.1:2", "token", process.pid, "edge-1-00000000-t2", 2, 0.0)
    announcement.write(bench.path, other)
    Client.id = other.id
    _, opened = opening(bench)
    with pytest.raises(queue.Empty):
        opened.get(timeout=0.3)
    process.kill()
    assert opened.get(timeout=PATIENCE_S).url == "127.0.0.1:2"


def test_somebody_elses_process_number_proves_nothing(bench: Bench) -> None:
    """In another container, or used again: that process may end while the server still has our memory."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        bench.announce(stranger.pid)
        bench.host.open()
        stranger.kill()
        stranger.wait()
        with pytest.raises(queue.Empty):
            bench.told.get(timeout=0.3)
    assert not bench.host.end(0.0)


@pytest.mark.parametrize("answer", ["", "edge-2-00000000-t1"])
def test_a_stale_file_is_waited_out(
    bench: Bench, process: "subprocess.Popen[bytes]", answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Client, "id", answer)
    bench.announce(process.pid)
    _, opened = opening(bench)
    with pytest.raises(queue.Empty):
        opened.get(timeout=0.3)
    monkeypatch.setattr(Client, "id", ID)
    assert opened.get(timeout=PATIENCE_S)


def test_a_wait_can_be_ended(bench: Bench) -> None:
    bench.host.abandon()
    with pytest.raises(ServerError, match="until the wait was ended"):
        bench.host.open()


@pytest.mark.parametrize("theirs", [{"counts": "00"}, {"echo": "00"}])
def test_a_server_of_other_weights_is_waited_out(
    bench: Bench, process: "subprocess.Popen[bytes]", tmp_path: Path, theirs: dict[str, str]
) -> None:
    """Its answers would go out under the version and the SHA-256 of the models that this process chose."""
    models = write_models(tmp_path / "models")
    with Namespace(tmp_path) as namespace:
        plan = Plan((Served(COUNTS),), namespace, announced=bench.path, source=models)
        bench.host = AnnouncedHost(bench.path, plan, bench.told.put)
        found = Announcement("127.0.0.1:1", "token", process.pid, ID, 1, 0.0, theirs)
        announcement.write(bench.path, found)
        _, opened = opening(bench)
        with pytest.raises(queue.Empty):
            opened.get(timeout=0.3)
        right = {"counts": model_sha256("counts", source=models)}
        announcement.write(bench.path, msgspec.structs.replace(found, url="127.0.0.1:2", models=right))
        assert opened.get(timeout=PATIENCE_S).url == "127.0.0.1:2"
        bench.host.close()
