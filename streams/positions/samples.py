"""Samples of positions, several a frame, joined to the images of one series.

Theory of operation
-------------------
A position box (a PandA, say) counts the samples of one arming from 0 and sends them in order, in messages that name
the number of their first sample. Frame `i` owns the samples `i * k` to `(i + 1) * k - 1`, where `k` is the number of
samples a frame. Its position is their mean on every axis, where all of them came; where one is lost the position is
missing: nothing is interpolated. The mean of an angle that wraps within one frame is wrong; unwrap it at the encoder.

The stream keeps its order, so a sample that was passed over will never come. The number behind the last sample seen is
the watermark: below it every image is decided.

Sums are kept for the last `window` images an axis, whatever the stream claims. There is no clock here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.positions.headers import AWAITED, AxisOf, Known, Missing, Verdict, Why, finite

WINDOW = 1 << 18
"""Images whose samples are kept, each with 12 bytes an axis: at 10 kHz the last 26 s."""


class Armed(msgspec.Struct, frozen=True):
    """The box was armed: its sample numbers begin at 0 again."""

    arm_time: str = ""  # by the box's clock


class Samples(msgspec.Struct, frozen=True):
    """Some samples in order: by dataset the number of the first one and the values, float64 [n]."""

    number: int  # of the message in its arming
    datasets: Mapping[str, tuple[int, NDArray[np.float64]]]


class Disarmed(msgspec.Struct, frozen=True):
    """The box was disarmed after so many messages with samples."""

    messages: int


BoxMessage: TypeAlias = Armed | Samples | Disarmed


class _Sums:
    """Sums of samples by image on one axis, in a ring of `window` images."""

    def __init__(self, window: int, samples_per_frame: int) -> None:
        self._window = window
        self._each = samples_per_frame
        self._sums: NDArray[Any] = np.zeros(window)
        self._counts: NDArray[Any] = np.zeros(window, np.int32)
        self._top = -1  # the last image that has a place
        self.end = 0  # number behind the last sample seen

    def add(self, first: int, values: NDArray[np.float64]) -> None:
        """Samples `first`, `first + 1`, ...; `first` is not below `end`."""
        image = first // self._each
        owners = (np.arange(len(values)) + first % self._each) // self._each  # counted from `image`
        sums, counts = np.bincount(owners, values), np.bincount(owners)
        cut = max(0, len(sums) - self._window)
        top = image + len(sums) - 1
        self._clear(top)
        at = (np.arange(cut, len(sums)) + image % self._window) % self._window
        self._sums[at] += sums[cut:]
        self._counts[at] += counts[cut:]
        self.end = first + len(values)

    def skip(self, end: int) -> None:
        """Samples below `end` were not sent on this axis, and will not be."""
        self.end = max(self.end, end)

    def mean(self, image: int) -> float | Why | None:
        """The mean over the samples of `image`; None where some of them may still come."""
        if image <= self._top - self._window:
            return Why.EVICTED
        at = image % self._window
        came = int(self._counts[at]) if image <= self._top else 0
        if came == self._each:
            mean = finite(float(self._sums[at]) / self._each)
            return Why.NOT_FINITE if mean is None else mean
        passed = min(max(self.end - image * self._each, 0), self._each)
        return Why.GAP if came < passed else None

    def _clear(self, top: int) -> None:
        new = top - self._top
        if new >= self._window:
            self._sums[:] = 0
            self._counts[:] = 0
        elif new > 0:
            at = (np.arange(1, new + 1) + self._top % self._window) % self._window
            self._sums[at] = 0
            self._counts[at] = 0
        self._top = max(self._top, top)


class PositionJoiner:
    """The positions of the images of one series, from the samples of one arming of the box.

    Args:
        axes: which dataset gives which axis.
        samples_per_frame: samples that belong to one image.
        window: images whose samples are kept.
    """

    def __init__(self, axes: Sequence[AxisOf], samples_per_frame: int = 1, window: int = WINDOW) -> None:
        self._each = samples_per_frame
        self._axes = [(axis, _Sums(window, samples_per_frame)) for axis in axes]
        self._absent = {axis.path[0] for axis in axes}
        self._last: Samples | None = None
        self.over: Why | None = None  # why no more samples will come

    @property
    def watermark(self) -> int:
        """Images 0 to `watermark - 1` are decided: their samples came, or never will."""
        return min(sums.end for _, sums in self._axes) // self._each

    @property
    def begun(self) -> bool:
        """Whether it has any sample."""
        return self._last is not None

    def samples(self, message: Samples) -> bool:
        """Enter samples. False where they are not of this arming: the box was armed anew, and we were not told."""
        if self.over is not None:
            return False
        if self._last is not None and message.number <= self._last.number:
            if _same(message, self._last):
                return True
            self.over = Why.RESTARTED
            return False
        given = [(sums, message.datasets.get(axis.path[0])) for axis, sums in self._axes]
        if any(found is not None and found[0] < sums.end for sums, found in given):
            self.over = Why.RESTARTED
            return False
        self._last = message
        self._absent -= message.datasets.keys()
        end = max((found[0] + len(found[1]) for _, found in given if found is not None), default=0)
        for sums, found in given:
            if found is None:
                sums.skip(end)
            elif len(found[1]):
                sums.add(*found)
        return True

    def stop(self, messages: int) -> None:
        """The box was disarmed, after so many messages."""
        if self.over is None:
            seen = self._last.number + 1 if self._last is not None else 0
            self.over = Why.GAP if messages > seen else Why.STOPPED

    def restart(self) -> None:
        """The box was started anew without being stopped."""
        if self.over is None:
            self.over = Why.RESTARTED

    def position(self, image_id: int) -> Verdict:
        """What is known of the position of one image."""
        if image_id < 0:
            return Missing(Why.BEYOND)
        position: dict[str, float] = {}
        awaited = False
        for axis, sums in self._axes:
            mean = sums.mean(image_id)
            if isinstance(mean, Why):
                return Missing(Why.NO_DATASET if axis.path[0] in self._absent else mean)
            if mean is None:
                awaited = True
                continue
            scaled = finite(axis.value(mean))
            if scaled is None:
                return Missing(Why.NOT_FINITE)
            position[axis.name] = scaled
        if not awaited:
            return Known(position)
        return AWAITED if self.over is None else Missing(self.over)


def _same(message: Samples, other: Samples) -> bool:
    """Whether two messages are one and the same, sent twice."""
    return (
        message.number == other.number
        and message.datasets.keys() == other.datasets.keys()
        and all(
            first == other.datasets[name][0] and np.array_equal(values, other.datasets[name][1], equal_nan=True)
            for name, (first, values) in message.datasets.items()
        )
    )
