"""`edge init`, `edge watch` and the count of drops that a detector keeps: simulated, over real HTTP and ZeroMQ."""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import numpy as np
import pytest

from edge.config import load
from edge.demo.children import data_plane
from edge.pipeline.dropped import DroppedBook, Reading
from edge.simplon.dropped import DroppedPoll
from edge.simulate.scene import Scene
from edge.simulate.simulator import HIGH_WATER_MARK, Addresses, Options, running
from streams.codecs.results import SeriesEnded
from streams.sockets import context
from streams.subscriber import Subscriber
from tests.system.serving import CONFIG
from tests.system.witness import eventually

PATIENCE_S = 60.0
DETECTOR = "/detector/api/1.8.0"


def noise(shape: tuple[int, int]) -> Callable[..., np.ndarray]:
    def render(x: float, y: float, exposure_s: float, beam: float, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, 1000, shape, np.uint16)

    return render


@contextmanager
def simulated(
    shape: tuple[int, int], protocol: str = "stream-v2", port: int = 0
) -> Iterator[tuple[Addresses, httpx.Client]]:
    options = Options(protocol=protocol, bind="tcp://127.0.0.1:*", port=port)
    with (
        running(options, Scene(shape, "uint16", noise(shape))) as addresses,
        httpx.Client(base_url=addresses.http, timeout=PATIENCE_S) as client,
    ):
        yield addresses, client


def put(client: httpx.Client, path: str, *value: Any) -> None:
    answer = client.put(path, **({"json": {"value": value[0]}} if value else {}))
    assert answer.status_code == 200, answer.text


def arm(client: httpx.Client, images: int, triggers: int = 1) -> None:
    """A series of so many images a trigger, 250 a second."""
    put(client, f"{DETECTOR}/command/initialize")
    for name, value in (("nimages", images), ("ntrigger", triggers), ("frame_time", 0.004)):
        put(client, f"{DETECTOR}/config/{name}", value)
    put(client, f"{DETECTOR}/command/arm")


def trigger(client: httpx.Client) -> None:
    """Returns when the images are exposed; after the last trigger, when the series has ended."""
    put(client, f"{DETECTOR}/command/trigger")


def measure(client: httpx.Client, images: int) -> None:
    """A series of one trigger, to its end."""
    arm(client, images)
    trigger(client)


def init(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "edge", "init", *arguments], capture_output=True, text=True, timeout=PATIENCE_S
    )


@contextmanager
def watching(config: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "edge", "watch", "-c", str(config), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def on_free_ports(config: Path) -> None:
    """The addresses of the file replaced by free ones, so that tests do not meet."""
    text = config.read_text()
    for taken, free in (("127.0.0.1:5600", "127.0.0.1:*"), ("127.0.0.1:5601", "127.0.0.1:*"), (":9100", ":0")):
        assert taken in text
        text = text.replace(taken, free)
    config.write_text(text)


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize("protocol", ["simplon-v1", "stream-v2"])
def test_a_detector_is_asked_and_its_frames_are_inferred(tmp_path: Path, protocol: str) -> None:
    """From nothing but the detector's address to a verdict: init, watch, a series with and one without a loss."""
    config = tmp_path / "edge.toml"
    with simulated((120, 200), protocol) as (addresses, client):
        done = init("--detector", addresses.http, "--stream", addresses.stream, "-o", str(config))
        assert done.returncode == 0, done.stderr
        assert "200 x 120 pixels, 16 bits" in done.stdout and "edge tee" in done.stdout
        on_free_ports(config)
        source = load(config).source[0]
        assert (source.protocol, source.address, source.detector_url) == (protocol, addresses.stream, addresses.http)
        with watching(config, "--json") as process:
            assert process.stdout is not None
            measure_until_connected(client)
            first = json.loads(process.stdout.readline())
            put(client, "/simulator/api/1.0/faults", {"lose": [3, 4]})
            measure(client, 10)
            second = json.loads(process.stdout.readline())
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=PATIENCE_S)
    assert (first["route"], first["verdict"], first["arrivals"]["received"]) == ("peaks", "complete", 1)
    assert (second["verdict"], second["missing"]) == ("incomplete", {"image": [[3, 5]]})
    assert second["detector_dropped"] == 0  # it sent them, says the detector: they were lost on the way
    assert rest == "" and "1 complete, 1 incomplete" in errors
    assert process.returncode == 3


