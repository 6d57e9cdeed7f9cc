"""`edge tee` in front of a writer: what the writer gets does not depend on anything that happens to the copy."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edge.demo.children import data_plane
from streams.codecs.results import SeriesEnded
from streams.messages import Acquisition, Compression
from streams.simulation.simulator import Sender, Simulation
from streams.sockets import Context, Socket, context, publish, pull, push
from streams.subscriber import Subscriber
from tests.system.serving import CONFIG, descendants, wait_until
from tests.system.tees import FINISH_S, copier, running_tee, taken, taken_up_to

SHAPE = (96, 160)  # not square: a swapped shape must not pass
MANY_PARTS = [bytes([number % 251]) * (number % 7) for number in range(5000)]  # empty ones among them


def simulation(images: int, series_id: int = 34) -> Simulation:
    acquisition = Acquisition(
        series_id=series_id,
        series_uid=f"uid-{series_id}",
        arm_date="2026-01-02T03:04:05Z",
        images=images,
        shape=SHAPE,
        dtype="uint16",
        compression=Compression.BSLZ4,
    )
    return Simulation("simplon-v1", acquisition, image)


def image(image_id: int) -> np.ndarray:
    return np.random.default_rng(image_id).poisson(3, SHAPE).astype(np.uint16)


def bytes_of(simulation: Simulation) -> list[list[bytes]]:
    return [[bytes(part) for part in message.parts] for message in simulation.messages()]


@contextmanager
def detector(ctx: Context) -> Iterator[tuple[Socket, str]]:
    """A detector's socket and its address. It waits for whoever reads slowly."""
    socket = push(ctx, 1)
    yield socket, socket.bind("tcp://127.0.0.1:*")


@contextmanager
def meanwhile(action: Callable[[], Any]) -> Iterator[None]:
    """`action` in a thread; what fails there, pytest reports."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    yield
    thread.join(FINISH_S)
    assert not thread.is_alive()


def send(socket: Socket, messages: Sequence[Sequence[bytes]], pause_s: float = 0.0) -> None:
    for message in messages:
        assert socket.send(message, FINISH_S * 1000)
        time.sleep(pause_s)


def tormented(address: str, enough: threading.Event) -> int:
    """Take copies, hang, go on, and be killed, in turn, until it is `enough`; how many were killed."""
    chance, killed = random.Random(0), 0
    while not enough.is_set():
        with copier(address) as one:
            for step in (one.hang, one.go_on, one.hang):
                enough.wait(chance.uniform(0.02, 0.1))
                step()
        killed += 1
    return killed


def test_the_writer_gets_every_byte_while_copies_are_killed_and_hang() -> None:
    sent = bytes_of(simulation(3000))
    killed: list[int] = []
    enough = threading.Event()
    with context() as ctx, detector(ctx) as (socket, address), running_tee(address, "--copy-mib", "1") as tee:
        with meanwhile(lambda: killed.append(tormented(tee.copy, enough))):
            with meanwhile(lambda: send(socket, sent, 0.001)):
                got = taken(ctx, tee.writer, len(sent))
            enough.set()
        summary = tee.finish()
    assert got == sent
    assert killed[0] >= 3
    assert (summary["received"], summary["written"], summary["left"], summary["errors"]) == (len(sent), len(sent), 0, 0)
    assert summary["copied"] + summary["dropped"] == len(sent)
    assert summary["copied"] > 0 and summary["dropped"] > 0
    assert tee.process.returncode == 0


def test_a_strict_third_party_writer_loses_no_image(libertem: ModuleType, tmp_path: Path) -> None:
    """LiberTEM's client refuses a series in which one image is missing or out of order."""
    images = 1500
    received = np.zeros((images, *SHAPE), np.uint16)
    enough = threading.Event()
    with context() as ctx, detector(ctx) as (socket, address), running_tee(address) as tee:
        sender = Sender(socket, rate_hz=500, peer_timeout_s=FINISH_S, stall_timeout_s=FINISH_S)
        with meanwhile(lambda: tormented(tee.copy, enough)):
            with meanwhile(lambda: sender.send(simulation(images).messages())):
                read_as_libertem(libertem, tee.writer, tmp_path, received)
            enough.set()
        summary = tee.finish()
    assert summary["written"] == images + 2
    for image_id in range(images):
        np.testing.assert_array_equal(received[image_id], image(image_id))


