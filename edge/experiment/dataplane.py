"""The device's way to `edge serve`: results come in, and it is told what was triggered. Over the wire only."""

import threading
from concurrent.futures import Future
from typing import Protocol

from edge.experiment.errors import DetectorError
from edge.experiment.inbox import Inbox
from streams.controller import AccountNow, Controller
from streams.sockets import SocketError, context
from streams.subscriber import NoAnswer, Subscriber

RECEIVE_S = 0.1
JOIN_S = 10.0


class Plane(Protocol):
    """What a detector device needs of the data plane. All of it raises DetectorError where nobody answers."""

    @property
    def inbox(self) -> Inbox: ...
    @property
    def source(self) -> str: ...
    @property
    def route(self) -> str: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def triggered(self, series_id: int, images: int) -> bool: ...
    def account(self, series_id: int) -> AccountNow | None: ...


class DataPlane:
    """One route of one `edge serve`. No I/O before `open`; may be opened again after `close`.

    Args:
        handshake_address: what `edge serve` prints as its handshake address.
        source: name of the detector's stream in its configuration.
        route: whose results are wanted.
        channel: the threshold to take where the detector sends several.
        timeout_s: how long to wait for its answers.
    """

    def __init__(
        self, handshake_address: str, source: str, route: str, *, channel: str | None = None, timeout_s: float = 10.0
    ) -> None:
        self._address = handshake_address
        self._source, self._route, self._channel = source, route, channel
        self._timeout_s = timeout_s
        self._inbox = Inbox(source, channel)
        self._stop = threading.Event()
        self._receiver: threading.Thread | None = None

    @property
    def inbox(self) -> Inbox:
        """Of the present opening."""
        return self._inbox

    @property
    def source(self) -> str:
        return self._source

    @property
    def route(self) -> str:
        return self._route

    def open(self) -> None:
        """Subscribe; when this returns, no result that is published from now on is missed.

        Raises:
            DetectorError: nobody answers, or there is no such route.
        """
        self._inbox, self._stop = Inbox(self._source, self._channel), threading.Event()
        subscribed: Future[None] = Future()
        self._receiver = threading.Thread(
            target=self._receive, args=(self._inbox, self._stop, subscribed), name=f"results of {self._route}"
        )
        self._receiver.start()
        try:
            subscribed.result()
        except (NoAnswer, ValueError, SocketError) as error:
            raise DetectorError(str(error)) from error

    def close(self) -> None:
        """End the receiver."""
        self._stop.set()
        if self._receiver is not None:
            self._receiver.join(JOIN_S)
            self._receiver = None

    def triggered(self, series_id: int, images: int) -> bool:
        """Tell how many images the series has; False where no such series is open."""
        try:
            with context() as ctx, Controller(ctx, self._address, self._timeout_s) as controller:
                return controller.triggered(self._source, series_id, images)
        except (NoAnswer, SocketError) as error:
            raise DetectorError(str(error)) from error

    def account(self, series_id: int) -> AccountNow | None:
        """What became of the series so far."""
        try:
            with context() as ctx, Controller(ctx, self._address, self._timeout_s) as controller:
                return controller.account(self._source, series_id, self._route)
        except (NoAnswer, SocketError) as error:
            raise DetectorError(str(error)) from error

    def _receive(self, inbox: Inbox, stop: threading.Event, subscribed: "Future[None]") -> None:
        """The receiver's thread: owns the sockets from their making to their closing."""
        try:
            with context() as ctx:
                try:
                    subscriber = Subscriber(ctx, self._address, [self._route], self._timeout_s)
                except (NoAnswer, ValueError, SocketError) as error:
                    subscribed.set_exception(error)
                    return
                subscribed.set_result(None)
                with subscriber:
                    while not stop.is_set():
                        received = subscriber.receive(RECEIVE_S)
                        if received is not None:
                            inbox.put(*received)
        finally:
            inbox.close()
            if not subscribed.done():  # the error itself is reported as that of this thread
                subscribed.set_exception(SocketError("the receiver of results ended before it had begun"))
