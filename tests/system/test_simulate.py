"""The simulated detector as its clients meet it: real HTTP, real sockets, third-party readers, the real command."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import h5py
import hdf5plugin  # noqa: F401  registers the filter
import httpx
import numpy as np
import pytest

from edge.http.limits import USUAL
from edge.simulate.scene import Scene
from edge.simulate.simulator import HIGH_WATER_MARK, Addresses, Options, running
from streams import sockets
from streams.codecs import DECODERS
from streams.messages import Frame, Message, SeriesEnd, SeriesStart
from tests.decoded import pixels
from tests.system.witness import eventually

PATIENCE_S = 30.0
SHAPE = (96, 160)  # not square: a swapped shape must not pass
DETECTOR, SIMULATOR = "/detector/api/1.8.0", "/simulator/api/1.0"


def noisy(x: float, y: float, exposure_s: float, beam: float, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    return rng.poisson(3, SHAPE).astype(np.uint16)


def image_of(number: int, seed: int = 0, series: int = 0) -> np.ndarray[Any, Any]:
    """What `noisy` shows as image `number` of the series that was armed as number `series`."""
    return noisy(0, 0, 0, 0, np.random.default_rng((seed, 1, series, number)))


SCENE = Scene(SHAPE, "uint16", noisy)


class Client:
    """A client of the HTTP interface."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=PATIENCE_S)

    def put(self, path: str, *value: Any) -> Any:
        answer = self.http.put(path, **({"json": {"value": value[0]}} if value else {}))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    def command(self, name: str) -> Any:
        return self.put(f"{DETECTOR}/command/{name}")

    def arm(self, **config: Any) -> Any:
        self.command("initialize")
        for name, value in config.items():
            self.put(f"{DETECTOR}/config/{name}", value)
        return self.command("arm")

    @property
    def state(self) -> str:
        return self.get(f"{DETECTOR}/status/state")


@contextmanager
def simulator(scene: Scene = SCENE, **options: Any) -> Iterator[tuple[Client, Addresses]]:
    with running(Options(**options), scene) as addresses:
        client = Client(addresses.http)
        try:
            yield client, addresses
        finally:
            client.http.close()


