"""The Karabo bridge against its authors' own package, both ways, in each pattern and version, on real sockets."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from streams import sockets
from streams.codecs import DECODERS, ENCODERS
from streams.messages import Acquisition, Compression, Frame, Message, SeriesStart
from streams.sockets import Pattern
from tests.decoded import pixels

PATIENCE_MS = 20_000
TRAIN = 10_000_000_000
PULSES, MODULES, SS, FS = 4, 3, 16, 8
STACKS = np.random.default_rng(0).poisson(3, (6, PULSES, MODULES, SS, FS)).astype("u2")
DETECTOR = "SPB_DET_AGIPD1M-1/CAL/APPEND_RAW"

THEIRS: dict[Pattern, str] = {"req": "REP", "sub": "PUB", "pull": "PUSH"}
OURS: dict[Pattern, str] = {"req": "REQ", "sub": "SUB", "pull": "PULL"}
PROTOCOLS = {"2.2": "karabo", "1.0": "karabo-1.0"}

every_pattern = pytest.mark.parametrize("pattern", list(THEIRS))
every_version = pytest.mark.parametrize("version", list(PROTOCOLS))


@pytest.fixture
def bridge() -> ModuleType:
    try:
        import karabo_bridge
    except ImportError:
        message = "karabo-bridge is not installed; the extra `test` has it"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return karabo_bridge


def train(number: int, stack: np.ndarray, online: bool) -> dict[str, dict[str, Any]]:
    """What a server is fed: a detector of modules, a motor, and a source that is there every other train."""
    array = np.ascontiguousarray(stack.transpose(1, 3, 2, 0)) if online else stack
    metadata = {"timestamp": 1.7e9 + number / 10, "timestamp.tid": TRAIN + number}
    data: dict[str, dict[str, Any]] = {
        DETECTOR: {
            "image.data": array,
            "image.pulseId": np.arange(PULSES, dtype="u8"),
            "modulesPresent": [True] * MODULES,
            "image.passport": ["SPB/CAL/THRESHOLDING"],
            "metadata": {"source": DETECTOR, **metadata},
        },
        "MOTOR/X": {"actualPosition": np.float64(number / 2), "state": "ON", "metadata": metadata},
    }
    if number % 2:
        data["XGM"] = {"intensityTD": np.ones(3, "f4"), "metadata": metadata}
    return data


def receive(pattern: Pattern, address: str, protocol: str, trains: int, ready: threading.Event) -> list[Message]:
    decoder = DECODERS[protocol]("bridge")
    messages: list[Message] = []
    with sockets.context() as ctx:
        source = sockets.source(ctx, pattern)
        source.connect(address)
        ready.set()
        for number in range(trains):
            parts = source.receive(PATIENCE_MS)
            assert parts is not None, f"nothing came after {number} trains"
            messages += decoder.decode(parts, 1)
    return messages


@contextmanager
def fed(server: Any, trains: list[dict[str, dict[str, Any]]], ready: threading.Event, endless: bool) -> Iterator[None]:
    """A server that sends `trains`, a publisher again and again: it cannot know when somebody listens."""
    over = threading.Event()

    def feed() -> None:
        ready.wait(PATIENCE_MS / 1000)
        while not over.is_set():
            for one in trains:
                server.feed({name: dict(keys) for name, keys in one.items()})
                if endless and over.wait(0.005):
                    return
            if not endless:
                return

    thread = threading.Thread(target=feed, daemon=True)
    with server:
        thread.start()
        try:
            yield
        finally:
            over.set()
            while thread.is_alive():  # it may be waiting for room
                if not server.buffer.empty():
                    server.buffer.get_nowait()
                thread.join(0.01)


@every_version
@every_pattern
@pytest.mark.parametrize("online", [False, True], ids=["file", "online"])
def test_we_read_their_server(bridge: ModuleType, pattern: Pattern, version: str, online: bool) -> None:
    trains = [train(number, stack, online) for number, stack in enumerate(STACKS)]
    server = bridge.ServerInThread("tcp://127.0.0.1:*", sock=THEIRS[pattern], protocol_version=version)
    ready = threading.Event()
    with fed(server, trains, ready, endless=pattern == "sub"):
        start, *frames = receive(pattern, server.endpoint, PROTOCOLS[version], len(trains), ready)
    assert isinstance(start, SeriesStart) and (start.shape, start.dtype) == ((SS, FS), "uint16")
    assert start.header["pulses"] == PULSES and DETECTOR in start.header["sources"]
    assert len(frames) == len(trains) * PULSES * MODULES
    for at, frame in enumerate(frames):
        count, pulse, module = map(int, np.unravel_index(at, (len(trains), PULSES, MODULES)))
        assert isinstance(frame, Frame)
        number = (
            count if pattern != "sub" else frame.user_data["train_id"] - TRAIN
        )  # a publisher drops and begins again
        assert frame.image_id == (TRAIN + number) * PULSES + pulse
        assert frame.channel == f"{DETECTOR}/{module}"
        assert frame.user_data["values"]["MOTOR/X[actualPosition]"] == number / 2
        np.testing.assert_array_equal(pixels(frame), STACKS[number, pulse, module])


@every_version
@every_pattern
def test_their_client_reads_us(bridge: ModuleType, pattern: Pattern, version: str) -> None:
    acquisition = Acquisition(
        series_id=1,
        series_uid="uid",
        arm_date="2026-01-02T03:04:05Z",
        images=PULSES * len(STACKS),
        shape=(SS, FS),
        dtype="uint16",
        channels=tuple(f"DET/{module}CH0:xtdf" for module in range(MODULES)),
        compression=Compression.NONE,
        images_per_message=PULSES,
    )
    encoder = ENCODERS[PROTOCOLS[version]](acquisition)
    sent = [
        encoder.image(
            number * PULSES,
            {name: stack[:, module] for module, name in enumerate(acquisition.channels)},
            {"position": {"row": number / 2}},
        )
        for number, stack in enumerate(STACKS)
    ]
    with sockets.context() as ctx:
        detector = sockets.detector(ctx, pattern)
        client = bridge.Client(detector.bind("tcp://127.0.0.1:*"), sock=OURS[pattern], timeout=PATIENCE_MS / 1000)
        taken: list[Any] = []

        def take() -> None:
            with client:
                taken.extend(client.next() for _ in sent)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        for parts in sent:
            while not detector.send(parts, PATIENCE_MS):
                assert thread.is_alive(), "the client gave up"
        thread.join(PATIENCE_MS / 1000)
    assert len(taken) == len(STACKS)
    for number, (data, metadata) in enumerate(taken):
        assert set(data) == set(metadata) == set(acquisition.channels)
        for module, name in enumerate(acquisition.channels):
            assert metadata[name]["timestamp.tid"] == number
            np.testing.assert_array_equal(data[name]["image.data"], STACKS[number, :, module], strict=True)
            np.testing.assert_array_equal(data[name]["image.pulseId"], np.arange(PULSES))
        assert data[acquisition.channels[0]]["position.row"] == number / 2


@pytest.mark.parametrize("module", ["AGIPD", "AGIPDModule", "LPD"])
@pytest.mark.parametrize("data_like", ["online", "file"])
def test_their_simulated_detectors(bridge: ModuleType, module: str, data_like: str) -> None:
    """The shapes of real detectors: raw data of all modules, and of a single one, in either order of axes."""
    from karabo_bridge.serializer import serialize
    from karabo_bridge.simulation import Detector

    detector = Detector.getDetector(module, raw=True, gen="zeros", data_like=data_like if module != "LPD" else "online")
    detector.pulses = 5
    sources, metadata = detector.gen_data(TRAIN)
    data = sources[detector.source]
    data["image.data"] = np.arange(data["image.data"].size, dtype="u4").astype("u2").reshape(data["image.data"].shape)
    modules = detector.modules
    by_pulse = data["image.data"].reshape(detector.data_shape)
    if detector.data_like == "online":  # (modules,) fs, ss, pulses
        by_pulse = np.moveaxis(by_pulse, -1, 0).swapaxes(-1, -2)
    by_pulse = by_pulse.reshape(5, modules, *by_pulse.shape[-2:])
    for version in PROTOCOLS:
        parts: list[Any] = serialize(sources, metadata, protocol_version=version)
        parts = [bytes(part) for part in parts]
        start, *frames = DECODERS["karabo"]("bridge").decode(parts, 1)
        assert isinstance(start, SeriesStart) and len(frames) == 5 * modules
        for at in (0, modules - 1, len(frames) - 1):
            frame = frames[at]
            assert isinstance(frame, Frame) and frame.image_id == TRAIN * 5 + at // modules
            assert frame.channel == (f"{detector.source}/{at % modules}" if modules > 1 else detector.source)
            np.testing.assert_array_equal(pixels(frame), by_pulse[at // modules, at % modules])


def test_corrected_data_in_floating_point_are_refused_with_a_reason(bridge: ModuleType) -> None:
    from karabo_bridge.serializer import serialize

    data = {DETECTOR: {"image.data": np.ones((2, 16, 8), "f4"), "metadata": {"timestamp.tid": TRAIN}}}
    with pytest.raises(ValueError, match="unsupported: pixels of type float32"):
        parts: list[Any] = serialize(data)
        DECODERS["karabo"]("bridge").decode(parts, 1)