def until_it_watches(errors: IO[str]) -> None:
    """Return when `edge watch` has connected to the detector."""
    while not (line := errors.readline()).startswith("watching "):
        assert line, "it has ended"


def measure_until_connected(client: httpx.Client) -> None:
    """A series of one image that somebody received: until the data plane is there, the detector drops it."""
    for _ in range(int(PATIENCE_S)):
        measure(client, 1)
        if client.get("/simulator/api/1.0/series").json()["value"]["dropped"] == 0:
            return
        threading.Event().wait(0.5)
    raise AssertionError("the data plane did not connect")


@pytest.mark.usefixtures("triton")
def test_watch_says_in_lines_what_came_and_ends_in_order(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    with simulated((72, 80)) as (addresses, client):
        assert init("--detector", addresses.http, "--stream", addresses.stream, "-o", str(config)).returncode == 0
        on_free_ports(config)
        with watching(config) as process:
            assert process.stdout is not None and process.stderr is not None
            until_it_watches(process.stderr)
            measure_until_connected(client)
            lines = [process.stdout.readline() for _ in range(2)]
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=PATIENCE_S)
    number = re.match(r"series (\d+) of", lines[0])[1]  # those before found nobody
    assert lines[0] == f"series {number} of detector on peaks: 1 images expected\n"
    assert re.match(rf"series {number} of detector on peaks: complete, 1 of 1 images, 1 results, p50", lines[1])
    assert rest == "detector on peaks: 1 series (1 complete), 1 results\n"
    assert process.returncode == 0


@pytest.mark.usefixtures("triton")
def test_watch_says_that_the_data_plane_is_gone(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text(CONFIG.format(protocol="stream-v2", address="tcp://127.0.0.1:1", memory_mib=4))
    with watching(config) as process:
        assert process.stderr is not None
        until_it_watches(process.stderr)
        (serving,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(serving), signal.SIGKILL)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "edge serve ended by itself" in errors and "Traceback" not in errors


def test_watch_says_why_it_cannot_start(tmp_path: Path) -> None:
    with watching(tmp_path / "none.toml") as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith("Error: cannot read") and "Traceback" not in errors


def test_init_asks_and_nothing_else(tmp_path: Path) -> None:
    """Neither a PUT nor a connection to the stream: a real consumer there would lose an image."""
    config = tmp_path / "edge.toml"
    with simulated((72, 80), "simplon-v1") as (addresses, client):
        before = everything(client)
        assert init("--detector", addresses.http, "-o", str(config)).returncode == 0
        assert everything(client) == before
        host = addresses.http.removeprefix("http://").rpartition(":")[0]
        assert load(config).source[0].address == f"tcp://{host}:9999"


def everything(client: httpx.Client) -> list[Any]:
    documents = [client.get(f"/{name}/api/1.8.0/config").json() for name in ("detector", "stream", "filewriter")]
    return [*documents, client.get(f"{DETECTOR}/status/state").json()["value"]]


def test_init_does_not_write_over_a_file(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text("mine")
    with simulated((72, 80)) as (addresses, _):
        refused = init("--detector", addresses.http, "-o", str(config))
        assert refused.returncode == 1 and "--force" in refused.stderr and config.read_text() == "mine"
        assert init("--detector", addresses.http, "-o", str(config), "--force").returncode == 0
    assert load(config).source[0].protocol == "stream-v2"
    assert os.listdir(tmp_path) == ["edge.toml"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://no-such-host.invalid", "is this the right address?"),
        ("https://127.0.0.1", "write http://HOST"),
        ("127.0.0.1:1", "is this the right address?"),
    ],
)
def test_init_says_in_one_line_what_is_wrong(tmp_path: Path, url: str, words: str) -> None:
    done = init("--detector", url, "-o", str(tmp_path / "edge.toml"))
    assert done.returncode == 1 and not (tmp_path / "edge.toml").exists()
    assert words in done.stderr and done.stderr.count("\n") == 1


def test_init_at_a_server_that_is_no_detector(tmp_path: Path) -> None:
    def answer_once() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_once, daemon=True)
        thread.start()
        done = init("--detector", f"http://127.0.0.1:{listener.getsockname()[1]}", "-o", str(tmp_path / "edge.toml"))
        thread.join(PATIENCE_S)
    assert done.returncode == 1 and "not JSON" in done.stderr


