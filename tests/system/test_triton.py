"""The embedded server for real: it serves right answers, it comes back, and it never stays behind."""

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge.bench.proxy import Proxy
from edge.inference import server
from edge.inference.canary import as_bytes, make_canary
from edge.inference.client import InferenceClient
from edge.inference.errors import CanaryError, ServerError
from edge.inference.events import Event, Plan, Served, ServerLost, ServerReady, Timing
from edge.inference.hosts import EmbeddedHost
from edge.inference.launch import Ports, free_ports
from edge.inference.options import ServerOptions
from edge.inference.requests import Completion, InferenceError, Request, Span, Submitter
from edge.inference.shared_memory import Namespace
from edge.inference.shm_names import SHM_FOLDER
from edge.inference.supervisor import Supervisor
from edge.inference.variants import without_byte
from tests.system.conftest import Serve, Serving
from tests.system.witness import PATIENCE_S, entries, eventually, port_open, process_runs, processes_named
from tests.unit.inference.graphs import COUNTS, ECHO

pytestmark = pytest.mark.usefixtures("triton")

U16 = np.array([[[0, 1, 255], [256, 65533, 65534]], [[65535, 2, 3], [4, 5, 6]]], np.uint16)
JOINED = np.array([[[0, 1, 255], [256, 65533, 0]], [[0, 2, 3], [4, 5, 6]]], np.float32)


def ask(client: Submitter, request: Request) -> Completion:
    done: queue.SimpleQueue[Completion] = queue.SimpleQueue()
    client.submit(request, done.put)
    return done.get(timeout=PATIENCE_S)


def inline_request(frames: np.ndarray = U16) -> Request:
    data = as_bytes(frames)
    n, height, width, itemsize = data.shape
    return Request(1, COUNTS.variant(itemsize), (n, height, width, itemsize), data, ("counts", "total"))


def infer_by_shm(serving: Serving, client: Submitter) -> None:
    data = as_bytes(U16)
    arena = serving.arena
    arena.view[: data.size] = data.reshape(-1)
    frame = Span(arena.name, 0, data.size)
    counts, total = Span(arena.name, 1024, JOINED.nbytes), Span(arena.name, 2048, 8)
    answer = ask(client, Request(7, "counts_u16", (2, 2, 3, 2), frame, {"counts": counts, "total": total}))
    assert answer.error is None and answer.outputs is None
    assert answer.shapes == {"counts": (2, 2, 3), "total": (2, 1)}
    found = arena.view[1024 : 1024 + JOINED.nbytes].view(np.float32).reshape(JOINED.shape)
    assert np.array_equal(found, JOINED)
    assert arena.view[2048:2056].view(np.float32).tolist() == JOINED.sum(axis=(1, 2)).tolist()


def test_infers_by_shared_memory_and_inline_and_leaves_nothing(serve: Serve) -> None:
    with serve() as serving:
        ready = serving.ready()
        assert ready.transport == "shm"
        infer_by_shm(serving, ready.client)
        answer = ask(ready.client, inline_request())
        assert answer.outputs is not None and np.array_equal(answer.outputs["counts"], JOINED)
        echoed = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
        answer = ask(ready.client, Request("e", "echo_u8", (2, 3, 4, 1), echoed, ("bytes",)))
        assert answer.outputs is not None and np.array_equal(answer.outputs["bytes"], echoed)
        running, prefix = serving.running, serving.namespace.prefix
        assert all(map(port_open, (running.ports.grpc, running.ports.metrics)))
        theirs = [SHM_FOLDER / name for name in entries(f"{prefix}-t1.")]
        assert theirs and all(path.stat().st_mode & 0o077 == 0 for path in theirs)
        assert len(processes_named(prefix)) >= 4
    assert isinstance(lost := serving.next_event(), ServerLost)
    assert (lost.epoch, lost.reason, lost.gone) == (1, "stopped", True)
    assert processes_named(prefix) == [] and entries(prefix) == []
    assert not any(map(port_open, (running.ports.grpc, running.ports.metrics)))


