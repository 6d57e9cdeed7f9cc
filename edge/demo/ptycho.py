"""Live ptychography: a scan streams through the data plane, patches come back, the picture grows."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from edge.demo.children import data_plane
from edge.demo.scan import PtychoScan
from edge.models.ptycho import OFFSET_PX, PATCH_PX
from edge.physics.stitching import Canvas, Stitcher
from streams.codecs.results import Result, SeriesEnded
from streams.messages import Acquisition, Compression, Part
from streams.simulation.simulator import Sender, Simulation, SimulatorError
from streams.sockets import Socket, context, push
from streams.subscriber import Subscriber

CONFIG = """\
[[source]]
name = "detector"
protocol = "{protocol}"
address = "{address}"

[[route]]
name = "ptycho"
model = "ptycho"
pixel_bits = [{pixel_bits}]

[server]
log_dir = {log_dir}

[results]
publish = "tcp://127.0.0.1:*"
handshake = "tcp://127.0.0.1:*"

[metrics]
address = "127.0.0.1:0"
"""

SILENCE_S = 120.0
"""Nothing at all for so long, also no account, and the demo gives up: Triton restarts within seconds."""


class DemoError(RuntimeError):
    """The demo could not be finished; the text says why."""


@dataclass(frozen=True)
class Options:
    """How to run it."""

    rate_hz: float
    protocol: str
    folder: Path  # for logs and results; exists
    triton_url: str | None = None


@dataclass
class Patches:
    """The results so far: patches by image id, and the picture they make."""

    canvas: Canvas
    stitcher: Stitcher
    phases: dict[int, np.ndarray] = field(default_factory=dict)
    amplitudes: dict[int, np.ndarray] = field(default_factory=dict)
    without_position: int = 0

    def add(self, result: Result, arrays: dict[str, np.ndarray]) -> None:
        """Join one result with its position by id and place it."""
        self.phases[result.image_id] = arrays["phase"]
        self.amplitudes[result.image_id] = arrays["amplitude"]
        if result.position is None:
            self.without_position += 1
            return
        corner = np.array([result.position["row"], result.position["col"]]) + OFFSET_PX
        self.stitcher.add(arrays["amplitude"], arrays["phase"], self.canvas.place(corner))


@dataclass(frozen=True)
class Finished:
    """What a demo ends with."""

    patches: Patches
    sent: int
    ended: SeriesEnded
    lost_by_subscriber: int


class Detector(threading.Thread):
    """Sends the scan at its rate from a thread of its own, as a detector would from a machine of its own."""

    def __init__(self, simulation: Simulation, socket: Socket, rate_hz: float) -> None:
        super().__init__(name="detector", daemon=True)
        self.sent = 0
        self.error: SimulatorError | None = None
        self._simulation, self._socket, self._rate_hz = simulation, socket, rate_hz
        self._aborted = threading.Event()

    def run(self) -> None:
        sender = Sender(self, self._rate_hz, sleep=self._pause)
        try:
            sender.send(self._simulation.messages(), self._count)
        except SimulatorError as error:
            self.error = error

    def send(self, parts: Sequence[Part], timeout_ms: int = 0) -> bool:
        """The sender's way to the socket, closed by `abort`."""
        if self._aborted.is_set():
            raise SimulatorError("aborted")
        return self._socket.send(parts, timeout_ms)

    def abort(self) -> None:
        """Stop sending, if it still does; afterwards nobody uses the socket."""
        self._aborted.set()
        self.join()

    def _pause(self, seconds: float) -> None:
        self._aborted.wait(seconds)

    def _count(self, sent: int) -> None:
        self.sent = sent


def run(
    scan: PtychoScan, options: Options, starting: Callable[[dict[str, Any]], None], progress: Callable[[Patches], None]
) -> Finished:
    """Stream `scan` and stitch what comes back.

    Args:
        starting: called with the addresses when everything is up, before the first frame.
        progress: called after every result, and now and then while none comes.

    Raises:
        ChildError, DemoError, NoAnswer, SocketError: it could not be finished.
    """
    with context() as ctx:
        socket = push(ctx)
        config = CONFIG.format(
            protocol=options.protocol,
            address=socket.bind("tcp://127.0.0.1:*"),
            pixel_bits=8 * np.dtype(scan.dtype).itemsize,
            log_dir=json.dumps(str(options.folder)),  # a TOML basic string too
        )
        with data_plane(config, options.folder, options.triton_url) as addresses:
            starting(dict(addresses))
            with Subscriber(ctx, addresses["handshake"], ["ptycho"]) as results:
                canvas = scan.canvas
                patches = Patches(canvas, Stitcher(canvas.shape, PATCH_PX, scan.patch_weight))
                detector = Detector(_simulation(scan, options.protocol), socket, options.rate_hz)
                detector.start()
                try:
                    ended = _collect(results, patches, detector, progress)
                finally:
                    detector.abort()
                return Finished(patches, detector.sent, ended, results.lost)


def _simulation(scan: PtychoScan, protocol: str) -> Simulation:
    armed = datetime.now(UTC).isoformat()
    acquisition = Acquisition(
        series_id=1,
        series_uid=f"demo-{armed}",
        arm_date=armed,
        images=scan.count,
        shape=scan.shape,
        dtype=scan.dtype,
        compression=Compression.BSLZ4,
    )
    return Simulation(protocol, acquisition, scan.frame, scan.positions, "px")


def _collect(
    results: Subscriber, patches: Patches, detector: Detector, progress: Callable[[Patches], None]
) -> SeriesEnded:
    silent_s = 0.0
    while silent_s < SILENCE_S:
        received = results.receive(0.5)
        if received is None:
            if detector.error is not None:
                raise DemoError(f"the simulated detector: {detector.error}")
            silent_s += 0.5
        else:
            silent_s = 0.0
            notice, arrays = received
            if isinstance(notice, SeriesEnded):
                return notice
            if isinstance(notice, Result):
                patches.add(notice, arrays)
        progress(patches)
    raise DemoError(f"nothing came for {SILENCE_S:g} s after {len(patches.phases)} results; see serve.log")
