"""A detector on the wire: any protocol, images from a callable, faults to order.

`Simulation.messages` is pure: it yields what a detector would send, message by message. `Sender` adds the
pace, the socket and the patience.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.codecs import DECODERS, ENCODERS, PROTOCOLS
from streams.messages import Acquisition, Frame, Part
from streams.simulation.faultline import FaultLine
from streams.simulation.faults import Faults
from streams.simulation.onwire import OnWire, Place

AXES = ("row", "col")
"""Names of the two scan axes, in the order of the columns of `Simulation.positions`."""

POLL_MS = 200
"""Longest single wait, so that an interrupt is answered."""

STALE = 5
"""Messages with images that are still queued when a series was ended and the next one begins."""


class SimulatorError(RuntimeError):
    """The series could not be sent; the text says why."""


class Pushing(Protocol):
    """The end of a socket that a detector holds (`streams.sockets.push`)."""

    def send(self, parts: Sequence[Part], timeout_ms: int = 0) -> bool:
        """Send one message; False where it could not leave within `timeout_ms`."""
        ...


@dataclass(frozen=True)
class Simulation:
    """One series.

    `images` gives the image of an id: an array [height, width] of the acquisition's pixel type, or a mapping of
    channel to such arrays. `positions` is [images, 2] in (row, col), in units of `position_units` ("px" or "m").
    """

    protocol: str  # a name in `streams.codecs.ENCODERS`
    acquisition: Acquisition
    images: Callable[[int], NDArray[Any] | Mapping[str, NDArray[Any]]]
    positions: NDArray[np.float64] | None = None
    position_units: str = "px"
    faults: Faults = field(default_factory=Faults)

    def messages(self) -> Iterator[OnWire]:
        """All messages in the order in which they leave, with what is true of each (`streams.simulation.truth`).

        Raises:
            ValueError: the protocol cannot carry the acquisition or a fault, or positions and images differ in number,
                or the images do not fill their messages.
        """
        acquisition = self.acquisition
        if self.positions is not None and self.positions.shape != (acquisition.images, len(AXES)):
            raise ValueError(f"positions {list(self.positions.shape)} for {acquisition.images} images in 2 axes")
        if self.faults.value("empty") is not None and not PROTOCOLS[self.protocol].empty:
            raise ValueError(f"{self.protocol} cannot say that there is no image: fault empty")
        line = FaultLine(self.faults)
        for message in self._planned():
            yield from line.feed(message)
        yield from line.rest()

    def _planned(self) -> Iterator[OnWire]:
        """What the detector does, before anything goes wrong on the way."""
        faults, series = self.faults, _Series(self, self._announced(), 0)
        stops = [name for name in ("abort", "restart", "restart-same", "stale") if faults.value(name) is not None]
        yield from series.start()
        if not stops:
            yield from series.rest(0)
            return
        dice = random.Random(f"{faults.seed} {stops[0]}")
        cut = series.moment(faults.value(stops[0]) or 0.0)
        yield from series.images(0, cut)
        if stops[0] == "abort":
            yield from series.end()
            return
        following = _Series(self, _next(series.acquisition, same_number=stops[0] == "restart-same"), 1)
        yield from following.start()
        if stops[0] != "stale":
            yield from following.rest(0)
            return
        left = [*series.images(cut, min(cut + STALE, series.messages)), *series.end()]
        for message in following.images(0, following.messages):
            yield message
            while left and dice.random() < 0.5:
                yield left.pop(0)
        yield from (*left, *following.end())

    def _announced(self) -> Acquisition:
        """The acquisition, its start message's user data told of the scan."""
        if self.positions is None:
            return self.acquisition
        scan = {"axes": list(AXES), "units": self.position_units, "points": len(self.positions)}
        given = self.acquisition.user_data
        user_data = {**given, "scan": scan} if isinstance(given, Mapping) else {"scan": scan}
        return msgspec.structs.replace(self.acquisition, user_data=user_data)

    def image(self, image_id: int) -> Mapping[str, NDArray[Any]]:
        """The image of an id, by channel."""
        image = self.images(image_id)
        return image if isinstance(image, Mapping) else dict.fromkeys(self.acquisition.channels, image)

    def user_data(self, image_id: int) -> Any:
        """What rides along with it."""
        if self.positions is None:
            return None
        return {"position": dict(zip(AXES, map(float, self.positions[image_id]), strict=True))}