def test_errors_have_kinds(serve: Serve) -> None:
    with serve() as serving:
        client = serving.ready().client
        assert isinstance(client, InferenceClient)
        data = as_bytes(U16)
        cases = {
            "model_missing": Request(1, "nobody", (2, 2, 3, 2), data, ("counts",)),
            "bad_request": Request(2, "counts_u16", (2, 2, 6, 1), data.reshape(2, 2, 6, 1), ("counts",)),
        }
        found = {kind: ask(client, request).error for kind, request in cases.items()}
        kinds = {kind: error.kind if error else None for kind, error in found.items()}
        assert kinds == {kind: kind for kind in kinds}, found
        with InferenceClient(serving.running.url) as stranger, pytest.raises(InferenceError, match="restricted"):
            stranger.load("counts_u16")
        serving.arena.view[:] = 0
        client.register(serving.arena)  # once more: registered anew, not refused
        assert serving.arena.name in client.registered(serving.namespace.prefix)
    late = ask(client, inline_request()).error
    assert late is not None and late.kind == "unavailable"


def test_every_request_of_a_flood_is_answered_once(serve: Serve) -> None:
    with serve() as serving:
        client = serving.ready().client
        frame, total = Span(serving.arena.name, 0, 4 * 128 * 128 * 2), Span(serving.arena.name, 1 << 19, 16)
        done: queue.SimpleQueue[Completion] = queue.SimpleQueue()
        for number in range(400):
            client.submit(Request(number, "counts_u16", (4, 128, 128, 2), frame, {"total": total}), done.put)
        answers = [done.get(timeout=PATIENCE_S) for _ in range(400)]
        assert sorted(int(answer.request_id) for answer in answers) == list(range(400))
        assert all(answer.error is None and answer.settled for answer in answers)
        infer_by_shm(serving, client)


def test_killed_server_comes_back_with_a_new_epoch(serve: Serve) -> None:
    with serve() as serving:
        first = serving.ready()
        killed = serving.running.pid
        pending: queue.SimpleQueue[Completion] = queue.SimpleQueue()
        for _ in range(20):
            first.client.submit(inline_request(), pending.put)
        os.kill(killed, signal.SIGKILL)
        lost = serving.next_event()
        assert isinstance(lost, ServerLost) and lost.gone and "SIGKILL" in lost.reason
        assert entries(f"{serving.namespace.prefix}-t1.") == []
        assert len([pending.get(timeout=PATIENCE_S) for _ in range(20)]) == 20
        second = serving.ready()
        assert second.epoch == first.epoch + 1 and serving.running.pid != killed
        infer_by_shm(serving, second.client)
        assert serving.supervisor.restarts == 1


def test_killed_model_process_is_noticed(serve: Serve) -> None:
    with serve() as serving:
        first = serving.ready()
        pids = processes_named(f"{serving.namespace.prefix}-t1.")
        stubs = [pid for pid in pids if b"counts_u16_0_0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(stubs[0], signal.SIGKILL)
        eventually(lambda: ask(first.client, inline_request()).error is not None, "an error from the dead process")
        assert isinstance(serving.next_event(), ServerLost)
        infer_by_shm(serving, serving.ready().client)


def test_server_that_forgot_our_memory_is_set_up_anew(serve: Serve) -> None:
    with serve() as serving:
        client = serving.ready().client
        assert isinstance(client, InferenceClient)
        client.unregister(serving.arena.name)
        spans = {"counts": Span(serving.arena.name, 1024, JOINED.nbytes)}
        error = ask(client, Request(3, "counts_u16", (2, 2, 3, 2), Span(serving.arena.name, 0, 24), spans)).error
        assert error is not None and error.kind == "unavailable"
        assert isinstance(serving.next_event(), ServerLost)
        infer_by_shm(serving, serving.ready().client)


def test_hung_server_is_killed_and_replaced(serve: Serve) -> None:
    with serve(timing=Timing(probe_every_s=0.2, probe_deadline_s=0.5)) as serving:
        serving.ready()
        os.kill(serving.running.pid, signal.SIGSTOP)
        lost = serving.next_event()
        assert isinstance(lost, ServerLost) and lost.gone and "does not answer" in lost.reason
        infer_by_shm(serving, serving.ready().client)


@contextmanager
def holder(models: Path, cache: Path) -> Iterator[tuple["subprocess.Popen[str]", dict[str, int], str]]:
    command = [sys.executable, "-m", "tests.system.holder", str(models), str(cache)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, process_group=0) as process:
        try:
            assert process.stdout is not None
            owned = json.loads(process.stdout.readline())
            yield process, owned, str(owned["prefix"])
        finally:
            process.kill()


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "Ctrl-C"])
def test_server_does_not_outlive_its_parent(how: str, tiny_models: Path, server_cache: Path) -> None:
    with holder(tiny_models, server_cache) as (process, owned, prefix):
        assert process_runs(owned["server"]) and entries(prefix)
        if how == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.Signals[how])
        eventually(lambda: not processes_named(prefix), "no process left")
        eventually(lambda: not entries(prefix), "no shared memory left")
        assert not port_open(owned["port"])


