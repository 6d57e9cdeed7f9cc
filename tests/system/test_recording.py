"""Captures on real sockets: what a detector sent is what is recorded, and what is replayed, byte for byte."""

import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edge.commands import replay_capture
from streams import sockets
from streams.bounds import MAX_PARTS
from streams.codecs import ENCODERS, PROTOCOLS
from streams.messages import Acquisition, Part
from streams.recording.reader import read_capture, survey
from streams.recording.segments import Facts, Mark, Message, segments
from streams.recording.writer import CaptureWriter
from streams.simulation.faults import Faults, read_fault
from streams.simulation.onwire import OnWire
from streams.simulation.simulator import Sender, Simulation

PATIENCE_S = 30
SHAPE = (24, 40)
IMAGES = np.random.default_rng(0).poisson(3, (12, *SHAPE)).astype("uint16")
PATTERNS: dict[str, sockets.Pattern] = {"karabo": "req", "karabo-1.0": "sub", "array-1.0": "sub"}  # others push


def sent_by(protocol: str, series_id: int = 34) -> list[list[bytes]]:
    """What a detector sends in one series."""
    acquisition = Acquisition(
        series_id=series_id,
        series_uid=f"uid{series_id}",
        arm_date=f"2026-01-02T03:{series_id:02}:05Z",
        images=len(IMAGES),
        shape=SHAPE,
        dtype="uint16",
        compression=PROTOCOLS[protocol].compressions[0],
    )
    messages = Simulation(protocol, acquisition, lambda index: IMAGES[index]).messages()
    return [[bytes(part) for part in message.parts] for message in messages]


@contextmanager
def detector(messages: Iterable[Sequence[Part]], pattern: sockets.Pattern) -> Iterator[str]:
    """The address of a detector that sends `messages` to the first receiver."""
    with sockets.context() as ctx:
        sending = sockets.detector(ctx, pattern)
        address = sending.bind("tcp://127.0.0.1:*")
        sender = Sender(sending, peer_timeout_s=PATIENCE_S, stall_timeout_s=PATIENCE_S)  # pyright: ignore
        thread = threading.Thread(target=sender.send, args=((OnWire(list(parts)) for parts in messages),), daemon=True)
        thread.start()
        yield address
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        sending.close(1000)


def edge(*arguments: object) -> "subprocess.Popen[str]":
    # a test run in the background is started with interrupts ignored, and its children inherit that
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import edge.cli; edge.cli.main()"
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output, errors


def content(folder: Path) -> list[list[bytes]]:
    return [[bytes(part) for part in one.parts] for one in read_capture(folder) if isinstance(one, Message)]


def options(**changes: object) -> replay_capture.Options:
    settings: dict[str, object] = {"bind": "tcp://127.0.0.1:*", "socket": None, "rate": None, "speed": None}
    settings |= {"messages": (None, None), "seconds": (None, None), "series": None, "loop": False}
    settings |= {"wait": float(PATIENCE_S), "faults": Faults()}
    return replay_capture.Options(**{**settings, **changes})  # pyright: ignore[reportArgumentType]


