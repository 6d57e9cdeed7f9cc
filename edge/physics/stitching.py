"""Joins overlapping complex patches, each with a phase constant of its own, into one image as they arrive.

A patch is turned by the angle of its weighted inner product with what lies under it: the constant that brings the two
closest (the least-squares solution). Patches are weighted by the probe's intensity and placed to a fraction of a pixel.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Complex, Float
from edge.physics.subpixel import sampling_matrix

Window: TypeAlias = tuple[slice, slice]

LEAST_OVERLAP = 0.01
"""Overlap, as a share of a patch's overlap with itself, below which the constant would be guessed from the dark rim."""


@dataclass(frozen=True)
class Canvas:
    """Where patches go: pixel [0, 0] of the canvas is pixel `origin` (row, col) of the object."""

    shape: tuple[int, int]
    origin: tuple[int, int]

    def place(self, corner: Float) -> NDArray[np.float64]:
        """Position on the canvas of a patch whose first pixel lies at `corner` of the object."""
        return np.asarray(corner, dtype=np.float64) - self.origin

    def cut(self, image: Complex) -> Complex:
        """The part of an image of the whole object that the canvas shows. Raises ValueError when any is missing."""
        end = (self.origin[0] + self.shape[0], self.origin[1] + self.shape[1])
        if min(self.origin) < 0 or end[0] > image.shape[0] or end[1] > image.shape[1]:
            raise ValueError(f"the canvas {self.origin} to {end} leaves the image {image.shape}")
        return image[self.origin[0] : end[0], self.origin[1] : end[1]]


def canvas_for(corners: Float, patch_px: int) -> Canvas:
    """The smallest canvas for patches of `patch_px` whose first pixels lie at `corners` [n, 2]."""
    low = np.floor(corners.min(axis=0)).astype(int)
    high = np.floor(corners.max(axis=0)).astype(int) + patch_px + 1
    return Canvas((int(high[0] - low[0]), int(high[1] - low[1])), (int(low[0]), int(low[1])))


class _Island:
    """Sums over patches that hang together. Fresh zeros take memory only where something is written."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.sum = np.zeros(shape, dtype=np.complex64)  # of weight x value
        self.weight = np.zeros(shape, dtype=np.float32)
        self.patches = 0
        self._low, self._high = np.array(shape), np.zeros(2, dtype=int)

    @property
    def box(self) -> Window:
        """The part of the canvas that holds all patches."""
        return slice(int(self._low[0]), int(self._high[0])), slice(int(self._low[1]), int(self._high[1]))

    def add(self, window: Window, total: Complex, weight: Float, patches: int) -> None:
        self.sum[window] += total
        self.weight[window] += weight
        self.patches += patches
        self._low = np.minimum(self._low, [side.start for side in window])
        self._high = np.maximum(self._high, [side.stop for side in window])


@dataclass
class _Placed:
    """A patch on the canvas: `sum` is weight x value, `weight` its weight, both of the window's shape."""

    window: Window
    sum: NDArray[np.complex64]
    weight: NDArray[np.float32]
    island: _Island | None = None