def test_server_dies_with_its_guardian_and_comes_back(serve: Serve) -> None:
    with serve() as serving:
        serving.ready()
        host, server_pid = serving.supervisor.host, serving.running.pid
        assert isinstance(host, EmbeddedHost) and host.triton.guardian_pid is not None
        os.kill(host.triton.guardian_pid, signal.SIGKILL)
        lost = serving.next_event()
        assert isinstance(lost, ServerLost) and lost.gone and "guardian" in lost.reason
        assert not process_runs(server_pid) and not processes_named(f"{serving.namespace.prefix}-t1.")
        assert entries(f"{serving.namespace.prefix}-t1.") == []
        infer_by_shm(serving, serving.ready().client)


def test_nothing_runs_on_when_guardian_and_parent_are_killed(tiny_models: Path, server_cache: Path) -> None:
    with holder(tiny_models, server_cache) as (process, owned, prefix):
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(owned["guardian"], signal.SIGKILL)
        process.kill()
        eventually(lambda: not processes_named(prefix), "no process left")
    with Namespace():  # the next start removes what nobody could
        assert entries(prefix) == []


def test_model_that_does_not_load_is_one_clear_line(tmp_path: Path, tiny_models: Path, serve: Serve) -> None:
    models = shutil.copytree(tiny_models, tmp_path / "models")
    graph = models / "counts" / "1" / "model.onnx"
    import onnx

    model = onnx.load(graph)
    model.opset_import[0].version = 999
    onnx.save(model, graph)
    with pytest.raises(ServerError) as caught, serve(source=models, models=(Served(COUNTS),)):
        pass
    text = str(caught.value)
    assert text.startswith("counts_u16 does not load: ") and "opset" in text.lower() and "\n" not in text
    assert processes_named(f"edge-{os.getpid()}-") == []


@pytest.mark.parametrize("transport", ["shm", "inline"])
def test_wrong_canary_never_gets_ready(tmp_path: Path, tiny_models: Path, serve: Serve, transport: str) -> None:
    models = shutil.copytree(tiny_models, tmp_path / "models")
    path = models / "counts" / "1" / "canary.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["u16_counts"] = arrays["u16_counts"] + 2.5
    np.savez(path, **arrays)
    off = r"counts_u16: counts is off by up to 2\.5"
    with pytest.raises(CanaryError, match=off), serve(source=models, transport=transport):
        pass
    assert processes_named(f"edge-{os.getpid()}-") == []


def test_two_servers_do_not_disturb_each_other(serve: Serve) -> None:
    with serve() as one, serve() as other:
        ready = one.ready()
        os.kill(other.running.pid, signal.SIGKILL)
        assert isinstance(other.ready(), ServerReady)
        assert isinstance(other.next_event(), ServerLost)
        infer_by_shm(one, ready.client)
        infer_by_shm(other, other.ready().client)
        assert one.events.empty()


def test_remote_server_is_lost_when_it_hangs_and_found_again(serve: Serve, tiny_models: Path) -> None:
    with serve(timing=Timing(probe_every_s=600, canary_every_s=600)) as theirs, Namespace() as namespace:
        theirs.ready()
        arena = namespace.region("frames", 1 << 20)
        events: queue.Queue[Event] = queue.Queue()
        timing = Timing(probe_every_s=0.2, foreign_deadline_s=0.5)
        url, token = theirs.running.url, theirs.running.token
        plan = Plan((Served(COUNTS),), namespace, (arena,), url, token, source=tiny_models, timing=timing)
        with Supervisor(plan, events.put) as supervisor:
            ours = Serving(supervisor, events, namespace, arena)
            assert ours.ready().transport == "shm"
            os.kill(theirs.running.pid, signal.SIGSTOP)
            lost = ours.next_event()
            assert isinstance(lost, ServerLost) and not lost.gone
            os.kill(theirs.running.pid, signal.SIGCONT)
            again = ours.ready()
            assert (again.epoch, again.transport) == (2, "shm")
            infer_by_shm(ours, again.client)
        with InferenceClient(url, token=token) as client:
            assert client.registered(namespace.prefix) == []
            assert theirs.arena.name in client.registered("edge-")
            assert all(name.startswith(theirs.namespace.prefix) for name in client.registered("edge-"))


