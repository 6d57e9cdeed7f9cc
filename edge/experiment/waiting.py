"""Ends of work: of Statuses, and for the message wait_for.

Its factories may be called again after a pause, and never raise. Each call gives a new asyncio
future that only watches: cancelling it (a pause does) leaves the watched one alone. What came of the wait is read from
the watched one, for after a pause the answer to the message itself is lost.
"""

import asyncio
import concurrent.futures
import time
from collections.abc import Callable
from typing import Any

from bluesky.protocols import Status
from ophyd.status import Status as OphydStatus

Factory = Callable[[], "asyncio.Future[None]"]


def settled(future: "concurrent.futures.Future[Any]", deadline_s: float) -> Factory:
    """Until `future` is done or failed or cancelled, or the monotonic clock shows `deadline_s`."""

    def watch() -> "asyncio.Future[None]":
        loop = asyncio.get_running_loop()
        watcher: asyncio.Future[None] = loop.create_future()
        future.add_done_callback(lambda _: _tell(loop, watcher))
        timer = loop.call_later(max(0.0, deadline_s - time.monotonic()), _end, watcher)
        watcher.add_done_callback(lambda _: timer.cancel())
        return watcher

    return watch


def finished(status: Status) -> Factory:
    """Until `status` is done, however it ends."""

    def watch() -> "asyncio.Future[None]":
        loop = asyncio.get_running_loop()
        watcher: asyncio.Future[None] = loop.create_future()
        status.add_callback(lambda _: _tell(loop, watcher))
        return watcher

    return watch


def settle(status: OphydStatus, job: "concurrent.futures.Future[None]") -> None:
    """End `status` as `job` ended: a done-callback for it."""
    error = job.exception()
    if error is None:
        status.set_finished()
    else:
        status.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))


def _tell(loop: asyncio.AbstractEventLoop, watcher: "asyncio.Future[None]") -> None:
    """From any thread."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(_end, watcher)


def _end(watcher: "asyncio.Future[None]") -> None:
    if not watcher.done():
        watcher.set_result(None)