def free_address() -> str:
    """Of a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def replaying(folder: Path, pattern: sockets.Pattern, count: int, **changes: object) -> Iterator[list[list[bytes]]]:
    """The `count` messages that a receiver gets."""
    with sockets.context() as ctx:
        receiver = sockets.source(ctx, pattern)
        address = free_address()
        told: list[replay_capture.Sent] = []
        asked = options(bind=address, **changes)
        thread = threading.Thread(target=lambda: told.append(replay_capture.send_capture(folder, asked)), daemon=True)
        thread.start()
        receiver.connect(address)
        got: list[list[bytes]] = []
        while len(got) < count:
            parts = receiver.receive(PATIENCE_S * 1000)
            assert parts is not None, f"nothing came after {len(got)} messages"
            got.append([bytes(part) for part in parts])
        thread.join(PATIENCE_S)
        assert told and told[0].messages == count
        yield got


@pytest.mark.parametrize("protocol", list(ENCODERS))
def test_recorded_and_replayed_byte_for_byte(tmp_path: Path, protocol: str) -> None:
    messages, pattern = sent_by(protocol), PATTERNS.get(protocol, "pull")
    folder = tmp_path / "capture"
    arguments = ["--protocol", protocol, "--socket", pattern, "--source", "det", "--messages", len(messages), "--json"]
    with detector(messages, pattern) as address:
        code, output, errors = finished(edge("record", "--connect", address, *arguments, folder))
    assert code == 0, errors
    summary = json.loads(output)
    assert (summary["messages"], summary["lost"], summary["source"], summary["address"]) == (
        *(len(messages), 0, "det", address),
    )
    assert content(folder) == messages
    found = survey(folder, verify=True)
    assert found.facts is not None and (found.facts.protocol, found.facts.socket) == (protocol, pattern)
    assert found.damaged_bytes == found.torn_bytes == 0
    with replaying(folder, pattern, len(messages)) as again:
        assert again == messages


def record_in_process(folder: Path, messages: Iterable[list[bytes]], protocol: str = "stream-v2") -> Path:
    with CaptureWriter(folder, Facts("det", protocol), 1 << 30) as writer:
        for at, parts in enumerate(messages):
            writer.append(parts, 10**18 + at * 10**9)
    return folder


@pytest.mark.parametrize("protocol", ["simplon-v1", "stream-v2"])
def test_subsets_are_replayed(tmp_path: Path, protocol: str) -> None:
    first, second = sent_by(protocol, 7), sent_by(protocol, 8)
    messages = first + second
    folder = record_in_process(tmp_path, messages, protocol)
    for asked, expected in [
        ({"messages": (3, 5)}, messages[3:5]),
        ({"seconds": (2, 4.5)}, messages[2:5]),
        ({"series": 8}, second),
        ({"series": 7, "messages": (1, None)}, first[1:]),
    ]:
        with replaying(folder, "pull", len(expected), **asked) as got:
            assert got == expected


def test_a_capture_of_another_pattern_is_replayed_as_asked(tmp_path: Path) -> None:
    messages = sent_by("stream-v2")
    folder = record_in_process(tmp_path, messages)
    with replaying(folder, "sub", len(messages), socket="sub") as got:
        assert got == messages


def test_faults_are_ordered_of_recorded_messages_too(tmp_path: Path) -> None:
    messages = sent_by("simplon-v1")
    folder = record_in_process(tmp_path, messages, "simplon-v1")
    faults = Faults(orders=(read_fault("no-start"), read_fault("drop-first=2")))
    with replaying(folder, "pull", len(messages) - 3, faults=faults) as got:
        assert got == messages[3:]
    with pytest.raises(ValueError, match="needs a simulated detector"):
        replay_capture.send_capture(folder, options(faults=Faults(orders=(read_fault("abort"),))))


def test_the_commands_as_users_run_them(tmp_path: Path) -> None:
    messages = sent_by("stream-v2")
    folder = record_in_process(tmp_path / "det", messages)
    address = free_address()
    with sockets.context() as ctx, edge("replay", folder, "--bind", address, "--rate", "1000", "--json") as process:
        receiver = sockets.pull(ctx)
        receiver.connect(address)
        got = [receiver.receive(PATIENCE_S * 1000) for _ in messages]
        code, output, errors = finished(process)
    assert code == 0, errors
    assert [[bytes(part) for part in parts or []] for parts in got] == messages
    assert json.loads(output) == {
        **{"capture": str(folder), "source": "det", "protocol": "stream-v2", "address": address, "rounds": 1},
        **{"messages": len(messages), "damaged_bytes": 0, "megabytes": json.loads(output)["megabytes"]},
        "seconds": json.loads(output)["seconds"],
    }
    code, output, _ = finished(edge("captures", tmp_path, "--json"))  # the folder of captures
    shown = json.loads(output)
    assert (code, shown["messages"], shown["folder"], shown["verified"]) == (0, len(messages), str(folder), False)
    path = next(iter(segments(folder).values()))
    path.write_bytes(path.read_bytes()[:-1])
    code, output, _ = finished(edge("captures", folder, "--verify"))
    assert code == 3 and "a writer was killed there" in output


def test_a_message_of_too_many_parts_is_told(tmp_path: Path) -> None:
    many: list[Part] = [b"x"] * (MAX_PARTS + 5)
    with detector([many, [b"next"]], "pull") as address:
        arguments = ["record", tmp_path, "--protocol", "bsread", "--connect", address, "--messages", 2]
        code, output, errors = finished(edge(*arguments))
    assert code == 3, errors
    assert f"1 were CUT after {MAX_PARTS} parts" in output
    assert content(tmp_path)[1] == [b"next"]


def test_a_recorder_is_stopped_in_order(tmp_path: Path) -> None:
    messages = sent_by("simplon-v1")
    config = tmp_path / "edge.toml"
    with detector(messages, "pull") as address:
        config.write_text(
            f'[[source]]\nname = "eiger"\nprotocol = "simplon-v1"\naddress = "{address}"\n'
            '[[route]]\nname = "r"\nmodel = "identity"\n'
        )
        with edge("record", "-c", config, tmp_path / "capture") as process:
            deadline = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline:
                try:
                    if survey(tmp_path / "capture").messages == len(messages):
                        break
                except RuntimeError:  # it is not there yet
                    pass
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            code, output, errors = finished(process)
    assert code == 0, errors
    assert output.startswith(f"recorded {len(messages)} messages of eiger in ")
    assert content(tmp_path / "capture") == messages


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["record", "x"], 2, "say what to record"),
        (["record", "x", "--protocol", "bsread", "--connect", "nonsense"], 2, "is no address"),
        (["record", "/proc/x", "--protocol", "bsread", "--connect", "tcp://127.0.0.1:1"], 1, "cannot record in"),
        (["replay", "."], 1, "holds no capture"),
        (["replay", ".", "--frames", "3"], 2, "--frames is not for a capture"),
        (["replay", "x.npz", "--speed", "3"], 2, "--speed is not for a file"),
        (["replay", ".", "--messages", "3"], 2, "'3' is no range"),
        (["captures", "absent"], 1, "holds no capture"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found, output, errors = finished(edge(*arguments))
    assert (found, output) == (code, "")
    assert words in errors.splitlines()[-1] and "Traceback" not in errors


def counted(size: int) -> Iterator[list[Part]]:
    """Messages that tell their number, and in every byte whether they are whole."""
    number = 0
    while True:
        yield [number.to_bytes(8, "big"), bytes([number % 251]) * size]
        number += 1


@pytest.mark.parametrize("size", [200, 4_000_000])
def test_a_killed_recorder_leaves_all_that_it_had_taken(tmp_path: Path, size: int) -> None:
    """Killed at any moment, mostly within a write; whatever it had taken before is read, in order, none of it torn."""
    dice = random.Random(size)
    stop = threading.Event()
    with sockets.context() as ctx:
        push = sockets.push(ctx, high_water_mark=2)
        address = push.bind("tcp://127.0.0.1:*")

        def send() -> None:
            for message in counted(size):
                while not push.send(message, 50):
                    if stop.is_set():
                        return

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        for _ in range(3):
            before = survey(tmp_path).messages if segments(tmp_path) else 0
            with edge("record", tmp_path, "--protocol", "bsread", "--connect", address, "--quota", "1") as process:
                deadline = time.monotonic() + PATIENCE_S
                while not segments(tmp_path) or survey(tmp_path).messages <= before + 2:
                    assert time.monotonic() < deadline and process.poll() is None
                time.sleep(dice.random() / 10)
                process.kill()
        stop.set()
        thread.join(PATIENCE_S)
    numbers = []
    for item in read_capture(tmp_path):
        if isinstance(item, Message):
            number = int.from_bytes(item.parts[0], "big")
            assert bytes(item.parts[1]) == bytes([number % 251]) * size
            numbers.append((item.place.segment, number))
        assert not isinstance(item, Mark)
    for (segment, number), (later, following) in pairwise(numbers):
        assert following == number + 1 if later == segment else following > number  # ZeroMQ's queue died with it
    assert survey(tmp_path).damaged_bytes == 0
    with CaptureWriter(tmp_path, Facts("detector", "bsread"), 1 << 30) as writer:
        writer.append([b"next"], 1)
    assert content(tmp_path)[-1] == [b"next"]
