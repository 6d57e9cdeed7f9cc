"""The supervisor over a server that is only pretended: what ends an epoch, and what it does then."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.inference import canaries, supervisor
from edge.inference.errors import ServerError, SharedMemoryError
from edge.inference.events import Event, Plan, ServerLost, ServerReady
from edge.inference.requests import InferenceError
from edge.inference.shared_memory import Namespace, Region
from edge.inference.supervisor import Supervisor
from tests.unit.inference.graphs import write_models
from tests.unit.inference.pretended import PretendedHost, PretendedServer, plan_of

URL = "127.0.0.1:8001"
NO_ROOM = "/dev/shm has 0 MiB free, 1 MiB needed: enlarge it (docker --shm-size)"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def server() -> PretendedServer:
    return PretendedServer()


@pytest.fixture
def host(server: PretendedServer, monkeypatch: pytest.MonkeyPatch) -> PretendedHost:
    made = PretendedHost(server)
    monkeypatch.setattr(supervisor, "EmbeddedHost", lambda *_: made)
    monkeypatch.setattr(supervisor, "RemoteHost", lambda *_: made)
    return made


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace() as made:
        yield made


def next_of(events: "queue.Queue[Event]", kind: type[Any]) -> Any:
    event = events.get(timeout=20)
    assert isinstance(event, kind), event
    return event


def break_regions(monkeypatch: pytest.MonkeyPatch, until: threading.Event) -> None:
    def region(name: str, nbytes: int) -> Region:
        if not until.is_set():
            raise SharedMemoryError(NO_ROOM)
        return Region(name, nbytes)

    monkeypatch.setattr(canaries, "Region", region)


@pytest.mark.usefixtures("host")
def test_no_room_at_the_first_start_is_what_start_raises(
    namespace: Namespace, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_regions(monkeypatch, threading.Event())
    with pytest.raises(SharedMemoryError, match="docker --shm-size"):
        Supervisor(plan_of(namespace, models), lambda _: None).start()


def test_no_room_at_a_restart_is_waited_out(
    host: PretendedHost, namespace: Namespace, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: queue.Queue[Event] = queue.Queue()
    with Supervisor(plan_of(namespace, models), events.put) as running:
        next_of(events, ServerReady)
        room = threading.Event()
        break_regions(monkeypatch, room)
        host.server.suspect = "lost"
        next_of(events, ServerLost)
        while host.opened < 3:  # two starts have failed, or are about to
            assert running.state != "stopped"
        room.set()
        assert next_of(events, ServerReady).epoch == 2


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"PK\x03\x04"])
def test_damaged_canary_is_one_clear_line(
    namespace: Namespace, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    models = write_models(tmp_path)
    path = models / "counts" / "1" / "canary.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ServerError, match=r"counts_u16 has no usable canary in .*canary\.npz"):
        Supervisor(plan_of(namespace, models), lambda _: None).start()


@pytest.mark.usefixtures("host")
def test_ctrl_c_at_the_thread_start_leaves_nothing_running(
    namespace: Namespace, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Supervisor(plan_of(namespace, models), lambda _: None)
    begin = watched._thread.start

    def interrupted() -> None:
        begin()
        raise KeyboardInterrupt

    monkeypatch.setattr(watched._thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        watched.start()
    assert watched.state == "stopped" and not watched._thread.is_alive()


@pytest.mark.parametrize("url", [None, URL])
def test_one_missed_probe_is_enough_for_a_server_that_may_be_replaced(
    host: PretendedHost, namespace: Namespace, models: Path, url: str | None
) -> None:
    events: queue.Queue[Event] = queue.Queue()
    with Supervisor(plan_of(namespace, models, url), events.put):
        next_of(events, ServerReady)
        asked = host.server.model_ready
        missed = iter([InferenceError("unavailable", "refused", settled=False)])

        def once(model: str, timeout_s: float = 1.0) -> bool:
            for error in missed:
                raise error
            return asked(model, timeout_s)

        host.server.model_ready = once
        if url is None:
            with pytest.raises(queue.Empty):
                events.get(timeout=0.3)
        else:
            next_of(events, ServerLost)
            assert next_of(events, ServerReady).epoch == 2


def test_only_a_server_that_mapped_our_memory_is_tidied(
    host: PretendedHost, namespace: Namespace, models: Path
) -> None:
    host.server.foreign = ["edge-1-00000000-r-frames"]
    arena = namespace.region("frames", 4096)
    for regions, tidied in (((), False), ((arena,), True)):
        host.server.calls.clear()
        with Supervisor(plan_of(namespace, models, None, regions), lambda _: None):
            assert ("registered" in host.server.calls) == tidied


def test_failed_remote_start_leaves_no_memory_registered(
    host: PretendedHost, namespace: Namespace, tmp_path: Path
) -> None:
    models = write_models(tmp_path)
    path = models / "counts" / "1" / "canary.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["u16_counts"] = arrays["u16_counts"] + 7
    np.savez(path, **arrays)
    arena = namespace.region("frames", 4096)
    with pytest.raises(ServerError, match="off by"):
        Supervisor(plan_of(namespace, models, URL, (arena,)), lambda _: None).start()
    assert host.server.regions == {}


def explained(plan: Plan) -> str:
    with pytest.raises(ServerError) as caught:
        Supervisor(plan, lambda _: None).start()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("explicit model load / unload is not allowed if polling is enabled", "does not have counts_u16: build"),
        ("failed to load 'counts_u16', failed to poll from model repository", "does not have counts_u16: build"),
        ("This protocol is restricted, expecting header 'x'", "restricts who may load counts_u16: load it there"),
        ("bad graph", "counts_u16 does not load: bad graph"),
    ],
)
def test_remote_server_without_the_model_is_told_what_to_do(
    host: PretendedHost, namespace: Namespace, models: Path, text: str, says: str
) -> None:
    host.server.is_ready = False
    host.server.errors["load"] = InferenceError("bad_request", text)
    assert says in explained(plan_of(namespace, models, URL))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Unable to open shared memory region: '/edge-1'", "share it (docker --ipc=host)"),
        ("This protocol is restricted, expecting header 'x'", "--grpc-restricted-protocol"),
    ],
)
def test_private_shared_memory_is_told_what_to_do(
    host: PretendedHost, namespace: Namespace, models: Path, text: str, says: str
) -> None:
    plan = plan_of(namespace, models, URL, (namespace.region("frames", 4096),))
    host.server.errors["register"] = InferenceError("bad_request", text)
    told = explained(replace(plan, transport="shm"))
    assert says in told and 'server.transport to "inline"' in told


def test_waiting_for_a_remote_server_is_said_once(
    namespace: Namespace, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_of(namespace, models, "127.0.0.1:1")
    with caplog.at_level(logging.INFO), pytest.raises(ServerError, match="no inference server answers"):
        Supervisor(replace(plan, timing=replace(plan.timing, connect_s=0.5)), lambda _: None).start()
    assert [record.message for record in caplog.records].count("waiting for 127.0.0.1:1") == 1