def test_the_detector_tells_how_many_nobody_fetched() -> None:
    """No receiver at all: each series' own count, though the counter begins anew at every arm command."""
    book, read = DroppedBook(), queue.Queue[Reading]()
    with simulated((16, 16)) as (addresses, client), DroppedPoll("det", addresses.http, read.put, 3600.0) as poll:
        book.take(read.get(timeout=PATIENCE_S))
        uids = []
        for images in (7, 3, 5):
            measure(client, images)
            uids.append(client.get("/simulator/api/1.0/series").json()["value"]["series_unique_id"])
            poll.ask()
            book.take(read.get(timeout=PATIENCE_S))
        assert [book.of(uid, 0) for uid in uids] == [7, 3, 5]
        assert (poll.readings, poll.errors) == (4, 0)


def test_a_detector_that_is_switched_off_is_asked_on() -> None:
    read = queue.Queue[Reading]()
    with ExitStack() as stack:
        with simulated((16, 16)) as (addresses, _):
            poll = stack.enter_context(DroppedPoll("det", addresses.http, read.put, 0.05))
            assert read.get(timeout=PATIENCE_S).count == 0
        eventually(lambda: poll.errors >= 2, "questions that were not answered")
        port = int(addresses.http.rpartition(":")[2])
        while not read.empty():
            read.get()
        with simulated((16, 16), port=port):
            assert read.get(timeout=PATIENCE_S).count == 0


@pytest.mark.usefixtures("triton")
def test_what_a_data_plane_that_hangs_did_not_fetch_is_explained(tmp_path: Path) -> None:
    """`edge serve` is stopped for a while; what the detector could not send then is missing, and accounted for."""
    with simulated((512, 512)) as (addresses, client), context() as ctx:
        config = CONFIG.format(protocol="stream-v2", address=addresses.stream, memory_mib=16).replace(
            "memory_mib = 16", f'memory_mib = 16\ndetector_url = "{addresses.http}"'
        )
        with data_plane(config, tmp_path) as plane, Subscriber(ctx, plane["handshake"]) as results:
            measure_until_connected(client)
            assert (next_end(results).verdict) == "complete"
            arm(client, HIGH_WATER_MARK + 250, triggers=2)
            os.kill(plane["pid"], signal.SIGSTOP)
            trigger(client)
            os.kill(plane["pid"], signal.SIGCONT)
            trigger(client)
            ended = next_end(results)
            truth = client.get("/simulator/api/1.0/series").json()["value"]
    assert truth["dropped"] > 0
    assert ended.arrivals["missing"] == ended.detector_dropped == truth["dropped"]
    assert ended.reconciled is not None
    assert (ended.reconciled.explained, ended.reconciled.lost) == (truth["dropped"], 0)


def next_end(results: Subscriber) -> SeriesEnded:
    for _ in range(int(PATIENCE_S)):
        while (received := results.receive(1)) is not None:
            if isinstance(received[0], SeriesEnded):
                return received[0]
    raise AssertionError("no series ended")