def read_as_libertem(libertem: ModuleType, address: str, folder: Path, received: np.ndarray) -> None:
    connection = libertem.DectrisConnection(
        uri=address,
        frame_stack_size=4,
        handle_path=str(folder / "shm"),
        num_slots=50,
        bytes_per_frame=SHAPE[0] * SHAPE[1] * 8,
        huge=False,
    )
    try:
        connection.start_passive()
        armed = connection.wait_for_arm(20.0)
        assert armed is not None and armed[0].get_num_frames() == len(received)
        client = libertem.CamClient(connection.get_socket_path())
        at = 0
        while at < len(received):
            stack = connection.get_next_stack(max_size=4)
            assert stack is not None, f"the client ended the series after {at} images"
            client.decode_range_into_buffer(stack, received[at : at + len(stack)], 0, len(stack))
            at += len(stack)
            client.done(stack)
        client.close()
    finally:
        connection.close()


def test_a_slow_writer_is_waited_for() -> None:
    sent = bytes_of(simulation(60))
    with context() as ctx, detector(ctx) as (socket, address), running_tee(address) as tee:
        with meanwhile(lambda: send(socket, sent)):
            got = taken(ctx, tee.writer, len(sent), pause_s=0.02)
        summary = tee.finish()
    assert got == sent
    assert summary["written"] == len(sent)


def test_a_writer_that_is_away_holds_up_the_detector() -> None:
    """Messages too large for the buffers of the network: the tee takes what it has room for, and no more."""
    sent = [[b"%d" % number, os.urandom(8 << 20)] for number in range(20)]
    with context() as ctx, detector(ctx) as (socket, address), running_tee(address, "--queue", "1") as tee:
        taken_at_once = 0
        while taken_at_once < len(sent) and socket.send(sent[taken_at_once], 1500):
            taken_at_once += 1
        assert 0 < taken_at_once < 8  # one at hand, one in each queue, and what is on its way
        with meanwhile(lambda: send(socket, sent[taken_at_once:])):
            got = taken(ctx, tee.writer, len(sent))
        summary = tee.finish()
    assert got == sent
    assert summary["writer_stalls"] == 1
    assert "the writer takes nothing" in tee.errors and "takes messages again" in tee.errors


def test_a_copy_that_hangs_from_the_start() -> None:
    sent = [[b"%d" % number, os.urandom(1 << 20)] for number in range(100)]
    with ExitStack() as stack:
        ctx = stack.enter_context(context())
        socket, address = stack.enter_context(detector(ctx))
        tee = stack.enter_context(running_tee(address, "--copy-mib", "8"))
        stack.enter_context(copier(tee.copy)).hang()
        with meanwhile(lambda: send(socket, sent)):
            got = taken(ctx, tee.writer, len(sent))
        summary = tee.finish()
    assert got == sent
    assert summary["dropped"] > 0 and summary["copied"] + summary["dropped"] == len(sent)
    assert "copies are dropped" in tee.errors


def test_writers_that_leave_in_the_middle_get_whole_messages_only() -> None:
    """Each takes what it held with it, as it would without a tee; what the next one gets is whole and in order."""
    sent = [[b"%d" % number, *([os.urandom(1000)] * 200), b"%d" % number] for number in range(600)]
    got: list[list[bytes]] = []
    with context() as ctx, detector(ctx) as (socket, address), running_tee(address, "--queue", "1") as tee:
        with meanwhile(lambda: send(socket, sent)):
            for _ in range(5):  # with what their connections hold they take less than half of it
                with context() as leaving:
                    got += taken(leaving, tee.writer, 7)
            got += taken_up_to(ctx, tee.writer, sent[-1])
        summary = tee.finish()
    numbers = [int(message[0]) for message in got]
    assert numbers == sorted(set(numbers))
    assert all(message == sent[number] for number, message in zip(numbers, got, strict=True))
    assert (summary["received"], summary["errors"]) == (len(sent), 0)


def test_any_number_of_parts_of_any_size_reaches_both() -> None:
    large = os.urandom(100_000_000)
    sent = [[b""], MANY_PARTS, [large], [b"head", large, b"", b"tail"], MANY_PARTS]
    got, copies = both(sent, "--copy-mib", "1024")
    assert got == sent
    assert copies == sent


def test_copies_are_whole_and_in_order() -> None:
    sent = bytes_of(simulation(300))
    got, copies = both(sent)
    assert got == copies == sent


