"""How well neighbouring frames of a scan agree about the sample they share, once they are turned as a hypothesis says.

Of a neighbourhood half of the frames are learnt from, by a few iterations of rPIE; what they say about the sample then
predicts the other half, which lies between them. A wrong turn may fit the frames it learns from, but it has put what
they show to wrong places: what it predicts is wrong. So the misfit is that of frames that were held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.orientation import oriented
from edge.physics.arrays import Complex, Float
from edge.physics.diffraction import far_field
from edge.physics.orientation import Turn, moved
from edge.physics.rpie import Settings, first_modes, reconstruct
from edge.physics.subpixel import shift_phase

SIZES = (21, 25, 27, 35, 45, 63, 75, 81, 105, 125)
"""Sides of the part of a frame that is used. Odd: an image of an odd side is turned about its middle pixel, where the
beam is, while turning an even one moves the beam by a pixel. Products of 3, 5 and 7: their transforms are quick."""

ENOUGH_COUNTS = 0.95
"""Share of the counts that the used part of a frame should hold."""

BORDER = 2
"""Pixels of the object beyond the outermost patch."""


@dataclass(frozen=True)
class Beam:
    """Where the beam is on the frames, and how much of them is used."""

    centre: tuple[int, int]  # (row, col)
    size: int
    share: float  # of the counts within

    def cut(self, frame: Float) -> Float:
        """The used part [size, size] of a frame: a view."""
        row, col = (place - self.size // 2 for place in self.centre)
        return frame[row : row + self.size, col : col + self.size]


@dataclass(frozen=True)
class Neighbourhood:
    """Some frames that lie close to each other, in random order: the first half is learnt from, the rest held out."""

    frames: NDArray[np.float64]  # [n, size, size] counts, the beam on the middle pixel; NaN where flagged
    positions: NDArray[np.float64]  # [n, 2] (row, col) in pixels of the object, before anything is turned
    names: NDArray[np.intp]  # [n] which frames of the scan these are

    def part(self, count: int) -> "Neighbourhood":
        """Those of `count` frames."""
        return Neighbourhood(self.frames[:count], self.positions[:count], self.names[:count])


@dataclass(frozen=True)
class Fit:
    """What a turn makes of a neighbourhood."""

    misfits: NDArray[np.float64]  # [held out] sum of (sqrt(counts) - modulus)**2 of each frame
    counts: NDArray[np.float64]  # [held out] sum of counts of each frame
    image: NDArray[np.complex64]  # [rows, cols] the object
    modes: NDArray[np.complex64]  # [1, size, size] the probe


def without_flags(frame: NDArray[np.unsignedinteger], instead: float = np.nan) -> NDArray[np.float64]:
    """Counts of an image as a detector sends it; flagged pixels, the largest values of its type, become `instead`."""
    flags_from = {1: 254, 2: 65534, 4: 2**31}[frame.dtype.itemsize]
    return np.where(frame < flags_from, frame, instead).astype(np.float64)


def mean_frame(frames: Float) -> NDArray[np.float64]:
    """The mean [height, width] of frames [n, height, width] over those that measured a pixel; 0 where none did."""
    seen = np.isfinite(frames)
    return np.where(seen, frames, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)


def find_beam(mean: Float) -> Beam:
    """The beam on the mean [height, width] of frames: centroid of the counts, smallest part with enough of them.

    Raises ValueError for frames without counts, and for those too small to tell anything.
    """
    few = max(3, mean.size // 1000)  # hot pixels must not decide
    clipped = np.minimum(mean, np.partition(mean, -few, axis=None)[-few])
    total = float(clipped.sum())
    if total <= 0:
        raise ValueError("the frames hold no counts")
    rows, cols = (np.arange(length) for length in mean.shape)
    centre = (int(np.rint(rows @ clipped.sum(axis=1) / total)), int(np.rint(cols @ clipped.sum(axis=0) / total)))
    reach = min(*centre, *(length - 1 - place for length, place in zip(mean.shape, centre, strict=True)))
    sizes = [size for size in SIZES if size // 2 <= reach]
    if not sizes:
        raise ValueError(f"the beam is at (row, col) {centre} of frames {mean.shape}: too little lies around it")
    beams = [Beam(centre, size, float(Beam(centre, size, 0).cut(clipped).sum()) / total) for size in sizes]
    return next((beam for beam in beams if beam.share >= ENOUGH_COUNTS), beams[-1])


def fitting_probe(probe: Complex, size: int) -> NDArray[np.complex128]:
    """A probe [height, width] with its far field cut to `size` pixels: the same field of view in coarser pixels.

    Raises ValueError when the probe is smaller.
    """
    if min(probe.shape) < size:
        raise ValueError(f"the probe {probe.shape} is smaller than the {size} pixels of the frames that are used")
    far = np.fft.fftshift(np.fft.fft2(probe, norm="ortho"))
    corner = [length // 2 - size // 2 for length in probe.shape]
    cut = far[corner[0] : corner[0] + size, corner[1] : corner[1] + size]
    return np.fft.ifft2(np.fft.ifftshift(cut), norm="ortho")


def probe_diameter(probe: Complex) -> float:
    """Twice the root mean square distance of a probe's [height, width] intensity from its centroid, in pixels."""
    power = np.abs(probe) ** 2 / np.sum(np.abs(probe) ** 2)
    rows, cols = (np.arange(length) for length in power.shape)
    variance = 0.0
    for places, share in ((rows, power.sum(axis=1)), (cols, power.sum(axis=0))):
        variance += float(places**2 @ share - (places @ share) ** 2)
    return 2 * float(np.sqrt(variance))