class Receiver:
    """Reads one series in a thread of its own; connected once the context is entered."""

    def __init__(self, address: str, protocol: str) -> None:
        self.messages: list[Message] = []
        self._address, self._protocol = address, protocol
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> "Receiver":
        self._reading: Future[None] = self._thread.submit(self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def series(self) -> tuple[SeriesStart, list[Frame], SeriesEnd]:
        self._reading.result(PATIENCE_S)
        start, *frames, end = self.messages
        assert isinstance(start, SeriesStart) and isinstance(end, SeriesEnd)
        assert all(isinstance(frame, Frame) for frame in frames)
        return start, frames, end  # type: ignore[return-value]

    def _read(self) -> None:
        decoder = DECODERS[self._protocol]("detector")
        with sockets.context() as ctx:
            pull = sockets.pull(ctx)
            pull.connect(self._address)
            while not self.messages or not isinstance(self.messages[-1], SeriesEnd):
                parts = pull.receive(int(PATIENCE_S * 1000))
                assert parts is not None, f"nothing came after {len(self.messages)} messages"
                self.messages += decoder.decode(parts, time.time_ns())


@pytest.mark.parametrize("protocol", ["simplon-v1", "stream-v2"])
def test_a_series_is_streamed_and_written_as_it_was_triggered(protocol: str, tmp_path: Path) -> None:
    with (
        simulator(protocol=protocol, folder=tmp_path, positions=True) as (client, addresses),
        Receiver(addresses.stream, protocol) as receiver,
    ):
        client.put(f"{SIMULATOR}/stage/y", 0.001)
        assert client.arm(nimages=3, ntrigger=4, frame_time=0.01) == {"sequence id": 1}
        for _ in range(2):
            began = time.monotonic()
            assert client.command("trigger") == {"sequence id": 1}
            assert time.monotonic() - began >= 0.03
        client.command("disarm")
        start, frames, _ = receiver.series()
        uid = client.get(f"{DETECTOR}/status/series_unique_id")
    assert (start.series_id, start.expected, start.shape) == (1, 12, SHAPE)
    if protocol == "stream-v2":
        assert start.series_uid == uid
    else:
        assert (start.header["nimages"], start.header["ntrigger"]) == (3, 4)
    assert [frame.image_id for frame in frames] == list(range(6))
    for frame in frames:
        np.testing.assert_array_equal(pixels(frame), image_of(frame.image_id))
        assert frame.user_data == {"position": {"x": 0.0, "y": 0.001}}
    with h5py.File(tmp_path / "series_1_master.h5") as master:
        written = master["entry/data/data_000001"]
        assert isinstance(written, h5py.Dataset)
        np.testing.assert_array_equal(written[:], [image_of(number) for number in range(6)])


@pytest.mark.parametrize("compression", ["bslz4", "lz4"])
def test_libertem_reads_a_series_that_was_triggered_over_http(
    libertem: ModuleType, tmp_path: Path, compression: str
) -> None:
    count = 12
    received = np.zeros((count, *SHAPE), np.uint16)
    with simulator(protocol="simplon-v1") as (client, addresses), ThreadPoolExecutor(1) as operator:
        connection = libertem.DectrisConnection(
            uri=addresses.stream,
            frame_stack_size=4,
            handle_path=str(tmp_path / "shm"),
            num_slots=50,
            bytes_per_frame=SHAPE[0] * SHAPE[1] * 8,
            huge=False,
        )
        try:
            connection.start_passive()
            assert client.arm(nimages=4, ntrigger=3, frame_time=0.005, compression=compression) == {"sequence id": 1}
            armed = connection.wait_for_arm(PATIENCE_S)
            assert armed is not None
            config, series = armed
            assert (config.get_num_frames(), series) == (count, 1)
            triggering = operator.submit(lambda: [client.command("trigger") for _ in range(3)])
            reader = libertem.CamClient(connection.get_socket_path())
            at = 0
            while at < count:
                stack = connection.get_next_stack(max_size=4)
                assert stack is not None, f"the client ended the series after {at} images"
                reader.decode_range_into_buffer(stack, received[at : at + len(stack)], 0, len(stack))
                at += len(stack)
                reader.done(stack)
            reader.close()
            triggering.result(PATIENCE_S)
        finally:
            connection.close()
    np.testing.assert_array_equal(received, [image_of(number) for number in range(count)])


@pytest.mark.parametrize("command", ["abort", "disarm", "cancel"])
def test_another_client_ends_an_exposure(command: str) -> None:
    with simulator() as (client, addresses), Receiver(addresses.stream, "stream-v2") as receiver:
        client.arm(nimages=1000, frame_time=0.05 if command == "cancel" else 600.0)  # in vain were it to be waited for
        with ThreadPoolExecutor(1) as other:
            trigger = other.submit(client.http.put, f"{DETECTOR}/command/trigger")
            eventually(lambda: client.state == "acquire", "the detector exposes")
            assert client.command(command) == {"sequence id": 1}
            assert client.state == "idle"
            refused = trigger.result(PATIENCE_S)
        assert refused.status_code == 409 and "ended by another command" in refused.json()["error"]
        _, frames, _ = receiver.series()
        assert len(frames) == client.get(f"{SIMULATOR}/series")["images"] < 1000


def test_leaving_answers_whoever_waits_and_ends_the_series() -> None:
    with ThreadPoolExecutor(2) as others, running(Options(), SCENE) as addresses:
        first, second = Client(addresses.http), Client(addresses.http)
        with ExitStack() as leaving:
            receiver = leaving.enter_context(Receiver(addresses.stream, "stream-v2"))
            first.arm(frame_time=600.0)
            trigger = others.submit(first.http.put, f"{DETECTOR}/command/trigger")
            eventually(lambda: second.state == "acquire", "the detector exposes")
            counting = others.submit(second.http.put, f"{SIMULATOR}/monitor/count", json={"value": 60})
            leaving.pop_all()
    assert trigger.result(PATIENCE_S).status_code == 409
    assert counting.result(PATIENCE_S).status_code == 503
    receiver.series()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{addresses.http}{DETECTOR}/status/state")
    first.http.close()
    second.http.close()


def test_nobody_receives() -> None:
    with simulator() as (client, _):
        client.arm(nimages=5, ntrigger=2, frame_time=0.002)
        client.command("trigger")
        assert client.get("/stream/api/1.8.0/status/dropped") == 5
        client.command("disarm")
        assert client.state == "idle"


def test_a_receiver_that_does_not_read_costs_frames_and_nothing_else() -> None:
    shape, images = (256, 256), HIGH_WATER_MARK + 400  # the kernel's buffers take some too

    def render(x: float, y: float, exposure_s: float, beam: float, rng: np.random.Generator) -> np.ndarray[Any, Any]:
        return stack

    stack = np.random.default_rng(0).integers(0, 2**16, shape, np.uint16)
    with simulator(Scene(shape, "uint16", render)) as (client, addresses), sockets.context() as ctx:
        pull = sockets.pull(ctx, high_water_mark=1)
        pull.connect(addresses.stream)
        client.arm(nimages=images, ntrigger=2, frame_time=0.001, compression="none")
        client.command("trigger")
        dropped = client.get("/stream/api/1.8.0/status/dropped")
        assert 100 < dropped < images - 100
        received = []
        decoder = DECODERS["stream-v2"]("detector")
        with ThreadPoolExecutor(1) as operator:
            ending = operator.submit(client.command, "disarm")  # waits for the receiver, which reads on
            while not received or not isinstance(received[-1], SeriesEnd):
                parts = pull.receive(int(PATIENCE_S * 1000))
                assert parts is not None
                received += decoder.decode(parts, 1)
            ending.result(PATIENCE_S)
    frames = [message for message in received if isinstance(message, Frame)]
    assert isinstance(received[0], SeriesStart) and len(frames) == images - dropped


def test_a_silent_command_leaves_its_client_waiting_and_the_others_served() -> None:
    with simulator() as (client, addresses):
        client.arm(frame_time=0.002)
        client.put(f"{SIMULATOR}/faults", {"silent_commands": ["trigger"]})
        with Client(addresses.http).http as patient, pytest.raises(httpx.ReadTimeout):
            patient.put(f"{DETECTOR}/command/trigger", timeout=0.5)
        assert client.get(f"{SIMULATOR}/series")["triggers"] == 1 and client.state == "idle"


def test_the_stage_moves_in_real_time() -> None:
    with simulator() as (client, _):
        client.put(f"{SIMULATOR}/stage/x/speed", 100.0)
        assert client.put(f"{SIMULATOR}/stage/x", 0.75)["target"] == 0.75
        eventually(lambda: client.get(f"{SIMULATOR}/stage/x") == 0.75, "the stage arrives")
        assert client.http.get(f"{SIMULATOR}/stage/x").json()["moving"] is False
        refused = client.http.put(f"{SIMULATOR}/stage/x", json={"value": 1.5})
        assert refused.status_code == 400 and "0 to 1 mm" in refused.json()["error"]


def talk(address: str, request: bytes) -> bytes:
    """Everything that the server says until it closes the connection."""
    where = urlsplit(address)
    assert where.hostname and where.port
    with socket.create_connection((where.hostname, where.port), timeout=PATIENCE_S) as connection:
        connection.sendall(request)
        said = b""
        while more := connection.recv(65536):
            said += more
    return said


def test_what_is_no_request_is_refused_as_json() -> None:
    put = b"PUT /detector/api/1.8.0/config/nimages HTTP/1.1\r\nHost: x\r\n"
    with simulator() as (client, addresses):
        for sent, status in ((b"nonsense\r\n\r\n", 400), (put + b"Content-Length: 999999999999\r\n\r\n", 413)):
            head, _, body = talk(addresses.http, sent).partition(b"\r\n\r\n")
            assert head.split()[1] == b"%d" % status
            assert set(json.loads(body)) == {"error"}
        assert client.state == "na"


def test_more_connections_than_there_are_threads() -> None:
    with simulator() as (client, addresses):
        where = urlsplit(addresses.http)
        assert where.hostname and where.port
        address = (where.hostname, where.port)
        with ExitStack() as stack:
            opened = [
                stack.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
                for _ in range(USUAL.connections + 1)
            ]
            assert opened[0].recv(1) == b""  # it made room
            assert client.state == "na"


def test_many_clients_at_once_and_one_series() -> None:
    """Whoever comes first is obeyed; all others are refused in words."""
    with simulator() as (client, addresses), ThreadPoolExecutor(16) as others:
        client.command("initialize")
        start = threading.Barrier(16)

        def arm(_: int) -> int:
            start.wait(PATIENCE_S)
            return httpx.put(f"{addresses.http}{DETECTOR}/command/arm", timeout=PATIENCE_S).status_code

        assert sorted(others.map(arm, range(16))) == [200] + [409] * 15


COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from edge.commands.simulate import simulate; simulate()"
)