def both(sent: list[list[bytes]], *options: str) -> tuple[list[list[bytes]], list[list[bytes]]]:
    """What a writer and a copy get that are there from the start; the tee connects to the copy."""
    with context() as ctx, context() as other, detector(ctx) as (socket, address):
        copy, copies = pull(other, 1000), list[list[bytes]]()
        ends = ("--copy", copy.bind("tcp://127.0.0.1:*"), "--connect-copy")

        def take_copies() -> None:
            while len(copies) < len(sent) and copy.zmq.poll(FINISH_S * 1000):
                copies.append(copy.zmq.recv_multipart())

        with running_tee(address, *ends, *options) as tee, meanwhile(take_copies):
            with meanwhile(lambda: send(socket, sent)):
                got = taken(ctx, tee.writer, len(sent))
            wait_until(lambda: len(copies) == len(sent), "the last copy", FINISH_S)
            summary = tee.finish()
    assert (summary["copied"], summary["dropped"]) == (len(sent), 0)
    return got, copies


def test_it_connects_and_waits_as_told() -> None:
    """A detector that connects, a writer that listens."""
    sent = bytes_of(simulation(10))
    with context() as ctx:
        writer = pull(ctx)
        ends = ("--bind-from", "--writer", writer.bind("tcp://127.0.0.1:*"), "--connect-writer")
        with running_tee("tcp://127.0.0.1:*", *ends) as tee:
            socket = push(ctx)
            socket.connect(tee.addresses["from"])
            send(socket, sent)
            got = [writer.receive(FINISH_S * 1000) for _ in sent]
            tee.finish()
    assert [[bytes(part) for part in parts] for parts in got if parts] == sent


def test_a_detector_that_publishes() -> None:
    with context() as ctx:
        socket = publish(ctx)
        with running_tee(socket.bind("tcp://127.0.0.1:*"), "--socket", "sub") as tee:
            writer = pull(ctx)
            writer.connect(tee.writer)
            got = None
            while got is None:  # until the subscription is in force
                socket.send([b"image", b"pixels"])
                got = writer.receive(50)
            tee.finish()
    assert [bytes(part) for part in got] == [b"image", b"pixels"]


def test_a_message_that_the_writer_never_took_is_told() -> None:
    with context() as ctx, detector(ctx) as (socket, address), running_tee(address, "--patience", "0.5") as tee:
        send(socket, [[b"image"]])
        time.sleep(0.5)
        summary = tee.finish()
    assert tee.process.returncode == 3
    assert (summary["left"], summary["received"], summary["written"]) == (1, 1, 0)
    assert "the writer did not take the last message" in tee.errors


def test_a_second_signal_ends_it_at_once() -> None:
    with context() as ctx, detector(ctx) as (socket, address), running_tee(address, "--patience", "3600") as tee:
        send(socket, [[b"image"]])
        tee.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            tee.process.wait(1.0)
        tee.process.send_signal(signal.SIGTERM)
        assert tee.process.wait(FINISH_S) == -signal.SIGTERM


def test_nobody_reads_what_it_says() -> None:
    """Its terminal is paused, then gone: the writer gets everything."""
    sent = bytes_of(simulation(500))
    with context() as ctx, detector(ctx) as (socket, address), running_tee(address, "--every", "0.1") as tee:
        assert tee.process.stdout is not None and tee.process.stderr is not None
        tee.process.stdout.close()
        tee.process.stderr.close()
        with meanwhile(lambda: send(socket, sent, 0.002)):
            got = taken(ctx, tee.writer, len(sent))
        tee.process.send_signal(signal.SIGTERM)
        assert tee.process.wait(FINISH_S) == 0
    assert got == sent


