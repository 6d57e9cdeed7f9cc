"""The series that is open: what one thread does from arm to disarm.

Frames go out as a detector's do: "Streamed data is not buffered and will be lost if not fetched" (EIGER2 User
Manual 1.8.2, section 7.1). What the socket does not take is dropped and counted; nothing waits for a receiver but
the start and the end message, and those not for long.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge.simulate.beamline import Beamline
from edge.simulate.faults import Orders
from edge.simulate.halt import Halt
from edge.simulate.scene import Scene
from edge.simulate.writer import SeriesWriter
from streams.codecs import ENCODERS
from streams.messages import Acquisition, Encoder, Part
from streams.simulation.faultline import FaultLine
from streams.simulation.onwire import OnWire
from streams.simulation.simulator import Pushing, pixels_of

log = logging.getLogger(__name__)

START_PATIENCE_MS = 500
"""How long the start message may wait for a receiver to connect."""

END_PATIENCE_MS = 5_000
"""How long the end message may wait for a receiver of this series to read on."""


@dataclass(frozen=True)
class Plan:
    """What was configured when the series was armed."""

    protocol: str  # a name in `streams.codecs.ENCODERS`
    acquisition: Acquisition
    count_time_s: float
    streamed: bool
    file_name: str | None  # without suffixes; None: no files
    images_per_file: int
    number: int  # of the arm command since the simulator started, from 0: it names the noise

    @property
    def images_per_trigger(self) -> int:
        return self.acquisition.images // self.acquisition.triggers


@dataclass
class Tally:
    """The truth of a series; written by one thread, read by others."""

    triggers: int = 0
    images: int = 0  # exposed
    dropped: int = 0  # exposed and not taken by the stream
    file_error: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What a series needs of the world."""

    socket: Pushing
    scene: Scene
    beamline: Beamline
    seed: int
    folder: Path | None = None
    positions: bool = False  # send the stage's position with each image
    clock: Callable[[], float] = time.monotonic


@dataclass
class Series:
    """One open series; all methods are called by the thread that owns the socket."""

    plan: Plan
    around: Surroundings
    encoder: Encoder
    writer: SeriesWriter | None
    orders: Orders = field(default_factory=Orders)
    tally: Tally = field(default_factory=Tally)
    heard: bool = False  # somebody took a message of it

    def __post_init__(self) -> None:
        self._line = FaultLine(self.orders.on_wire())

    def start(self) -> None:
        """Send the start message."""
        for parts in self.encoder.start() if self.plan.streamed else ():
            self._pass(self._line.feed(OnWire(parts, kind="start")))

    def expose(self, orders: Orders, halt: Halt) -> bool:
        """One trigger, which takes the number of images times the frame time; False where it was cut short.

        Every image shows the place and the beam in the middle of its exposure.
        """
        clock, frame_time = self.around.clock, self.plan.acquisition.frame_time_s
        if orders != self.orders:  # they were replaced
            self._pass(self._line.rest())
            self.orders, self._line = orders, FaultLine(orders.on_wire())
        images = self.plan.images_per_trigger - (self.tally.triggers in orders.short_triggers)
        self.tally.triggers += 1
        began, exposed = clock(), 0
        while exposed < images:
            opened = began + exposed * frame_time
            middle = opened + self.plan.count_time_s / 2
            if halt.wait_until(middle):
                break
            send = self._frame(middle)
            if halt.wait_until(opened + frame_time):
                break
            send()
            exposed += 1
            if halt.after_frame:
                break
        return exposed == images

    def end(self) -> None:
        """Send the end message and finish the files."""
        for parts in self.encoder.end() if self.plan.streamed else ():
            self._pass(self._line.feed(OnWire(parts, kind="end")))
        self._pass(self._line.rest())
        self._write(lambda writer: writer.close())

    def _frame(self, moment: float) -> Callable[[], None]:
        """An image made now, to be sent when it has been exposed."""
        around, image_id = self.around, self.tally.images
        position = around.beamline.position(moment)
        # Its noise is its own: it does not depend on what was sent, dropped or aborted before.
        rng = np.random.default_rng((around.seed, 1, self.plan.number, image_id))
        intensity = around.beamline.beam.intensity
        image = around.scene.render(position["x"], position["y"], self.plan.count_time_s, intensity, rng)
        user_data = {"position": position} if around.positions else None
        channel = self.plan.acquisition.channels[0]
        parts = self.encoder.image(image_id, {channel: image}, user_data) if self.plan.streamed else []
        marked = any(order.startswith("corrupt") for order in self.orders.stream)
        pixels = pixels_of(self.plan.protocol, parts) if marked and parts else ()

        def send() -> None:
            if parts:
                self._pass(self._line.feed(OnWire(parts, image_id, kind="image", pixels=pixels)))
            self._write(lambda writer: writer.append(image))
            self.tally.images += 1

        return send

    def _pass(self, messages: Sequence[OnWire]) -> None:
        """Send what leaves of a message; an image that nobody takes is dropped."""
        for message in messages:
            patience = {"start": START_PATIENCE_MS, "end": END_PATIENCE_MS if self.heard else 0}.get(message.kind, 0)
            taken = self._send(message.parts, patience)
            self.tally.dropped += message.image_id is not None and not taken
            if message.kind == "end" and not taken:
                log.warning("no receiver took the end of series %d", self.plan.acquisition.series_id)

    def _send(self, parts: Sequence[Part], timeout_ms: int = 0) -> bool:
        taken = self.around.socket.send(parts, timeout_ms)
        self.heard = self.heard or taken
        return taken

    def _write(self, action: Callable[[SeriesWriter], None]) -> None:
        """A disk that is full ends the files, not the series."""
        if self.writer is None:
            return
        try:
            action(self.writer)
        except (OSError, RuntimeError) as error:  # h5py raises both
            self.tally.file_error = f"{type(error).__name__}: {error}"
            log.error("series %d: no more files: %s", self.plan.acquisition.series_id, error)
            with suppress(OSError, RuntimeError):
                self.writer.close()
            self.writer = None


def open_series(plan: Plan, around: Surroundings, orders: Orders | None = None) -> Series:
    """Create the files and send the start message, with the faults that are ordered by now.

    Raises:
        Refused: the files cannot be created.
    """
    encoder, writer = ENCODERS[plan.protocol](plan.acquisition), None
    if plan.file_name is not None and around.folder is not None:
        writer = SeriesWriter(around.folder, plan.file_name, plan.images_per_file, plan.acquisition)
    series = Series(plan, around, encoder, writer, orders or Orders())
    series.start()
    return series
