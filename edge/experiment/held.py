"""A device as a plan needs it that must be right under pause and resume: the reading of one scan point, held.

The RunEngine resumes by repeating the messages since the last checkpoint, and what those repeats answer is not seen
by the plan. So what a plan decides by must not depend on the answers: here outcomes and readings are kept aside,
where a repeat replaces them. And between the checkpoint after the readings and the one after their event, the event
is made of the held readings: were it repeated with fresh ones, a motor moved by hand during the pause would give the
point a position where it was not measured.
"""

import asyncio
import inspect
import threading
from typing import Any

from bluesky.protocols import Configurable, HasHints, Readable, Status, Triggerable
from bluesky.utils import FailedStatus
from ophyd.status import Status as OphydStatus


class Held:
    """Stands for `device` in the messages trigger and read; events and descriptors look as if it were the device.

    Attributes:
        failure: why the last trigger or reading failed; None where it did not.
    """

    def __init__(self, device: Readable) -> None:
        self._device = device
        self.failure: BaseException | None = None
        self._reading: dict[str, Any] | None = None
        self._triggered: Status | None = None
        self._outcome: OphydStatus | None = None
        self._turn = threading.Lock()
        self._reader: asyncio.Future[dict[str, Any]] | None = None

    @property
    def name(self) -> str:
        return self._device.name

    @property
    def parent(self) -> None:
        return None

    @property
    def triggerable(self) -> bool:
        return isinstance(self._device, Triggerable)

    def trigger(self) -> Status:
        """Trigger the device. The Status ends when the device's does, but never fails: see `failure`.

        The RunEngine throws a failed Status into the plan at whichever message it has come to by then. An earlier
        trigger that is still out, because the RunEngine paused and now repeats it, is given up: its Status ends here.
        """
        triggered: Status = self._device.trigger()  # pyright: ignore[reportAttributeAccessIssue]
        with self._turn:
            given_up, self._outcome = self._outcome, OphydStatus(obj=self)
            outcome, self._triggered = self._outcome, triggered
            self.failure = self._reading = None
        if given_up is not None:
            given_up.set_finished()
        triggered.add_callback(self._settle)
        return outcome  # pyright: ignore[reportReturnType]

    def _settle(self, status: Status) -> None:
        """From the thread of the device."""
        with self._turn:
            if status is not self._triggered or self._outcome is None:
                return
            outcome, self._outcome = self._outcome, None
            if not status.success:
                self.failure = status.exception(0) or FailedStatus(status)
        outcome.set_finished()

    def hold(self) -> "asyncio.Future[dict[str, Any]]":
        """Read the device: a factory for the message wait_for. Not where its trigger failed."""
        loop = asyncio.get_running_loop()
        if self.failure is not None and self._triggered is not None:
            done: asyncio.Future[dict[str, Any]] = loop.create_future()
            done.set_result({})
            return done
        self.failure = None
        reader = self._reader = loop.create_task(_read(self._device))
        reader.add_done_callback(self._keep)
        return reader

    def _keep(self, reader: "asyncio.Future[dict[str, Any]]") -> None:
        failure = None if reader.cancelled() else reader.exception()
        if reader is self._reader and not reader.cancelled():
            self.failure = failure
            self._reading = None if failure else reader.result()

    def read(self) -> dict[str, Any]:
        """The held reading."""
        if self._reading is None:
            raise RuntimeError(f"nothing is held of {self.name}: {self.failure or 'it was not read'}")
        return self._reading

    async def describe(self) -> dict[str, Any]:
        return await _awaited(self._device.describe())

    async def read_configuration(self) -> dict[str, Any]:
        device = self._device
        return await _awaited(device.read_configuration()) if isinstance(device, Configurable) else {}

    async def describe_configuration(self) -> dict[str, Any]:
        device = self._device
        return await _awaited(device.describe_configuration()) if isinstance(device, Configurable) else {}

    @property
    def hints(self) -> dict[str, Any]:
        return dict(self._device.hints) if isinstance(self._device, HasHints) else {}


async def _read(device: Readable) -> dict[str, Any]:
    return await _awaited(device.read())


async def _awaited(answer: Any) -> Any:
    """Devices may answer at once or with an awaitable."""
    return await answer if inspect.isawaitable(answer) else answer