def test_server_behind_a_cut_connection_has_to_pass_the_canaries_again(
    serve: Serve, tiny_models: Path, tmp_path: Path
) -> None:
    """Restarted between two probes it may have other weights: its answers must not be taken for our model's."""
    other_models = shutil.copytree(tiny_models, tmp_path / "models")
    _make_blind(other_models / "counts" / "1")
    patient = Timing(probe_every_s=600, canary_every_s=600)
    with serve(timing=patient) as theirs, serve(source=other_models) as others, Namespace() as namespace:
        events: queue.Queue[Event] = queue.Queue()
        with Proxy(theirs.running.ports.grpc) as proxy:
            arena = namespace.region("frames", 1 << 20)
            url, token = f"127.0.0.1:{proxy.port}", theirs.running.token
            plan = Plan((Served(COUNTS),), namespace, (arena,), url, token, source=tiny_models)
            with Supervisor(plan, events.put) as supervisor:
                ours = Serving(supervisor, events, namespace, arena)
                first = ours.ready()
                infer_by_shm(ours, first.client)
                pending: queue.SimpleQueue[Completion] = queue.SimpleQueue()
                os.kill(theirs.running.pid, signal.SIGSTOP)
                first.client.submit(inline_request(), pending.put)
                with pytest.raises(queue.Empty):  # it is on its way
                    pending.get(timeout=0.5)
                proxy.cut(others.running.ports.grpc)
                os.kill(theirs.running.pid, signal.SIGCONT)
                assert pending.get(timeout=PATIENCE_S).error is not None
                answers = [ask(first.client, inline_request()) for _ in range(40)]
                assert {answer.error.kind if answer.error else "answered" for answer in answers} == {"unavailable"}
                assert isinstance(ours.next_event(), ServerLost)
                with pytest.raises(queue.Empty):
                    events.get(timeout=2)  # the other one is never ready
                proxy.cut(theirs.running.ports.grpc)
                second = ours.ready()
                assert second.epoch == 2
                infer_by_shm(ours, second.client)


def _make_blind(version: Path) -> None:
    """Give the model other weights, and a canary that agrees with them."""
    blind = without_byte((version / "model.onnx").read_bytes(), 1)
    assert blind is not None
    (version / "model.onnx").write_bytes(blind)
    with np.load(version / "canary.npz") as stored:
        arrays = dict(stored)
    np.savez(
        version / "canary.npz",
        **{
            **arrays,
            **{  # pyright: ignore[reportArgumentType]
                f"u16_{name}": array for name, array in make_canary(blind, arrays["u16_frame"]).items()
            },
        },
    )


def test_remote_server_that_keeps_its_memory_to_itself_is_used_inline(serve: Serve, tiny_models: Path) -> None:
    with serve() as theirs, Namespace() as namespace:
        arena = namespace.region("frames", 1 << 20)
        events: queue.Queue[Event] = queue.Queue()
        plan = Plan((Served(COUNTS),), namespace, (arena,), theirs.running.url, source=tiny_models)
        with Supervisor(plan, events.put) as supervisor:
            ready = Serving(supervisor, events, namespace, arena).ready()
            assert ready.transport == "inline"
            assert ask(ready.client, inline_request()).error is None


def test_absent_remote_server_is_one_clear_line(tiny_models: Path) -> None:
    with Namespace() as namespace:
        timing = Timing(connect_s=0.3)
        plan = Plan((Served(COUNTS),), namespace, url="127.0.0.1:1", source=tiny_models, timing=timing)
        with pytest.raises(ServerError, match=r"no inference server answers at 127\.0\.0\.1:1: "):
            Supervisor(plan, lambda _: None).start()


def test_port_that_somebody_took_meanwhile_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        offers = iter([Ports(somebody.getsockname()[1], free_ports().metrics), free_ports()])
        monkeypatch.setattr(server, "free_ports", lambda: next(offers))
        with serve() as serving:
            infer_by_shm(serving, serving.ready().client)
            assert serving.events.empty()


def test_stop_while_starting_is_quick(tiny_models: Path, server_cache: Path) -> None:
    with Namespace() as namespace:
        options = ServerOptions(cache_dir=server_cache)
        supervisor = Supervisor(Plan((Served(ECHO),), namespace, server=options, source=tiny_models), lambda _: None)
        failed: queue.Queue[str] = queue.Queue()

        def start() -> None:
            try:
                supervisor.start()
            except ServerError as error:
                failed.put(str(error))

        starting = threading.Thread(target=start)
        starting.start()
        eventually(lambda: processes_named(namespace.prefix), "a process that starts")
        supervisor.stop()
        starting.join(PATIENCE_S)
        assert not starting.is_alive() and supervisor.state == "stopped"
        assert processes_named(namespace.prefix) == []
