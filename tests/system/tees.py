"""Runs the real `edge tee`, for the tests beside this file."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import zmq

from streams.sockets import Context, pull

FINISH_S = 30

COPIER = """
import sys
from streams import sockets
with sockets.context() as ctx:
    socket = sockets.pull(ctx)
    socket.connect(sys.argv[1])
    print("connected", flush=True)
    while True:
        socket.receive(1000)
"""
"""Takes copies and forgets them, until it is killed."""


class RunningTee:
    """One `edge tee` process: where it listens, and its summary when it has ended."""

    def __init__(self, source: str, *options: str) -> None:
        command = [sys.executable, "-m", "edge", "tee", "--from", source, "--json"]
        for end in ("--writer", "--copy"):
            command += [] if end in options else [end, "tcp://127.0.0.1:*"]
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.addresses: dict[str, str] = json.loads(line)["ready"]
        self.errors = ""

    @property
    def writer(self) -> str:
        return self.addresses["writer"]

    @property
    def copy(self) -> str:
        return self.addresses["copy"]

    def finish(self, signum: int = signal.SIGTERM) -> dict[str, Any]:
        """Stop it and return its summary."""
        self.process.send_signal(signum)
        output, self.errors = self.process.communicate(timeout=FINISH_S)
        return json.loads(output.splitlines()[-1])["summary"]


@contextmanager
def running_tee(source: str, *options: str) -> Iterator[RunningTee]:
    """A tee that connects to `source`; killed at the end where the test did not finish it."""
    tee = RunningTee(source, *options)
    try:
        yield tee
    finally:
        with tee.process:  # closes its pipes
            tee.process.kill()


class Copier:
    """A process that takes copies, to be stopped and killed."""

    def __init__(self, address: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COPIER, address], stdout=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdout is not None and self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def hang(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def copier(address: str) -> Iterator[Copier]:
    process = Copier(address)
    try:
        yield process
    finally:
        process.kill()


def taken(ctx: Context, address: str, count: int, pause_s: float = 0.0) -> list[list[bytes]]:
    """`count` messages from `address`, every part of them, at the pace of one in `pause_s`."""
    return _taken(ctx, address, lambda got: len(got) == count, pause_s)


def taken_up_to(ctx: Context, address: str, last: list[bytes]) -> list[list[bytes]]:
    """Messages from `address`, every part of them, the `last` one included."""
    return _taken(ctx, address, lambda got: got[-1:] == [last])


def _taken(
    ctx: Context, address: str, enough: Callable[[list[list[bytes]]], bool], pause_s: float = 0.0
) -> list[list[bytes]]:
    socket = pull(ctx, 1)
    socket.connect(address)
    got: list[list[bytes]] = []
    with contextlib.closing(socket):
        while not enough(got):
            assert socket.zmq.poll(FINISH_S * 1000, zmq.POLLIN), f"only {len(got)} messages came"
            got.append(socket.zmq.recv_multipart())
            time.sleep(pause_s)
    return got