def command(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", COMMAND, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "EOF"])
def test_the_command_ends_in_order(how: str, tmp_path: Path) -> None:
    with command("--json", "--stop-at-eof", "--write", str(tmp_path / "new" / "folder")) as process:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        assert addresses["pid"] == process.pid and addresses["stream"].startswith("tcp://127.0.0.1:")
        with Receiver(addresses["stream"], "stream-v2") as receiver:
            client = Client(addresses["http"])
            client.arm(nimages=2, ntrigger=2, frame_time=0.025)
            client.command("trigger")
            client.http.close()
            output, errors = process.communicate(timeout=PATIENCE_S) if how == "EOF" else end(process, how)
            _, frames, _ = receiver.series()
    assert (process.returncode, output) == (0, "")
    assert "Traceback" not in errors
    assert [frame.image_id for frame in frames] == [0, 1] and frames[0].shape == (256, 256)
    with h5py.File(tmp_path / "new" / "folder" / "series_1_master.h5") as master:
        written = master["entry/data/data_000001"]
        assert isinstance(written, h5py.Dataset)
        np.testing.assert_array_equal(written[0], pixels(frames[0]))


def end(process: "subprocess.Popen[str]", how: str) -> tuple[str, str]:
    process.send_signal(getattr(signal, how))
    assert process.stdout is not None and process.stderr is not None
    process.wait(PATIENCE_S)
    return process.stdout.read(), process.stderr.read()


def test_the_command_says_where_it_is() -> None:
    with command() as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(
            r"control (http://127\.0\.0\.1:\d+), stream-v2 on tcp://127\.0\.0\.1:\d+; Ctrl-C ends it", line
        )
        assert match is not None, line
        assert httpx.get(f"{match[1]}{DETECTOR}/status/state").json()["value"] == "na"
        end(process, "SIGTERM")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bind", "nonsense"], "cannot bind 'nonsense'"),
        (["--http", "nonsense"], "--http: 'nonsense' is not HOST:PORT"),
        (["--http", "127.0.0.1:99999"], "--http: '127.0.0.1:99999' is not HOST:PORT"),
        (["--http", "no.such.host.invalid:8000"], "can be reached from other machines"),
        (["--http", "no.such.host.invalid:8000", "--plain"], "cannot listen on no.such.host.invalid:8000"),
        (["--http", "TAKEN"], "the port is in use"),
        (["--write", "/dev/null/x"], "cannot write into /dev/null/x"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(arguments: list[str], words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        arguments = [f"127.0.0.1:{taken.getsockname()[1]}" if each == "TAKEN" else each for each in arguments]
        with command(*arguments) as process:
            output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output) == (1, "")
    assert errors.splitlines()[-1].startswith("Error: ") and words in errors.splitlines()[-1]
    assert "Traceback" not in errors