def test_its_counters_can_be_scraped_and_are_printed() -> None:
    sent = bytes_of(simulation(20))
    options = ("--metrics", "127.0.0.1:0", "--every", "0.1")
    with context() as ctx, detector(ctx) as (socket, address), running_tee(address, *options) as tee:
        with meanwhile(lambda: send(socket, sent)):
            taken(ctx, tee.writer, len(sent))
        text = urllib.request.urlopen(tee.addresses["metrics"], timeout=FINISH_S).read().decode()
        assert tee.process.stdout is not None
        counters = json.loads(tee.process.stdout.readline())["counters"]
        tee.finish()
    assert f"edge_tee_messages_written_total {len(sent)}.0" in text
    assert "edge_tee_writer_stalled 0.0" in text
    assert counters.keys() >= {"received", "written", "copied", "dropped", "writer_wait_s"}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--writer", "nonsense", "--copy", "tcp://127.0.0.1:*"], 1, "cannot bind 'nonsense'"),
        (["--writer", "tcp://192.0.2.1:5555", "--plain", "--copy", "tcp://127.0.0.1:*"], 1, "no such network address"),
        (["--writer", "tcp://*:*", "--copy", "tcp://127.0.0.1:*"], 1, "say --plain"),
        (["--writer", "tcp://127.0.0.1:*", "--plain", "--copy", "tcp://*:*"], 1, "edge keys new"),
        (["--writer", "tcp://127.0.0.1:*", "--copy", "tcp://*:*", "--keys", "/nowhere"], 1, "/nowhere holds no keys"),
        (["--writer", "tcp://127.0.0.1:*"], 2, "--copy"),
        (["--writer", "tcp://127.0.0.1:*", "--copy", "tcp://127.0.0.1:*", "--metrics", "9100"], 2, "HOST:PORT"),
    ],
)
def test_what_cannot_start_is_said_in_one_line(options: list[str], code: int, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge", "tee", "--from", "tcp://127.0.0.1:1", *options],
        capture_output=True, text=True, timeout=FINISH_S,
    )  # fmt: skip
    assert done.returncode == code
    assert words in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_it_starts_without_the_rest_of_us() -> None:
    """What is not imported cannot break it, nor take its memory."""
    code = "import sys, edge.commands.tee; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "msgpack", "cbor2", "rich", "prometheus_client", "edge.config", "streams.codecs", "h5py"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.usefixtures("triton")
def test_the_writer_gets_everything_while_the_real_data_plane_is_killed(tmp_path: Path) -> None:
    """`edge serve` takes the copy, is killed in the middle of series, started again, and infers what comes then."""
    folders = [tmp_path / name for name in ("triton", "serve")]
    for folder in folders:
        folder.mkdir()
    sent: list[list[bytes]] = []
    stop, all_sent = threading.Event(), threading.Event()
    with context() as ctx, context() as writers, detector(ctx) as (socket, address), ExitStack() as stack:
        tee = stack.enter_context(running_tee(address))
        unused = CONFIG.format(protocol="simplon-v1", address="tcp://127.0.0.1:1", memory_mib=4)
        owner = stack.enter_context(data_plane(unused, folders[0]))  # its Triton outlives the others
        config = CONFIG.format(protocol="simplon-v1", address=tee.copy, memory_mib=4)

        def shoot() -> None:
            series_id = 0
            while not stop.is_set():
                series_id += 1
                series = bytes_of(simulation(100, series_id))
                sent.extend(series)
                send(socket, series, 0.002)

        got: list[list[bytes]] = []
        stack.enter_context(meanwhile(lambda: got.extend(taken_until(writers, tee.writer, all_sent, sent))))
        with meanwhile(shoot):
            for _ in range(3):
                with data_plane(config, folders[1], triton_of(owner["pid"])) as addresses:
                    ended = first_complete_end(ctx, addresses["handshake"])
                    os.kill(addresses["pid"], signal.SIGKILL)
                assert ended.account["published"] == 100
            stop.set()
        all_sent.set()
        wait_until(lambda: len(got) == len(sent), "the last message at the writer", FINISH_S)
        summary = tee.finish()
    assert got == sent
    assert (summary["written"], summary["left"]) == (len(sent), 0)
    assert summary["copied"] > 300


def taken_until(ctx: Context, address: str, stop: threading.Event, sent: Sequence[Any]) -> Iterator[list[bytes]]:
    count = 0
    with contextlib.closing(pull(ctx)) as writer:
        writer.connect(address)
        while not stop.is_set() or count < len(sent):
            if (parts := writer.receive(200)) is not None:
                count += 1
                yield [bytes(part) for part in parts]


def triton_of(pid: int) -> str:
    """Where the Triton of a serving process answers."""
    (server,) = [child for child, name in descendants(pid).items() if name == "tritonserver"]
    found = re.search(r"--grpc-port=(\d+)", Path(f"/proc/{server}/cmdline").read_text().replace("\0", " "))
    assert found is not None
    return f"127.0.0.1:{found[1]}"


def first_complete_end(ctx: Context, handshake: str) -> SeriesEnded:
    """The end of the first series that was seen from its start."""
    with Subscriber(ctx, handshake, ["check"]) as results:
        deadline = time.monotonic() + FINISH_S
        while time.monotonic() < deadline:
            received = results.receive(1)
            if received is not None and isinstance(received[0], SeriesEnded) and received[0].verdict == "complete":
                return received[0]
    raise AssertionError("no complete series ended")
