"""The wire, on real sockets: strict third-party peers both ways, and the `replay` command as users run it."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import pytest

from streams import sockets
from streams.codecs import DECODERS, PROTOCOLS
from streams.messages import Acquisition, Compression, Frame, Message, SeriesEnd, SeriesStart
from streams.simulation.simulator import Sender, Simulation
from tests.decoded import pixels

PATIENCE_MS = 20_000
SHAPE = (96, 160)  # not square: a swapped shape must not pass
IMAGES = np.random.default_rng(0).poisson(3, (20, *SHAPE))


def receive(address: str, protocol: str) -> list[Message]:
    """Everything until the end of a series."""
    decoder = DECODERS[protocol]("detector")
    messages: list[Message] = []
    with sockets.context() as ctx:
        pull = sockets.pull(ctx)
        pull.connect(address)
        while not messages or not isinstance(messages[-1], SeriesEnd):
            parts = pull.receive(PATIENCE_MS)
            assert parts is not None, f"nothing came after {len(messages)} messages"
            messages += decoder.decode(parts, time.time_ns())
    return messages


@contextmanager
def sending(simulation: Simulation) -> Iterator[str]:
    """The address of a detector that sends a series to the first receiver."""
    with sockets.context() as ctx:
        push = sockets.push(ctx)
        address = push.bind("tcp://127.0.0.1:*")
        sender = Sender(push, peer_timeout_s=20, stall_timeout_s=20)
        # what fails in the thread, pytest reports
        thread = threading.Thread(target=sender.send, args=(simulation.messages(),), daemon=True)
        thread.start()
        try:
            yield address
        finally:
            thread.join(PATIENCE_MS / 1000)
    assert not thread.is_alive()


def simulation(dtype: str, compression: Compression, protocol: str = "simplon-v1") -> Simulation:
    acquisition = Acquisition(
        series_id=34,
        series_uid="uid",
        arm_date="2026-01-02T03:04:05Z",
        images=len(IMAGES),
        shape=SHAPE,
        dtype=dtype,
        compression=compression,
    )
    return Simulation(protocol, acquisition, lambda index: IMAGES[index].astype(dtype))


@pytest.mark.parametrize(
    ("dtype", "compression"),
    [
        ("uint8", Compression.BSLZ4),
        ("uint16", Compression.BSLZ4),
        ("uint32", Compression.BSLZ4),
        ("uint16", Compression.LZ4_BLOCK),
    ],
)
def test_libertem_reads_our_detector(
    libertem: ModuleType, tmp_path: Path, dtype: str, compression: Compression
) -> None:
    received = np.zeros((len(IMAGES), *SHAPE), dtype)
    with sending(simulation(dtype, compression)) as address:
        connection = libertem.DectrisConnection(
            uri=address,
            frame_stack_size=4,
            handle_path=str(tmp_path / "shm"),
            num_slots=50,
            bytes_per_frame=SHAPE[0] * SHAPE[1] * 8,
            huge=False,
        )
        try:
            connection.start_passive()
            armed = connection.wait_for_arm(20.0)
            assert armed is not None
            config, series = armed
            assert (config.get_num_frames(), series) == (len(IMAGES), 34)
            client = libertem.CamClient(connection.get_socket_path())
            at = 0
            while at < len(IMAGES):
                stack = connection.get_next_stack(max_size=4)
                assert stack is not None, f"the client ended the series after {at} images"
                count = len(stack)
                assert tuple(stack.get_shape()) == SHAPE[::-1]  # as on the wire: width first
                client.decode_range_into_buffer(stack, received[at : at + count], 0, count)
                client.done(stack)
                at += count
            client.close()
        finally:
            connection.close()
    np.testing.assert_array_equal(received, IMAGES.astype(dtype))


def test_we_read_libertems_detector(libertem: ModuleType) -> None:
    detector = libertem.DectrisSim.new_mocked("tcp://127.0.0.1", num_frames=17, random_port=True)
    address, series = detector.get_uri(), json.loads(detector.get_dheader_raw())["series"]
    config = json.loads(detector.get_detector_config_raw())

    def send() -> None:
        detector.send_headers()
        detector.send_frames()
        detector.send_footer()

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    start, *frames, end = receive(address, "simplon-v1")
    thread.join(20)
    assert isinstance(start, SeriesStart) and isinstance(end, SeriesEnd)
    assert start.series_id == series
    assert start.expected == 17 and start.header == config
    assert start.shape == (config["y_pixels_in_detector"], config["x_pixels_in_detector"])
    assert [frame.image_id for frame in frames if isinstance(frame, Frame)] == list(range(17))
    for frame in frames:
        assert isinstance(frame, Frame) and frame.series_uid == start.series_uid == end.series_uid
        assert frame.shape == start.shape
        assert (pixels(frame) == frame.image_id).all()  # this simulator's pixels are the number of the image


@pytest.mark.parametrize("protocol", ["simplon-v1", "stream-v2"])
def test_our_detector_and_our_receiver(protocol: str) -> None:
    with sending(simulation("uint16", Compression.BSLZ4, protocol)) as address:
        start, *frames, end = receive(address, protocol)
    assert isinstance(start, SeriesStart) and isinstance(end, SeriesEnd)
    assert len(frames) == len(IMAGES)
    for index, frame in enumerate(frames):
        assert isinstance(frame, Frame) and frame.image_id == index
        np.testing.assert_array_equal(pixels(frame), IMAGES[index])


@pytest.mark.parametrize("pattern", ["pull", "sub", "req"])
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_every_protocol_in_every_pattern(protocol: str, pattern: sockets.Pattern) -> None:
    """Our detector to our receiver, the pattern chosen freely of the protocol."""
    traits = PROTOCOLS[protocol]
    acquisition = simulation("uint16", traits.compressions[0]).acquisition
    acquisition = msgspec.structs.replace(acquisition, images_per_message=4 if traits.trains else 1)
    decoder, frames = DECODERS[protocol]("detector"), []
    with sockets.context() as ctx:
        detector, source = sockets.detector(ctx, pattern), sockets.source(ctx, pattern)
        source.connect(detector.bind("tcp://127.0.0.1:*"))
        messages = Simulation(protocol, acquisition, lambda index: IMAGES[index].astype("u2")).messages()
        sender = Sender(detector, peer_timeout_s=20, stall_timeout_s=20)
        thread = threading.Thread(target=sender.send, args=(messages,), daemon=True)
        thread.start()
        while len(frames) < len(IMAGES):
            parts = source.receive(PATIENCE_MS)
            assert parts is not None, f"nothing came after {len(frames)} images"
            frames += [each for each in decoder.decode(parts, 1) if isinstance(each, Frame)]
        if pattern == "req" and traits.end:
            assert source.receive(PATIENCE_MS) is not None
        thread.join(PATIENCE_MS / 1000)
        assert not thread.is_alive()
    for index, frame in enumerate(frames):
        assert frame.image_id == index
        np.testing.assert_array_equal(pixels(frame), IMAGES[index])


def replay(*arguments: str) -> "subprocess.Popen[str]":
    # a test run in the background is started with interrupts ignored, and its children inherit that
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import edge.cli; edge.cli.main()"
    command = [sys.executable, "-W", "error", "-c", code, "replay", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def scan_file(tmp_path: Path) -> Path:
    path = tmp_path / "scan.npz"
    np.savez(path, data=IMAGES.astype("u2"), scan=np.arange(40.0).reshape(20, 2))
    return path


@pytest.mark.parametrize("protocol", ["simplon-v1", "stream-v2"])
def test_replay_sends_a_file(scan_file: Path, protocol: str) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    arguments = ["--protocol", protocol, "--bind", address, "--frames", "12", "--series-id", "5", "--json"]
    with replay(str(scan_file), *arguments) as process:
        start, *frames, _ = receive(address, protocol)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert isinstance(start, SeriesStart) and (start.series_id, start.expected) == (5, 12)
    assert start.user_data["scan"]["units"] == "px"
    for index, frame in enumerate(frames):
        assert isinstance(frame, Frame)
        assert frame.user_data == {"position": {"row": 2.0 * index, "col": 2.0 * index + 1}}
        np.testing.assert_array_equal(pixels(frame), IMAGES[index])
    summary = json.loads(output)
    assert len(frames) == summary["images"] == 12
    assert (summary["address"], summary["series"], summary["first_series_id"]) == (address, 1, 5)


def test_replay_sends_the_last_images_to_a_slow_receiver(scan_file: Path) -> None:
    """The command is done with the messages long before the receiver has read them."""
    address = f"tcp://127.0.0.1:{free_port()}"
    with replay(str(scan_file), "--bind", address, "--compression", "none") as process, sockets.context() as ctx:
        pull = sockets.pull(ctx, high_water_mark=1)
        pull.connect(address)
        assert pull.receive(PATIENCE_MS) is not None
        time.sleep(0.5)
        decoder = DECODERS["simplon-v1"]("detector")
        for index in range(len(IMAGES)):
            parts = pull.receive(PATIENCE_MS)
            assert parts is not None, index
            (frame,) = decoder.decode(parts, 1)
            assert isinstance(frame, Frame) and frame.image_id == index
        assert pull.receive(PATIENCE_MS) is not None
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert output.startswith(f"sent 20 images of {scan_file} as series 1 by simplon-v1 from {address}: ")


def test_replay_loops_until_it_is_interrupted(scan_file: Path) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    arguments = ["--bind", address, "--loop", "--rate", "500", "--series-id", "5", "--json"]
    with replay(str(scan_file), *arguments) as process, sockets.context() as ctx:
        pull = sockets.pull(ctx)
        pull.connect(address)
        decoder = DECODERS["simplon-v1"]("detector")
        starts: list[SeriesStart] = []
        while len(starts) < 3:
            parts = pull.receive(PATIENCE_MS)
            assert parts is not None
            starts += [message for message in decoder.decode(parts, 1) if isinstance(message, SeriesStart)]
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert [start.series_id for start in starts] == [5, 6, 7]
    assert len({start.series_uid for start in starts}) == 3
    assert json.loads(output)["series"] >= 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--wait", "0.3", "--bind", "tcp://127.0.0.1:*"], 1, "no receiver connected for 0.3 s"),
        (["--compression", "bszstd"], 2, "simplon-v1 cannot send bszstd"),
        (["--protocol", "stream-v2", "--compression", "lz4-block"], 2, "stream-v2 cannot send lz4-block"),
        (["--dataset", "other"], 1, "it has no dataset 'other'"),
        (["--bind", "nonsense"], 1, "cannot bind 'nonsense'"),
        (["--protocol", "bsread", "--fault", "no-start"], 2, "a bsread stream has no such message"),
        (["--protocol", "karabo", "--fault", "early-end"], 2, "a karabo stream has no such message"),
    ],
)
def test_replay_says_in_one_line_what_is_wrong(scan_file: Path, arguments: list[str], code: int, words: str) -> None:
    with replay(str(scan_file), *arguments) as process:
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (code, "")
    assert errors.splitlines()[-1].startswith("Error: ") and words in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_replay_on_a_port_that_is_taken(scan_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with replay(str(scan_file), "--bind", address) as process:
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith(f"Error: cannot bind {address}: the port is in use")
