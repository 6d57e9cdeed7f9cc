"""What is measured: `edge triton` and `edge serve` as users run them, on this machine, with slots in shared memory."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.demo.children import ChildError, child

SOURCE = "det"
STOP_S = 30.0
CONFIG = """\
[[source]]
name = "{source}"
protocol = "{protocol}"
address = "{address}"
bind = true
memory_mib = {memory_mib}

{routes}
[results]
publish = "tcp://127.0.0.1:*"
handshake = "tcp://127.0.0.1:*"
replay_mib = {replay_mib}

[metrics]
address = "127.0.0.1:0"

[series]
grace_s = 1.0
idle_s = 60.0
"""


@dataclass(frozen=True)
class RouteText:
    """A route of the configuration."""

    name: str
    model: str
    bits: tuple[int, ...] = (16,)
    settings: str = ""  # more lines of its table

    def __str__(self) -> str:
        bits = ", ".join(map(str, self.bits))
        lines = ("[[route]]", f'name = "{self.name}"', f'model = "{self.model}"', f"pixel_bits = [{bits}]")
        return "\n".join((*lines, self.settings)).rstrip() + "\n"


IDENTITY = RouteText("identity", "identity")


@dataclass(frozen=True)
class Setup:
    """What is run."""

    protocol: str = "stream-v2"
    routes: tuple[RouteText, ...] = (IDENTITY,)
    memory_mib: int = 256  # the default
    replay_mib: int = 64  # the default

    def text(self, address: str) -> str:
        """The configuration."""
        return CONFIG.format(
            source=SOURCE,
            protocol=self.protocol,
            address=address,
            memory_mib=self.memory_mib,
            replay_mib=self.replay_mib,
            routes="\n".join(map(str, self.routes)),
        )


@dataclass(frozen=True)
class Served:
    """An `edge serve` that is ready."""

    pid: int
    frames: str  # where its source listens
    handshake: str
    metrics: str  # URL
    log: Path


@contextmanager
def triton(setup: Setup, folder: Path, file: Path | None = None) -> Iterator[Path]:
    """`edge triton` for the models of `setup`; yields the file that announces it, which is `file` where that is given:
    then somebody else runs it.

    Raises:
        ChildError: it did not become ready.
    """
    if file is not None:
        yield file
        return
    config, announced = folder / "triton.toml", folder / "run" / "triton.json"
    config.write_text(setup.text(_free_address()))
    with child("triton", ["-c", str(config), "--file", str(announced)], folder):
        yield announced


@contextmanager
def serve(
    setup: Setup, folder: Path, announced: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """`edge serve` beside the server that `announced` tells of; it ends in order, or with this process.

    Raises:
        ChildError: it did not become ready.
    """
    config, log_file, frames = folder / "edge.toml", folder / "serve.log", _free_address()
    config.write_text(setup.text(frames))
    arguments = ["serve", "--json", "--stop-at-eof", "-c", str(config), "--triton-file", str(announced)]
    with ExitStack() as stack:
        log = stack.enter_context(log_file.open("a"))
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "edge", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        stack.callback(_stop, process)
        told = _ready(process, log_file)
        yield Served(process.pid, frames, told["handshake"], told["metrics"], log_file)


def _ready(process: "subprocess.Popen[str]", log_file: Path) -> Mapping[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line:
        return json.loads(line)
    raise ChildError(f"edge serve ended before it was ready; it said: {last_words(log_file)} (see {log_file})")


def last_words(log_file: Path, lines: int = 3) -> str:
    """The last lines of a log, as one."""
    said: Sequence[str] = [line for line in log_file.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(said[-lines:]) or "nothing"


def _stop(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _free_address() -> str:
    """An address that the system had free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"
