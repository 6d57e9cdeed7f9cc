"""Joins overlapping complex patches, each with a phase constant of its own, into one image as they arrive.

A patch is turned by the angle of its weighted inner product with what lies under it: the constant that brings the two
closest (the least-squares solution). Patches are weighted by the probe's intensity and placed to a fraction of a pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.physics.arrays import Complex, Float
from edge.physics.subpixel import sampling_matrix

FAINT = 0.02
"""Share of the peak weight below which a pixel of a patch says nothing about where the patch belongs."""


@dataclass(frozen=True)
class Canvas:
    """Where patches go: pixel [0, 0] of the canvas is pixel `origin` (row, col) of the object."""

    shape: tuple[int, int]
    origin: tuple[int, int]

    def place(self, corner: Float) -> NDArray[np.float64]:
        """Position on the canvas of a patch whose first pixel lies at `corner` of the object."""
        return np.asarray(corner, dtype=np.float64) - self.origin

    def cut(self, image: Complex) -> Complex:
        """The part of an image of the whole object that the canvas shows. Raises ValueError when it is not all there."""
        end = (self.origin[0] + self.shape[0], self.origin[1] + self.shape[1])
        if min(self.origin) < 0 or end[0] > image.shape[0] or end[1] > image.shape[1]:
            raise ValueError(f"the canvas {self.origin} to {end} leaves the image {image.shape}")
        return image[self.origin[0] : end[0], self.origin[1] : end[1]]


def canvas_for(corners: Float, patch_px: int) -> Canvas:
    """The smallest canvas for patches of `patch_px` whose first pixels lie at `corners` [n, 2]."""
    low = np.floor(corners.min(axis=0)).astype(int)
    high = np.floor(corners.max(axis=0)).astype(int) + patch_px + 1
    return Canvas((int(high[0] - low[0]), int(high[1] - low[1])), (int(low[0]), int(low[1])))


@dataclass
class _Placed:
    """A patch on the canvas: `sum` is weight x value, `weight` its weight, both [rows, cols] at `top`, `left`."""

    top: int
    left: int
    sum: NDArray[np.complex64]
    weight: NDArray[np.float32]

    @property
    def window(self) -> tuple[slice, slice]:
        return (
            slice(self.top, self.top + self.sum.shape[0]),
            slice(self.left, self.left + self.sum.shape[1]),
        )


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
        self._sum = np.zeros(shape_px, dtype=np.complex64)
        self._weight = np.zeros(shape_px, dtype=np.float32)
        self._island = np.zeros(shape_px, dtype=np.int32)  # 0 where nothing is, else a number per island
        self._islands: set[int] = set()
        self._kept: list[_Placed] | None = [] if refinable else None

    @property
    def islands(self) -> int:
        """How many groups of patches have no overlap with one another yet."""
        return len(self._islands)

    def add(self, amplitude: Float, phase: Float, position: Float | tuple[float, float]) -> None:
        """Adds a patch [patch_px, patch_px], phase in rad, whose first pixel lies at `position` (row, col) of the canvas.

        Raises ValueError when it has another shape, does not fit on the canvas, or holds values that are not finite.
        """
        if amplitude.shape != self._patch_weight.shape or phase.shape != self._patch_weight.shape:
            raise ValueError(f"a patch is {self._patch_weight.shape}, not {amplitude.shape} and {phase.shape}")
        patch = self._place(amplitude * np.exp(1j * phase), position)
        if not np.isfinite(patch.sum).all():
            raise ValueError("the patch holds values that are not finite")
        touched = self._touched(patch)
        if touched:
            patch.sum *= _turn(patch.sum, self._under(patch, touched[0]))
            for other in touched[1:]:
                self._merge(other, touched[0], _turn(self._under(patch, other), patch.sum))
            label = touched[0]
        else:
            label = self.patches + 1
            self._islands.add(label)
        self._sum[patch.window] += patch.sum
        self._weight[patch.window] += patch.weight
        island = self._island[patch.window]
        island[(patch.weight > FAINT) & (island == 0)] = label
        self.patches += 1
        if self._kept is not None:
            self._kept.append(patch)

    def image(self, least_weight: float = 0.05) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """(amplitude, phase in rad, weight), each float32 of the canvas's shape.

        Amplitude and phase are NaN where the weight is below `least_weight`; the centre of one patch weighs 1. The
        weighted mean of the phase of each island is about zero, so that an object of up to 2 pi shows no wrap.
        """
        seen = self._weight >= least_weight
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(seen, self._sum / self._weight, np.nan)
        for label in self._islands:
            own = self._island == label
            mean[own] *= np.exp(-1j * np.angle(self._sum[own].sum()))
        return np.abs(mean).astype(np.float32), np.angle(mean).astype(np.float32), self._weight.copy()

    def refine(self, sweeps: int = 2) -> None:
        """Solves each patch's constant again, against the sum of all others, `sweeps` times.

        Takes out the drift of a long row of patches, each of which was matched to its predecessors alone. Raises
        RuntimeError when patches were not kept.
        """
        if self._kept is None:
            raise RuntimeError("the stitcher was not told to keep patches: Stitcher(..., refinable=True)")
        for _ in range(sweeps):
            for patch in self._kept:
                under = self._sum[patch.window]
                under -= patch.sum
                patch.sum *= _turn(patch.sum, under)
                under += patch.sum

    def _place(self, patch: Complex, position: Float | tuple[float, float]) -> _Placed:
        top, left = int(np.floor(position[0])), int(np.floor(position[1]))
        size = self.patch_px + 1
        if top < 0 or left < 0 or top + size > self._sum.shape[0] or left + size > self._sum.shape[1]:
            raise ValueError(f"a patch at ({position[0]:.1f}, {position[1]:.1f}) leaves the canvas {self._sum.shape}")
        rows = sampling_matrix(self.patch_px, top - float(position[0]), size)
        cols = sampling_matrix(self.patch_px, left - float(position[1]), size).T
        total = rows @ (patch * self._patch_weight).astype(np.complex64) @ cols
        # The kernel's negative lobes may push a faint weight below zero.
        weight = np.maximum(rows @ self._patch_weight @ cols, 0)
        return _Placed(top, left, np.where(weight > 0, total, 0).astype(np.complex64), weight.astype(np.float32))

    def _touched(self, patch: _Placed) -> list[int]:
        """Islands that the patch overlaps, the one it overlaps most first."""
        island = self._island[patch.window]
        shared = patch.weight * self._weight[patch.window] * (patch.weight > FAINT)
        overlap = np.bincount(island.ravel(), shared.ravel()) if len(self._islands) > 1 else None
        if overlap is None:
            return [label for label in self._islands if float(shared[island == label].sum()) > FAINT]
        return sorted(
            (label for label in self._islands if label < len(overlap) and overlap[label] > FAINT),
            key=lambda label: -overlap[label],
        )

    def _under(self, patch: _Placed, label: int) -> Complex:
        return np.where(self._island[patch.window] == label, self._sum[patch.window], 0)

    def _merge(self, other: int, into: int, turn: complex) -> None:
        own = self._island == other
        self._sum[own] *= turn
        self._island[own] = into
        self._islands.discard(other)


def _turn(what: Complex, onto: Complex) -> complex:
    """Unit factor that brings `what` closest to `onto`, both weighted sums."""
    product = np.vdot(what, onto)
    return complex(product / abs(product)) if abs(product) > 0 else 1.0 + 0j
