"""How an exposure is told to stop."""

import threading
import time
from collections.abc import Callable


class Halt:
    """Waits for the exposing thread, and is set by others. `clock` is the clock of the times that are waited for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now = threading.Event()
        self.after_frame = False

    def stop(self) -> None:
        """At once: the frame being exposed is lost."""
        self._now.set()

    def finish_frame(self) -> None:
        """After the frame being exposed."""
        self.after_frame = True

    def wait_until(self, due: float) -> bool:
        """True, and early, where it is to stop at once."""
        return self._now.wait(max(0.0, due - self._clock()))