def choose_places(positions: Float, told: Float, number: int, apart: float) -> list[int]:
    """`number` frames to look around, `apart` or more from each other where the scan is large enough.

    `told` [n] says how much a frame differs from the mean: over an empty place no frame says anything, and NaN marks
    frames that were not looked at.
    """
    inside = _inside(positions)
    best = [int(index) for index in np.argsort(-np.where(np.isnan(told) | ~inside, -1, told))]
    chosen: list[int] = []
    while len(chosen) < number:
        free = [
            index
            for index in best
            if index not in chosen and all(np.hypot(*(positions[index] - positions[one])) >= apart for one in chosen)
        ]
        if free:
            chosen.append(free[0])
        elif apart < 1e-9:
            break
        else:
            apart = apart / 2 if apart > 1e-6 else 0.0
    return chosen


def around(positions: Float, centre: int, count: int, reach: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """`count` frames near that of index `centre`, in random order.

    The nearest, but no fewer than lie within `reach`: of a dense scan the nearest would hardly have moved, so of those
    a spread-out choice is taken.
    """
    distance = np.hypot(*(positions - positions[centre]).T)
    order = np.argsort(distance, kind="stable")
    near = order[: max(count, int(np.sum(distance <= reach)))]
    if len(near) > count:
        near = near[_spread_out(positions[near], count)]
    return rng.permutation(near)


def fit(hood: Neighbourhood, turn: Turn, guess: Complex, settings: Settings, seed: int = 0) -> Fit:
    """Learn from the first half of the frames, starting from the probe `guess` [size, size], and predict the rest."""
    frames = np.stack([oriented(frame, turn.image) for frame in hood.frames])
    size = frames.shape[-1]
    places = moved(hood.positions, turn)
    places = places - np.floor(places.min(axis=0)) + BORDER
    far = np.ceil(places.max(axis=0)).astype(int) + BORDER + size
    rng = np.random.default_rng(seed)
    half = (len(frames) + 1) // 2
    modes = first_modes(registered(guess, mean_frame(frames)), 1, float(np.nansum(frames[:half])) / half, rng)
    image = np.ones((int(far[0]), int(far[1])), dtype=np.complex64)
    for state in reconstruct(frames[:half], places[:half], modes, image, settings, rng):
        image, modes = state.image, state.modes
    misfits = [_misfit(frame, place, modes, image) for frame, place in zip(frames[half:], places[half:], strict=True)]
    return Fit(np.array(misfits), np.nansum(frames[half:], axis=(1, 2)), image.astype(np.complex64), modes)


def mean_misfits(hood: Neighbourhood) -> NDArray[np.float64]:
    """What predicting every frame that is held out by the mean of those learnt from comes to, [held out]."""
    half = (len(hood.frames) + 1) // 2
    mean = np.sqrt(mean_frame(hood.frames[:half]))
    return np.nansum((np.sqrt(hood.frames[half:]) - mean) ** 2, axis=(1, 2))


def registered(guess: Complex, mean: Float) -> NDArray[np.complex128]:
    """The probe `guess` [size, size] with its far field moved to where that of the `mean` frame [size, size] is.

    A far field that is off by a pixel makes a ramp of phase, which a probe that is held fixed could not follow.
    """
    far = np.abs(np.fft.fftshift(np.fft.fft2(guess, norm="ortho")))
    seen = np.sqrt(mean)
    match = np.fft.ifft2(np.fft.fft2(seen - seen.mean()) * np.fft.fft2(far - far.mean()).conj()).real
    shift = np.array(np.unravel_index(np.argmax(match), match.shape))
    ramp = np.fft.ifftshift(shift_phase(guess.shape, -shift))  # by k pixels of the far field: exp(2 pi i k r / size)
    return guess * np.fft.fftshift(ramp)


def blurred_focus(mean: Float, diameter: float) -> NDArray[np.complex128]:
    """A probe [size, size] for the `mean` far field [size, size]: in focus, then defocused to `diameter` pixels.

    For scans that come without a guess. The sign of the defocus is arbitrary: it chooses a twin.
    """
    size = mean.shape[0]
    place = np.arange(size) - size // 2
    radius = place[:, None] ** 2 + place[None, :] ** 2
    focus = np.sqrt(mean)
    probe = focus.astype(np.complex128)
    for bend in np.linspace(0, np.pi / size, 100):  # at the most, neighbours at the edge differ by half a turn
        probe = np.fft.ifft2(np.fft.ifftshift(focus * np.exp(1j * bend * radius)), norm="ortho")
        probe = np.fft.fftshift(probe)
        if probe_diameter(probe) >= diameter:
            break
    return probe


def _misfit(frame: Float, place: Float, modes: Complex, image: Complex) -> float:
    size = frame.shape[-1]
    row, col = (int(value) for value in np.floor(place))
    lit = np.fft.ifft2(np.fft.fft2(modes) * shift_phase((size, size), place - (row, col)))
    field = far_field(lit, image[row : row + size, col : col + size])
    modulus = np.sqrt(np.sum(field.real**2 + field.imag**2, axis=0))
    return float(np.nansum((np.sqrt(np.fft.ifftshift(frame)) - modulus) ** 2))


def _inside(positions: Float) -> NDArray[np.bool_]:
    """Positions in the inner half of the scan: around them it has frames on all sides."""
    low, high = np.quantile(positions, [0.15, 0.85], axis=0)
    return ((positions >= low) & (positions <= high)).all(axis=1)


def _spread_out(points: Float, count: int) -> list[int]:
    """Indices of `count` of the points, each as far from those before as can be; the first is kept."""
    chosen = [0]
    distance = np.hypot(*(points - points[0]).T)
    while len(chosen) < count:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.hypot(*(points - points[chosen[-1]]).T))
    return chosen


def residual(fits: Sequence[Fit]) -> float:
    """Sum of the misfits over the sum of counts."""
    return float(sum(one.misfits.sum() for one in fits) / sum(one.counts.sum() for one in fits))