class _Series:
    """Encodes one series of a simulation."""

    def __init__(self, simulation: Simulation, acquisition: Acquisition, number: int) -> None:
        self.acquisition = acquisition
        self._simulation = simulation
        self._number = number
        self._encoder = ENCODERS[simulation.protocol](acquisition)
        self._together = self._encoder.images_per_message
        if acquisition.images % self._together:
            raise ValueError(f"{acquisition.images} images do not fill messages of {self._together}")
        self.messages = acquisition.images // self._together
        self._empty = simulation.faults.value("empty") or 0.0
        self._dice = random.Random(f"{simulation.faults.seed} empty {number}")
        self._marked = any(simulation.faults.value(name) is not None for name in ("corrupt", "corrupt-header"))

    def moment(self, part: float) -> int:
        """A count of messages, so that some come before and after it where there are two."""
        return min(max(round(part * self.messages), 1), max(self.messages - 1, 0))

    def start(self) -> Iterator[OnWire]:
        for parts in self._encoder.start():
            yield OnWire(parts, kind="start", series=self._number)

    def rest(self, first: int) -> Iterator[OnWire]:
        """Images from message `first` on, and the end."""
        yield from self.images(first, self.messages)
        yield from self.end()

    def images(self, first: int, stop: int) -> Iterator[OnWire]:
        """Messages `first` to before `stop`."""
        for image_id in range(first * self._together, stop * self._together, self._together):
            if self._dice.random() < self._empty:
                parts = self._encoder.image(image_id, {})
                yield OnWire(parts, image_id, self._together, "image", self._number, empty=True)
                continue
            images = [self._simulation.image(image_id + pulse) for pulse in range(self._together)]
            if self._together == 1:
                together: Mapping[str, Any] = images[0]
            else:
                together = {channel: np.stack([one[channel] for one in images]) for channel in images[0]}
            parts = self._encoder.image(image_id, together, self._simulation.user_data(image_id))
            pixels = pixels_of(self._simulation.protocol, parts) if self._marked else ()
            yield OnWire(parts, image_id, self._together, "image", self._number, pixels=pixels)

    def end(self) -> Iterator[OnWire]:
        for parts in self._encoder.end():
            yield OnWire(parts, kind="end", series=self._number)


def pixels_of(protocol: str, parts: Sequence[Part]) -> tuple[Place, ...]:
    """Where the pixels of an encoded message lie, as its decoder finds them."""
    places = set()
    begins = [np.frombuffer(part, np.uint8).__array_interface__["data"][0] for part in parts]
    for message in DECODERS[protocol]("simulator").decode(parts, 0):
        if isinstance(message, Frame) and len(message.blob):
            address = np.frombuffer(message.blob, np.uint8).__array_interface__["data"][0]
            for at, (begin, part) in enumerate(zip(begins, parts, strict=True)):
                if begin <= address < begin + len(part):
                    places.add((at, address - begin, address - begin + len(message.blob)))
    return tuple(sorted(places))


def _next(acquisition: Acquisition, same_number: bool) -> Acquisition:
    """The detector's next series, armed a minute later; with the same number it has the same unique id, too."""
    return msgspec.structs.replace(
        acquisition,
        series_id=acquisition.series_id + (not same_number),
        series_uid=acquisition.series_uid if same_number else f"{acquisition.series_uid}-next",
        arm_date=(datetime.fromisoformat(acquisition.arm_date) + timedelta(minutes=1)).isoformat(),
    )


@dataclass(frozen=True)
class Sender:
    """Sends messages at a pace.

    Times of images are counted from the first one, so that a late one does not delay the rest.
    """

    socket: Pushing
    rate_hz: float | None = None  # images per second; None: as fast as they are taken
    peer_timeout_s: float = 30.0  # patience with a receiver that has not connected
    stall_timeout_s: float = 30.0  # patience with one that stopped reading
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def send(self, messages: Iterable[OnWire], progress: Callable[[int], None] | None = None) -> int:
        """Send them all and return the number of images; `progress` is called with it after each image.

        The first message waits for a receiver: what a detector sends before anybody connected is lost to all.

        Raises:
            SimulatorError: nobody connected, or the receiver stopped reading.
        """
        images, first_image_at, connected = 0, 0.0, False
        for message in messages:
            if message.image_id is not None:
                if images == 0:
                    first_image_at = self.clock()
                elif self.rate_hz is not None:
                    self._wait_until(first_image_at + images / self.rate_hz)
            if message.delay_s:
                self.sleep(message.delay_s)
            self._deliver(message.parts, connected)
            connected = True
            if message.image_id is not None:
                images += message.images
                if progress is not None:
                    progress(images)
        return images

    def _wait_until(self, due: float) -> None:
        left = due - self.clock()
        if left > 0:
            self.sleep(left)

    def _deliver(self, parts: Sequence[Part], connected: bool) -> None:
        patience = self.stall_timeout_s if connected else self.peer_timeout_s
        deadline = self.clock() + patience
        while not self.socket.send(parts, POLL_MS):
            if self.clock() >= deadline:
                problem = "the receiver stopped reading" if connected else "no receiver connected"
                raise SimulatorError(f"{problem} for {patience:g} s")
