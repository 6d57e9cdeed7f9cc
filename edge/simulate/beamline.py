"""The beamline beside the detector: a stage of two axes, a beam, a monitor. All are functions of time.

Nothing here waits and nothing here knows a clock: every method is told the time, in seconds of one monotonic clock.
"""

import math
import threading
from dataclasses import dataclass, field, replace

import numpy as np

MONITOR_RATE_HZ = 1e6
"""Counts per second of the monitor at unit beam."""


@dataclass(frozen=True)
class Motion:
    """One axis: from `start` towards `target` at `speed`, since `began`; lengths in mm, no acceleration."""

    start: float = 0.0
    target: float = 0.0
    speed: float = 1.0  # mm/s
    began: float = 0.0  # s

    def position(self, now: float) -> float:
        way = self.target - self.start
        gone = self.speed * max(0.0, now - self.began)
        return self.target if gone >= abs(way) else self.start + math.copysign(gone, way)

    def moving(self, now: float) -> bool:
        return self.position(now) != self.target

    def towards(self, target: float, now: float) -> "Motion":
        """On from where it is now."""
        return Motion(self.position(now), target, self.speed, now)

    def stopped(self, now: float) -> "Motion":
        return self.towards(self.position(now), now)

    def at_speed(self, speed: float, now: float) -> "Motion":
        return replace(self.towards(self.target, now), speed=speed)


@dataclass(frozen=True)
class Beam:
    """Relative intensity, constant since `began`; `dose` is its integral over time until then."""

    intensity: float = 1.0
    began: float = 0.0  # s
    dose: float = 0.0  # s of unit beam

    def dose_at(self, now: float) -> float:
        return self.dose + self.intensity * max(0.0, now - self.began)

    def changed(self, intensity: float, now: float) -> "Beam":
        return Beam(intensity, now, self.dose_at(now))


@dataclass
class Beamline:
    """What is now. Values are replaced whole, so that any thread may read; changes are made under the lock."""

    stage: dict[str, Motion]
    beam: Beam
    rng: np.random.Generator
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def move(self, axis: str, target: float, now: float) -> None:
        with self._lock:
            self.stage[axis] = self.stage[axis].towards(target, now)

    def stop(self, axis: str, now: float) -> None:
        with self._lock:
            self.stage[axis] = self.stage[axis].stopped(now)

    def set_speed(self, axis: str, speed: float, now: float) -> None:
        with self._lock:
            self.stage[axis] = self.stage[axis].at_speed(speed, now)

    def set_beam(self, intensity: float, now: float) -> None:
        with self._lock:
            self.beam = self.beam.changed(intensity, now)

    def position(self, now: float) -> dict[str, float]:
        """Of all axes, in mm."""
        return {name: motion.position(now) for name, motion in self.stage.items()}

    def counts(self, dose: float) -> int:
        """Photons that the monitor counts while `dose` (s of unit beam) passes: Poisson."""
        with self._lock:
            return int(self.rng.poisson(MONITOR_RATE_HZ * dose))


def beamline(seed: int, now: float) -> Beamline:
    """At the corner of the map, at rest, with beam."""
    stage = {axis: Motion(began=now) for axis in ("x", "y")}
    return Beamline(stage, Beam(began=now), np.random.default_rng((seed, 0)))
