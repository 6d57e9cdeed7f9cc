"""Measured frames through every protocol over real sockets, bit for bit: what is in the file is what is decoded."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edge.scanfiles import open_scan
from streams import sockets
from streams.codecs import DECODERS, ENCODERS, PROTOCOLS
from streams.messages import Acquisition, Compression, Frame
from streams.simulation.simulator import Sender, Simulation
from tests.data import measured_data
from tests.decoded import pixels

PATIENCE_MS = 30_000
Images = list[np.ndarray[Any, Any]]

CXI = "ptycho_cxi/PETRAIII_P25_Near_Field_Ptycho.cxi"
HEXRD = "ruby_hedm/ruby_ff1.npz"
PANEL = "ruby_hedm/ruby_ff1_panel00.npz"
APS_2IDD = "ptychonn_2idd/frames.npz"
EVERY_WAY = [(name, compression) for name, traits in PROTOCOLS.items() for compression in traits.compressions]


def of_cxi(path: Path, chosen: Sequence[int]) -> Images:
    with h5py.File(path) as file:
        stored: Any = file["entry_1/instrument_1/detector_1/data"]
        return [stored[index].view(np.uint32) for index in chosen]


def of_2idd(path: Path, chosen: Sequence[int]) -> Images:
    with np.load(path) as stored:
        frames = stored["reciprocal"]
        return [np.where(frames[index] < 0, frames[index] + 65536, frames[index]) for index in chosen]


def of_hexrd(path: Path, chosen: Sequence[int]) -> Images:
    """Without our reader: pixel by pixel as the cache has them."""
    images = []
    with np.load(path) as cache:
        for index in chosen:
            image = np.zeros(tuple(cache["shape"]), np.uint16)
            for row, column, count in zip(*(cache[f"{index}_{part}"] for part in ("row", "col", "data")), strict=True):
                image[row, column] = count
            images.append(image)
    return images


FILES = {CXI: (of_cxi, (0, 99, 199, 5)), APS_2IDD: (of_2idd, (0, 7, 19, 3)), PANEL: (of_hexrd, (0, 500, 1439, 70))}


def sent(
    name: str, protocol: str, compression: Compression, chosen: Sequence[int], pattern: sockets.Pattern = "pull"
) -> list[Frame]:
    """The frames of a file as they are decoded after a way over sockets, as a detector would send them."""
    with open_scan(measured_data(name)) as scan, sockets.context() as ctx:
        acquisition = Acquisition(
            series_id=3,
            series_uid="uid",
            arm_date="2026-01-02T03:04:05Z",
            images=len(chosen),
            shape=scan.shape,
            dtype=scan.dtype,
            compression=compression,
            images_per_message=2,
        )
        simulation = Simulation(protocol, acquisition, lambda index: scan.frame(chosen[index]))
        detector = sockets.detector(ctx, pattern)
        source = sockets.source(ctx, pattern)
        source.connect(detector.bind("tcp://127.0.0.1:*"))
        sender = Sender(detector, peer_timeout_s=30, stall_timeout_s=30)
        thread = threading.Thread(target=sender.send, args=(simulation.messages(),), daemon=True)
        thread.start()
        frames = list(received(source, protocol, len(chosen)))
        thread.join(PATIENCE_MS / 1000)
        assert not thread.is_alive()
    return frames


def received(source: sockets.Receiving, protocol: str, count: int) -> Iterator[Frame]:
    decoder = DECODERS[protocol]("detector")
    found = 0
    while found < count:
        parts = source.receive(PATIENCE_MS)
        assert parts is not None, f"nothing came after {found} of {count} images"
        for message in decoder.decode(parts, 1_700_000_000_000_000_000):
            if isinstance(message, Frame):
                found += 1
                yield message


def check(frames: Sequence[Frame], wanted: Images) -> None:
    assert len(frames) == len(wanted)
    first = frames[0].image_id
    for at, (frame, image) in enumerate(zip(frames, wanted, strict=True)):
        assert frame.image_id == first + at
        assert frame.shape == image.shape
        np.testing.assert_array_equal(pixels(frame), image)
    assert any(image.any() for image in wanted)


def test_every_protocol_can_be_spoken():
    assert {protocol for protocol, _ in EVERY_WAY} == set(ENCODERS) == set(DECODERS)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("protocol", "compression"), EVERY_WAY)
def test_measured_frames_arrive_bit_for_bit(name: str, protocol: str, compression: Compression) -> None:
    read, chosen = FILES[name]
    check(sent(name, protocol, compression, chosen), read(measured_data(name), chosen))


@pytest.mark.parametrize("pattern", ["sub", "req"])
@pytest.mark.parametrize("protocol", ENCODERS)
def test_however_the_detector_hands_them_out(protocol: str, pattern: sockets.Pattern) -> None:
    read, chosen = FILES[CXI]
    frames = sent(CXI, protocol, PROTOCOLS[protocol].compressions[0], chosen, pattern)
    check(frames, read(measured_data(CXI), chosen))


@pytest.mark.parametrize("protocol", ENCODERS)
def test_whole_hexrd_frames_arrive_bit_for_bit(protocol: str) -> None:
    chosen = (100, 1000)
    frames = sent(HEXRD, protocol, PROTOCOLS[protocol].compressions[0], chosen)
    assert frames[0].shape == (3888, 3072)
    check(frames, of_hexrd(measured_data(HEXRD), chosen))


@pytest.mark.parametrize("protocol", ENCODERS)
@pytest.mark.parametrize("name", [HEXRD, APS_2IDD])
def test_the_replay_command_sends_them(protocol: str, name: str) -> None:
    path = measured_data(name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    line = [sys.executable, "-m", "edge", "replay", str(path), "--protocol", protocol, "--bind", address]
    line += ["--compression", str(PROTOCOLS[protocol].compressions[0]), "--frames", "2"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        with sockets.context() as ctx:
            pull = sockets.source(ctx, "pull")
            pull.connect(address)
            frames = list(received(pull, protocol, 2))
            rest = process.communicate(timeout=60)
        assert process.returncode == 0, rest
    check(frames, (of_hexrd if name == HEXRD else of_2idd)(path, (0, 1)))
