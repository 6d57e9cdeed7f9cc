"""`edge triton` for real, and beside it what `edge serve` has of it: each fault ends with a right result again.

One process serves all tests; those that end it start it again.
"""

import json
import os
import queue
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tritonclient.utils import InferenceServerException

from edge.inference import announcement
from edge.inference.announcement import Announcement
from edge.inference.canary import as_bytes, read_canary
from edge.inference.client import InferenceClient
from edge.inference.events import Event, Plan, Served, ServerChecked, ServerLost, ServerReady
from edge.inference.repository import version_folder
from edge.inference.requests import Completion, InferenceError, Request, Span, Submitter
from edge.inference.shared_memory import Namespace, Region
from edge.inference.supervisor import Supervisor
from edge.models import identity
from tests.system.witness import PATIENCE_S, entries, eventually, process_runs, processes_named

pytestmark = pytest.mark.usefixtures("triton")

CONFIG = """
[[source]]
name = "det"
protocol = "stream-v2"
address = "tcp://127.0.0.1:31001"

[[route]]
name = "check"
model = "identity"
pixel_bits = [16]
"""
MODEL = "identity_u16"


class Process:
    """`edge triton`, started again as its supervisor would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "run" / "triton.json"
        (folder / "edge.toml").write_text(CONFIG)
        self.log = folder / "log"
        self.process = self.start()

    def start(self, *more: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "edge", "triton", "-c", str(self.folder / "edge.toml")]
        command += ["--file", str(self.file), "--json", "--stop-at-eof", *more]
        root = str(Path(__file__).parents[2])
        with self.log.open("a") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache"), "PYTHONPATH": root},
            )

    def facts(self) -> dict[str, Any]:
        """The line of `--json`."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def announced(self) -> Announcement:
        """The server that is ready, once one is."""
        eventually(lambda: announcement.read(self.file), "an announcement")
        found = announcement.read(self.file)
        return found or self.announced()

    def client(self, token: str | None) -> InferenceClient:
        return InferenceClient(self.announced().url, token=token)

    def end(self) -> int:
        """As a service manager ends it; its exit status."""
        self.process.terminate()
        code = self.process.wait(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe and pipe.close()
        return code


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("triton"))
    try:
        process.announced()
        yield process
    finally:
        process.end()


class Client:
    """A supervisor as `edge serve` has it."""

    def __init__(self, supervisor: Supervisor, events: "queue.Queue[Event]", arena: Region) -> None:
        self.supervisor, self.events, self.arena = supervisor, events, arena
        folder = version_folder("identity")
        self.expected = read_canary(folder, identity.SPEC, 2)

    def next(self, kind: type[Any]) -> Any:
        event = self.events.get(timeout=PATIENCE_S)
        assert isinstance(event, kind), event
        return event

    def ask(self, client: Submitter) -> Completion:
        data = as_bytes(self.expected["frame"])
        n, height, width, itemsize = data.shape
        self.arena.view[: data.size] = data.reshape(-1)
        names = tuple(name for name in self.expected if name != "frame")
        done: queue.SimpleQueue[Completion] = queue.SimpleQueue()
        frame = Span(self.arena.name, 0, data.size)
        client.submit(Request(1, MODEL, (n, height, width, itemsize), frame, names), done.put)
        return done.get(timeout=PATIENCE_S)

    def is_right(self, client: Submitter) -> bool:
        answer = self.ask(client)
        assert answer.error is None and answer.outputs is not None, answer.error
        return all((answer.outputs[name] == self.expected[name]).all() for name in answer.outputs)


@pytest.fixture(scope="module")
def client(running: Process) -> Iterator[Client]:
    events: queue.Queue[Event] = queue.Queue()
    with Namespace() as namespace:
        arena = namespace.region("frames", 1 << 20)
        plan = Plan((Served(identity.SPEC, (2,)),), namespace, (arena,), announced=running.file)
        with Supervisor(plan, events.put) as supervisor:
            yield Client(supervisor, events, arena)


def latest(client: Client) -> ServerReady:
    """The newest epoch, when nothing more is on its way."""
    ready = client.next(ServerReady)
    with suppress(queue.Empty):
        while True:
            event = client.events.get(timeout=1.0)
            ready = event if isinstance(event, ServerReady) else ready
    return ready


def test_says_where_it_is_to_its_own_user_only(running: Process, client: Client) -> None:
    found, facts = running.announced(), running.facts()
    assert (facts["url"], facts["pid"], facts["file"]) == (found.url, found.pid, str(running.file))
    assert found.token not in json.dumps(facts) and stat.S_IMODE(running.file.stat().st_mode) == 0o600
    assert found.token.encode() not in Path(f"/proc/{found.pid}/cmdline").read_bytes()
    assert found.token not in running.log.read_text()
    limits = Path(f"/proc/{found.pid}/limits").read_text()
    assert [line.split()[4:6] for line in limits.splitlines() if "core file" in line] == [["0", "0"]]
    ready = client.next(ServerReady)
    assert ready.transport == "shm" and client.is_right(ready.client)


