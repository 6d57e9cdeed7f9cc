"""What a loop took: CPU time of all threads of this process, and time by the clock."""

import time
from collections.abc import Callable
from typing import NamedTuple


class Spent(NamedTuple):
    """For a counted number of frames."""

    frames: int
    cpu_s: float
    wall_s: float

    @property
    def cpu_us(self) -> float:
        """A frame."""
        return 1e6 * self.cpu_s / self.frames

    @property
    def per_s(self) -> float:
        """Frames."""
        return self.frames / self.wall_s


def stopwatch() -> Callable[[int], Spent]:
    """Starts now; what it returns is asked for what `frames` took since."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    return lambda frames: Spent(frames, time.process_time() - cpu_s, time.perf_counter() - wall_s)
