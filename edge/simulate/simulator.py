"""The whole simulator, put together."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.http.access import PLAIN
from edge.http.refusals import Refusals
from edge.http.server import serving
from edge.simulate.api import Api
from edge.simulate.beamline import beamline
from edge.simulate.detector import Detector
from edge.simulate.scene import Scene
from edge.simulate.series import Surroundings
from streams import sockets
from streams.sockets import SocketError, beyond_loopback

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
    keys: Path | None = None  # folder of those that the stream is encrypted with
    plain: bool = False  # whoever reaches the ports may use them, on other machines too


@dataclass(frozen=True)
class Addresses:
    stream: str
    http: str


@contextmanager
def running(options: Options, scene: Scene) -> Iterator[Addresses]:
    """Run until the context is left, which ends an open series as abort does.

    Raises:
        SocketError: an address or the keys cannot be used.
    """
    world = beamline(options.seed, time.monotonic())
    with sockets.context(keys=sockets.keys_of(options.keys)) as ctx:
        socket = sockets.push(ctx, HIGH_WATER_MARK)
        stream = socket.bind(options.bind, options.plain)
        around = Surroundings(socket, scene, world, options.seed, options.folder, options.positions)
        detector = Detector(around, options.protocol)
        closing = threading.Event()
        try:
            with _controlled(options, Api(detector, world, closing)) as http:
                try:
                    yield Addresses(stream, http)
                finally:
                    closing.set()
        finally:
            detector.close()  # its worker is done with the socket
            socket.close(LINGER_MS)


def _controlled(options: Options, api: Api) -> AbstractContextManager[str]:
    """The HTTP interface. It is plain, as a detector's is."""
    if beyond_loopback(f"tcp://{options.host}:0") and not options.plain:
        raise SocketError(
            f"{options.host} can be reached from other machines, and a simulated detector obeys whoever asks, as real "
            "ones do; use 127.0.0.1, or say --plain where that is wanted"
        )
    address = (options.host, options.port)
    return serving(address, lambda request: api.answer(request.method, request.target, request.body), PLAIN, Refusals())
