"""A detector on the wire: any protocol, images from a callable, faults to order.

`Simulation.messages` is pure: it yields what a detector would send, message by message. `Sender` adds the
pace, the socket and the patience.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.codecs import ENCODERS
from streams.messages import Acquisition, Part

AXES = ("row", "col")
"""Names of the two scan axes, in the order of the columns of `Simulation.positions`."""

POLL_MS = 200
"""Longest single wait, so that an interrupt is answered."""


class SimulatorError(RuntimeError):
    """The series could not be sent; the text says why."""


class Pushing(Protocol):
    """The end of a socket that a detector holds (`streams.sockets.push`)."""

    def send(self, parts: Sequence[Part], timeout_ms: int = 0) -> bool:
        """Send one message; False where it could not leave within `timeout_ms`."""
        ...


class OnWire(msgspec.Struct, frozen=True, gc=False):
    """One message; `image_id` is None for those that open and close the series."""

    parts: list[Part]
    image_id: int | None = None


@dataclass(frozen=True)
class Faults:
    """What goes wrong on purpose."""

    lost: frozenset[int] = frozenset()  # image ids that are never sent
    repeated: frozenset[int] = frozenset()  # image ids that are sent twice
    corrupted: frozenset[int] = frozenset()  # image ids whose largest part is cut in half
    no_start: bool = False  # as seen by a receiver that joined late
    no_end: bool = False  # as after a crash of the detector's computer


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
        """All messages of the series in the order in which a detector sends them.

        Raises:
            ValueError: the protocol cannot carry the acquisition, or positions and images differ in number.
        """
        acquisition, faults = self.acquisition, self.faults
        if self.positions is not None and self.positions.shape != (acquisition.images, len(AXES)):
            raise ValueError(f"positions {list(self.positions.shape)} for {acquisition.images} images in 2 axes")
        encoder = ENCODERS[self.protocol](self._announced())
        if not faults.no_start:
            yield from map(OnWire, encoder.start())
        for image_id in range(acquisition.images):
            if image_id in faults.lost:
                continue
            parts = encoder.image(image_id, self._channels(image_id), self._user_data(image_id))
            yield from faulty(parts, image_id, faults)
        if not faults.no_end:
            yield from map(OnWire, encoder.end())

    def _announced(self) -> Acquisition:
        """The acquisition, its start message's user data told of the scan."""
        if self.positions is None:
            return self.acquisition
        scan = {"axes": list(AXES), "units": self.position_units, "points": len(self.positions)}
        given = self.acquisition.user_data
        user_data = {**given, "scan": scan} if isinstance(given, Mapping) else {"scan": scan}
        return msgspec.structs.replace(self.acquisition, user_data=user_data)

    def _channels(self, image_id: int) -> Mapping[str, NDArray[Any]]:
        image = self.images(image_id)
        return image if isinstance(image, Mapping) else dict.fromkeys(self.acquisition.channels, image)

    def _user_data(self, image_id: int) -> Any:
        if self.positions is None:
            return None
        return {"position": dict(zip(AXES, map(float, self.positions[image_id]), strict=True))}


def faulty(parts: list[Part], image_id: int, faults: Faults) -> list[OnWire]:
    """What leaves of an encoded image: once, not at all where it is lost, twice where repeated, cut where corrupted."""
    if image_id in faults.lost:
        return []
    sent = OnWire(_cut(parts) if image_id in faults.corrupted else parts, image_id)
    return [sent, sent] if image_id in faults.repeated else [sent]


def _cut(parts: list[Part]) -> list[Part]:
    largest = max(range(len(parts)), key=lambda index: len(parts[index]))
    cut = parts[largest][: len(parts[largest]) // 2]
    return [*parts[:largest], cut, *parts[largest + 1 :]]


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
            self._deliver(message.parts, connected)
            connected = True
            if message.image_id is not None:
                images += 1
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
