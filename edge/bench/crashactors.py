"""Who takes part in `edge bench crash`: a detector, the data plane that is killed, and who listens to its results."""

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.bench.crashcheck import Delivered
from edge.demo.children import ChildError
from streams import sockets
from streams.messages import Acquisition
from streams.simulation.simulator import Sender, Simulation
from streams.subscriber import NoAnswer, Subscriber

SHAPE = (64, 48)
IMAGES = 80
"""Of one series."""

RATE_HZ = 250.0

POLL_S = 0.05
READY_S = 60.0

PATIENCE_S = 300.0
"""Of the detector, with a data plane that is being started."""


def image(series_id: int, image_id: int) -> NDArray[np.uint16]:
    """A picture that tells which one it is."""
    return np.random.default_rng((series_id, image_id)).integers(0, 65536, SHAPE, np.uint16)


class Detector(threading.Thread):
    """Sends series after series, from when somebody listens until told to stop; then finishes the one at hand."""

    def __init__(self, socket: sockets.Socket, listened: threading.Event) -> None:
        super().__init__(name="detector", daemon=True)
        self.images = 0
        self._listened = listened
        self.stopping = threading.Event()
        self.failure: Exception | None = None
        self._sender = Sender(socket, RATE_HZ, peer_timeout_s=PATIENCE_S, stall_timeout_s=PATIENCE_S)

    def run(self) -> None:
        """See the class."""
        series = 0
        self._listened.wait()
        try:
            while not self.stopping.is_set():
                series += 1
                self.images += self._sender.send(self._series(series).messages())
        except RuntimeError as error:
            self.failure = error

    def _series(self, number: int) -> Simulation:
        now = datetime.now(UTC).isoformat()
        acquisition = Acquisition(number, f"crash-{number}", now, IMAGES, SHAPE, "uint16")
        return Simulation("stream-v2", acquisition, lambda image_id: image(number, image_id))


class Listener(threading.Thread):
    """Counts what a subscriber hands out, through all restarts of the sender."""

    def __init__(self, ctx: sockets.Context, address: str) -> None:
        super().__init__(name="listener", daemon=True)
        self.delivered = Delivered()
        self.repeats = 0
        self.subscribed = threading.Event()
        self.stopping = threading.Event()
        self._ctx, self._address = ctx, address

    def run(self) -> None:
        """See the class."""
        while not self.stopping.is_set():
            try:
                subscriber = Subscriber(self._ctx, self._address, timeout_s=1.0)
                break
            except NoAnswer:  # the first start is not ready yet
                continue
        else:
            return
        self.subscribed.set()
        with subscriber:
            while not self.stopping.is_set():
                received = subscriber.receive(0.2)
                if received is not None:
                    self.delivered.take(*received)
            self.repeats = subscriber.repeats


class DataPlane:
    """One life of `edge serve`; its parent's death ends it too."""

    def __init__(self, folder: Path, triton_url: str | None, number: int) -> None:
        self._log = folder / f"serve-{number:03}.log"
        where = ["--triton-url", triton_url] if triton_url else []
        arguments = ["-c", str(folder / "edge.toml"), "--recover", *where]
        line = [sys.executable, "-P", "-m", "edge", "serve", "--json", "--stop-at-eof", *arguments]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        self._ready = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def ready(self) -> bool:
        """Whether it has said so."""
        return self._ready.is_set()

    def wait(self, seconds: float) -> None:
        """Let it live.

        Raises:
            ChildError: it ended by itself.
        """
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        last = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()][-3:]
        raise ChildError(f"edge serve ended by itself (status {status}): {' | '.join(last)} (see {self._log})")

    def wait_until_ready(self) -> float:
        """The seconds that it took.

        Raises:
            ChildError: it ended by itself, or took too long.
        """
        began = time.monotonic()
        while not self.ready:
            self.wait(POLL_S)
            if time.monotonic() - began > READY_S:
                raise ChildError(f"edge serve was not ready within {READY_S:g} s (see {self._log})")
        return time.monotonic() - began

    def end(self, signum: int) -> None:
        """Send it a signal and wait for its end."""
        assert self.process.stdin is not None and self.process.stdout is not None
        os.kill(self.process.pid, signum)
        self.process.wait(READY_S)
        self.process.stdin.close()

    def _watch(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as out:
            if out.readline().startswith(b"{"):
                self._ready.set()
