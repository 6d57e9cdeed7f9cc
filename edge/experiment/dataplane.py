"""The device's way to `edge serve`: results come in, and it is told what was triggered. Over the wire only."""

import os
import re
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from edge.experiment.errors import DetectorError
from edge.experiment.inbox import Inbox
from streams.controller import AccountNow, Controller, Readiness
from streams.sockets import Keys, SocketError, context, keys_of
from streams.subscriber import NoAnswer, Subscriber

RECEIVE_S = 0.1
JOIN_S = 10.0
READY_S = 2.0
"""For one answer about readiness at most; the question is asked again."""


class Plane(Protocol):
    """What a detector device needs of the data plane. All of it raises DetectorError where nobody answers."""

    @property
    def source(self) -> str: ...
    @property
    def route(self) -> str: ...
    def open(self) -> Inbox: ...
    def close(self, inbox: Inbox) -> None: ...
    def ready(self, inbox: Inbox) -> Readiness: ...
    def triggered(self, series_id: int, images: int, series_uid: str = "") -> bool: ...
    def account(self, series_id: int, series_uid: str = "") -> AccountNow | None: ...


class DataPlane:
    """One route of one `edge serve`. No I/O before `open`; may be opened again and again.

    Args:
        handshake_address: what `edge serve` prints as its handshake address.
        source: name of the detector's stream in its configuration.
        route: whose results are wanted.
        channel: the threshold to take where the detector sends several.
        timeout_s: how long to wait for its answers.
        keys: folder of a client's keys (`edge keys client`); needed where `edge serve` has keys.
    """

    def __init__(
        self,
        handshake_address: str,
        source: str,
        route: str,
        *,
        channel: str | None = None,
        timeout_s: float = 10.0,
        keys: str | Path | None = None,
    ) -> None:
        self._address = handshake_address
        self._source, self._route, self._channel = source, route, channel
        self._timeout_s = timeout_s
        self._keys = keys
        self._receivers: dict[Inbox, threading.Thread] = {}
        self._names: dict[Inbox, str] = {}  # of the subscribers that fill them

    @property
    def source(self) -> str:
        return self._source

    @property
    def route(self) -> str:
        return self._route

    def open(self) -> Inbox:
        """Subscribe; when this returns, no result that is published from now on is missed in the inbox.

        Raises:
            DetectorError: nobody answers, there is no such route, or the keys cannot be used.
        """
        try:
            keys = keys_of(self._keys)
        except SocketError as error:
            raise DetectorError(str(error)) from error
        inbox, subscribed = Inbox(self._source, self._channel), Future[None]()
        name = self._names[inbox] = _name(self._source)
        # A daemon: a process that leaves without unstaging must not wait for it for ever.
        receiver = threading.Thread(
            target=self._receive, args=(inbox, subscribed, name, keys), name=f"results of {self._route}", daemon=True
        )
        receiver.start()
        try:
            subscribed.result()
        except (NoAnswer, ValueError, SocketError) as error:
            del self._names[inbox]
            raise DetectorError(str(error)) from error
        self._receivers[inbox] = receiver
        return inbox

    def close(self, inbox: Inbox) -> None:
        """End the receiver that fills `inbox`, if there is one."""
        inbox.close()
        self._names.pop(inbox, None)
        receiver = self._receivers.pop(inbox, None)
        if receiver is not None:
            receiver.join(JOIN_S)

    def ready(self, inbox: Inbox) -> Readiness:
        """Whether the next frame would be served and its result come into `inbox`."""
        timeout_s = min(self._timeout_s, READY_S)
        try:
            with context(keys=keys_of(self._keys)) as ctx, Controller(ctx, self._address, timeout_s) as controller:
                return controller.ready(self._source, [self._route], [self._names[inbox]])
        except (NoAnswer, SocketError) as error:
            raise DetectorError(str(error)) from error

    def triggered(self, series_id: int, images: int, series_uid: str = "") -> bool:
        """Tell how many images the series has; False where no such series is open, or more have come."""
        try:
            with (
                context(keys=keys_of(self._keys)) as ctx,
                Controller(ctx, self._address, self._timeout_s) as controller,
            ):
                return controller.triggered(self._source, series_id, images, series_uid)
        except (NoAnswer, SocketError) as error:
            raise DetectorError(str(error)) from error

    def account(self, series_id: int, series_uid: str = "") -> AccountNow | None:
        """What became of the series so far."""
        try:
            with (
                context(keys=keys_of(self._keys)) as ctx,
                Controller(ctx, self._address, self._timeout_s) as controller,
            ):
                return controller.account(self._source, series_id, self._route, series_uid)
        except (NoAnswer, SocketError) as error:
            raise DetectorError(str(error)) from error

    def _receive(self, inbox: Inbox, subscribed: "Future[None]", name: str, keys: Keys | None) -> None:
        """The receiver's thread: owns the sockets from their making to their closing."""
        try:
            with context(keys=keys) as ctx:
                try:
                    subscriber = Subscriber(ctx, self._address, [self._route], self._timeout_s, name=name)
                except (NoAnswer, ValueError, SocketError) as error:
                    subscribed.set_exception(error)
                    return
                subscribed.set_result(None)
                with subscriber:
                    while inbox.open:
                        received = subscriber.receive(RECEIVE_S)
                        if received is not None:
                            inbox.put(*received)
        finally:
            inbox.close()
            if not subscribed.done():  # the error itself is reported as that of this thread
                subscribed.set_exception(SocketError("the receiver of results ended before it had begun"))


def _name(source: str) -> str:
    """Of one subscriber, and of no other: a name that two have does not say whether this one is present."""
    return f"device.{re.sub(r'[^A-Za-z0-9_.-]', '_', source)[:40]}.{os.urandom(4).hex()}"
