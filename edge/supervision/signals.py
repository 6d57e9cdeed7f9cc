"""Signals as something to read, for a loop that waits for several things."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType


class Signals:
    """The read end of the pipe that Python writes the numbers of signals to."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> list[signal.Signals]:
        """Those that came since the last call."""
        with suppress(BlockingIOError):
            return [signal.Signals(number) for number in os.read(self._descriptor, 4096)]
        return []


@contextmanager
def caught(numbers: Sequence[signal.Signals]) -> Iterator[Signals]:
    """Signals that are only to be read from now on; one that is ignored (`nohup`) stays ignored. Main thread only."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    with ExitStack() as stack:
        stack.callback(os.close, reading)
        stack.callback(os.close, writing)
        stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writing, warn_on_full_buffer=False))
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                stack.callback(signal.signal, number, signal.signal(number, _wake_only))
        yield Signals(reading)


def _wake_only(number: int, frame: FrameType | None) -> None:
    """The pipe has been written to; the loop does the rest."""