@pytest.mark.parametrize("token", [None, "", "0123456789abcdef0123456789abcdef"])
def test_without_its_token_only_inference_is_open(running: Process, token: str | None) -> None:
    with running.client(token) as stranger, Namespace() as namespace:
        region = namespace.region("frames", 4096)
        for call in (
            lambda: stranger.load(MODEL),
            lambda: stranger.unload(MODEL),
            lambda: stranger.register(region),
            lambda: stranger.registered("edge-"),
            lambda: stranger.unregister(region.name),
            lambda: stranger._grpc.update_log_settings({"log_verbose_level": 1}),  # would fill the disk
            lambda: stranger._grpc.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}),
            lambda: stranger._grpc.get_inference_statistics(),
        ):
            with pytest.raises((InferenceError, InferenceServerException), match="protocol is restricted"):
                call()
        assert stranger.model_ready(MODEL)
        data = as_bytes(read_canary(version_folder("identity"), identity.SPEC, 2)["frame"])
        done: queue.SimpleQueue[Completion] = queue.SimpleQueue()
        n, height, width, itemsize = data.shape
        stranger.submit(Request(1, MODEL, (n, height, width, itemsize), data, ("checksum",)), done.put)
        assert done.get(timeout=PATIENCE_S).error is None


@pytest.mark.parametrize("name", ["../identity_u16", "/etc/passwd", f"{MODEL}/../{MODEL}", "", "nobody"])
def test_only_models_of_the_repository_can_be_loaded(running: Process, name: str) -> None:
    with running.client(running.announced().token) as ours:
        with pytest.raises(InferenceError, match="failed to poll from model repository"):
            ours.load(name)
        assert not name or not ours.model_ready(name.replace("/", "%2f"))
    logs = sorted((running.folder / "cache" / "detector-edge" / "logs").iterdir(), key=lambda log: log.stat().st_mtime)
    assert f"'{name}'" in logs[-1].read_text()  # refused, and said in the server's log


def test_another_one_with_the_same_file_is_refused(running: Process) -> None:
    other = running.start()
    assert other.wait(PATIENCE_S) == 1
    other.communicate()
    assert "another `edge triton` announces its server" in running.log.read_text()
    assert running.announced().epoch == 1


def kill(running: Process, found: Announcement) -> None:
    os.kill(found.pid, signal.SIGKILL)


def hang(running: Process, found: Announcement) -> None:
    os.kill(found.pid, signal.SIGSTOP)


def drain(running: Process, found: Announcement) -> None:
    os.kill(found.pid, signal.SIGTERM)


def kill_guardian(running: Process, found: Announcement) -> None:
    os.kill(parent_of(found.pid), signal.SIGKILL)


def kill_model(running: Process, found: Announcement) -> None:
    os.kill(model_process(found.pid), signal.SIGKILL)


def overwrite_and_unload(running: Process, found: Announcement) -> None:
    (graph,) = (running.folder / "cache").glob(f"detector-edge/repositories/*/{MODEL}/1/model.onnx")
    graph.write_bytes(b"garbage" * 100)
    with running.client(found.token) as ours:
        ours.unload(MODEL)


@pytest.mark.parametrize("fault", [kill, hang, drain, kill_guardian, kill_model, overwrite_and_unload])
def test_a_broken_server_is_replaced(
    running: Process, client: Client, fault: Callable[[Process, Announcement], None]
) -> None:
    before = running.announced()
    epoch = client.supervisor.epoch
    fault(running, before)
    if fault is kill_model:  # nobody knows before somebody asks
        eventually(lambda: client.supervisor.epoch > epoch, "another start")
    lost = client.next(ServerLost)
    assert lost.gone or fault not in (kill, kill_guardian)
    ready = latest(client)
    assert client.is_right(ready.client)
    after = running.announced()
    assert after.id != before.id or fault is kill_model
    assert not process_runs(before.pid) or after.pid == before.pid
    assert entries(f"{before.id}.") == [] or after.id == before.id


def test_a_model_that_was_unloaded_is_loaded_again(running: Process, client: Client) -> None:
    before = running.announced()
    with running.client(before.token) as ours:
        ours.unload(MODEL)
    assert not client.next(ServerLost).gone
    assert client.is_right(latest(client).client)
    assert running.announced() == before


def test_doubt_is_cleared_by_the_canary(running: Process, client: Client) -> None:
    ready = client.supervisor._client
    assert ready is not None
    ready.doubt("a batch failed")
    assert client.next(ServerChecked).epoch == client.supervisor.epoch


def test_killed_itself_it_leaves_nothing_and_comes_back(running: Process, client: Client) -> None:
    before = running.announced()
    prefix = before.id.rpartition("-")[0]
    running.process.kill()
    assert client.next(ServerLost).gone
    eventually(lambda: not processes_named(prefix) and not entries(prefix), "no process and no memory left")
    assert announcement.read(running.file) == before  # stale: nobody could remove it
    running.end()
    running.process = running.start()
    assert client.is_right(client.next(ServerReady).client)
    assert running.announced().pid != before.pid


def test_ends_in_order(running: Process, client: Client) -> None:
    found = running.announced()
    prefix = found.id.rpartition("-")[0]
    running.facts()
    assert running.process.stdin is not None
    running.process.stdin.close()
    assert running.process.wait(PATIENCE_S) == 0
    assert not running.file.exists()
    assert not processes_named(prefix) and not entries(prefix)
    assert "announces tritonserver" in client.next(ServerLost).reason  # told before the server was ended


def test_a_configuration_with_somebody_elses_server_is_refused(running: Process) -> None:
    (running.folder / "edge.toml").write_text(CONFIG + '[server]\nurl = "gpu:8001"\n')
    refused = running.start()
    assert refused.wait(PATIENCE_S) == os.EX_CONFIG
    refused.communicate()
    assert "server.url names a Triton at gpu:8001 that somebody else runs" in running.log.read_text()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def model_process(server: int) -> int:
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and parent_of(int(entry.name)) == server:
                return int(entry.name)
    raise AssertionError("no model process")