class Stitcher:
    """Running sums on a canvas `shape_px` (rows, cols) of patches [patch_px, patch_px].

    `probe_weight` [patch_px, patch_px], any scale, says how far each pixel of a patch is to be believed. Patches that
    touch nothing yet start an island of their own; the patch that bridges two islands turns one to match the other.
    With `refinable`, patches are kept (8 bytes a pixel and 4 for its weight) for `refine`.
    """

    def __init__(self, shape_px: tuple[int, int], patch_px: int, probe_weight: Float, refinable: bool = False) -> None:
        if probe_weight.shape != (patch_px, patch_px) or not probe_weight.max() > 0:
            raise ValueError(f"the weight must be a positive [{patch_px}, {patch_px}], not {probe_weight.shape}")
        self.patch_px = patch_px
        self.patches = 0
        self._patch_weight = (probe_weight / probe_weight.max()).astype(np.float32)
        self._shape = shape_px
        self._islands: list[_Island] = []
        self._kept: list[_Placed] | None = [] if refinable else None

    @property
    def islands(self) -> int:
        """How many groups of patches have no overlap with one another yet."""
        return len(self._islands)

    def add(self, amplitude: Float, phase: Float, position: Float | tuple[float, float]) -> None:
        """Adds a patch [patch_px, patch_px], phase in rad.

        `position` is the (row, col) of its first pixel on the canvas, fractions allowed. Raises ValueError when the
        patch has another shape, leaves the canvas, or holds values that are not finite.
        """
        if amplitude.shape != self._patch_weight.shape or phase.shape != self._patch_weight.shape:
            raise ValueError(f"a patch is {self._patch_weight.shape}, not {amplitude.shape} and {phase.shape}")
        patch = self._place(amplitude * np.exp(1j * phase), position)
        if not np.isfinite(patch.sum).all():
            raise ValueError("the patch holds values that are not finite")
        touched = self._touched(patch)
        if not touched:
            self._islands.append(_Island(self._shape))
            touched = self._islands[-1:]
        into = touched[0]
        patch.sum *= _turn(patch.sum, into.sum[patch.window])
        for other in touched[1:]:
            self._merge(other, into, _turn(other.sum[patch.window], patch.sum))
        into.add(patch.window, patch.sum, patch.weight, 1)
        self.patches += 1
        if self._kept is not None:
            patch.island = into
            self._kept.append(patch)

    def image(self, least_weight: float = 0.05) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """(amplitude, phase in rad, weight), each float32 of the canvas's shape.

        Amplitude and phase are NaN where the weight is below `least_weight`; the centre of one patch weighs 1. The
        weighted mean of the phase of each island is about zero, so that an object of up to 2 pi shows no wrap.
        """
        total, weight = np.zeros(self._shape, np.complex64), np.zeros(self._shape, np.float32)
        for island in self._islands:
            own = island.sum[island.box]
            total[island.box] += own * np.exp(-1j * np.angle(own.sum()))
            weight[island.box] += island.weight[island.box]
        seen = weight >= least_weight
        mean = np.where(seen, total / np.where(seen, weight, 1), np.nan)
        return np.abs(mean).astype(np.float32), np.angle(mean).astype(np.float32), weight

    def refine(self, sweeps: int = 10) -> None:
        """Solves each patch's constant again, against the sum of all others, `sweeps` times.

        Makes the image all but independent of the order in which patches came. On the measured star's test frames 30
        sweeps, 0.03 ms a patch each, take the stitched phase error of a shuffled scan from 0.099 to 0.075 rad; a scan
        in its own order, which has little drift to lose, goes from 0.066 to 0.073. Raises RuntimeError when patches
        were not kept.
        """
        if self._kept is None:
            raise RuntimeError("the stitcher was not told to keep patches: Stitcher(..., refinable=True)")
        for _ in range(sweeps):
            for patch in self._kept:
                assert patch.island is not None
                under = patch.island.sum[patch.window]
                under -= patch.sum
                patch.sum *= _turn(patch.sum, under)
                under += patch.sum

    def _place(self, patch: Complex, position: Float | tuple[float, float]) -> _Placed:
        top, left = int(np.floor(position[0])), int(np.floor(position[1]))
        size = self.patch_px + 1
        if top < 0 or left < 0 or top + size > self._shape[0] or left + size > self._shape[1]:
            raise ValueError(f"a patch at ({position[0]:.1f}, {position[1]:.1f}) leaves the canvas {self._shape}")
        rows = sampling_matrix(self.patch_px, top - float(position[0]), size)
        cols = sampling_matrix(self.patch_px, left - float(position[1]), size).T
        total = rows @ (patch * self._patch_weight).astype(np.complex64) @ cols
        # The kernel's negative lobes may push a faint weight below zero.
        weight = np.maximum(rows @ self._patch_weight @ cols, 0)
        total = np.where(weight > 0, total, 0).astype(np.complex64)
        return _Placed((slice(top, top + size), slice(left, left + size)), total, weight.astype(np.float32))

    def _touched(self, patch: _Placed) -> list[_Island]:
        """Islands that the patch overlaps, the largest first: it is the one that had better not turn."""
        least = LEAST_OVERLAP * float(np.vdot(patch.weight, patch.weight))
        found = [one for one in self._islands if float(np.vdot(patch.weight, one.weight[patch.window])) > least]
        return sorted(found, key=lambda island: -island.patches)

    def _merge(self, other: _Island, into: _Island, turn: complex) -> None:
        into.add(other.box, other.sum[other.box] * turn, other.weight[other.box], other.patches)
        self._islands.remove(other)
        for patch in self._kept or ():
            if patch.island is other:
                patch.sum *= turn
                patch.island = into


def _turn(what: Complex, onto: Complex) -> complex:
    """Unit factor that brings `what` closest to `onto`, both weighted sums."""
    product = np.vdot(what, onto)
    return complex(product / abs(product)) if abs(product) > 0 else 1.0 + 0j
