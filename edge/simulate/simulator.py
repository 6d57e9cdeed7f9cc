"""The whole simulator, put together."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.simulate.api import Api
from edge.simulate.beamline import beamline
from edge.simulate.detector import Detector
from edge.simulate.scene import Scene
from edge.simulate.series import Surroundings
from edge.simulate.server import serving
from streams import sockets

HIGH_WATER_MARK = 256
"""Images that may wait here for a receiver that reads slowly; what comes then is dropped."""

LINGER_MS = 2_000
"""How long the last messages may take to leave at the end."""


@dataclass(frozen=True)
class Options:
    """How the simulator is started."""

    protocol: str = "stream-v2"
    bind: str = "tcp://127.0.0.1:*"
    host: str = "127.0.0.1"
    port: int = 0  # 0: any that is free
    seed: int = 0  # of the noise
    positions: bool = False  # send the stage's position with each image
    folder: Path | None = None  # where files go


@dataclass(frozen=True)
class Addresses:
    stream: str
    http: str


@contextmanager
def running(options: Options, scene: Scene) -> Iterator[Addresses]:
    """Run until the context is left, which ends an open series as abort does.

    Raises:
        SocketError: an address cannot be used.
    """
    world = beamline(options.seed, time.monotonic())
    with sockets.context() as ctx:
        socket = sockets.push(ctx, HIGH_WATER_MARK)
        stream = socket.bind(options.bind)
        around = Surroundings(socket, scene, world, options.seed, options.folder, options.positions)
        detector = Detector(around, options.protocol)
        closing = threading.Event()
        try:
            with serving(options.host, options.port, Api(detector, world, closing).answer, closing) as http:
                yield Addresses(stream, http)
        finally:
            detector.close()  # its worker is done with the socket
            socket.close(LINGER_MS)
