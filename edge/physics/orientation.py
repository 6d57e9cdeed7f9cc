"""Which turn of the detector image goes with which axes of the scan, and what no measurement can tell about it.

A `Turn` is a guess at the truth: turn every image, and swap and negate the scan axes. There are 8 x 8 = 64. Both are
symmetries of the square, matrices of 0, 1 and -1 on (row, col) about the middle: an image pixel at v goes to G v, a
position x to H x. With the far field I(q) = |F[P(r) O(r + x)]|**2, some are the same measurement:

  * Mirror. Turning image and scan together, (G, H) -> (K G, K H), is the same with probe and object turned by K. So
    only the relative turn, inverse(H) G, one of 8, says whether frames overlap consistently. Its 8 members are told
    apart by a known probe alone, and only as far as that differs from its own mirror images.
  * Twin. Since F[conj(f)](q) = conj(F[f](-q)), turning the image by 180 degrees is the same with probe and object
    complex conjugated, at the same positions. So with an unknown probe 4 families of 16 remain. The sign of the
    probe's defocus tells twins apart.

What the overlap of the frames tells for itself is the family; for the rest it takes a guess of the probe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.orientation import ORIENTATIONS, Orientation
from edge.physics.arrays import Float

_ROWS: Mapping[Orientation, tuple[tuple[int, int], tuple[int, int]]] = {
    "as-is": ((1, 0), (0, 1)),
    "rotate-90": ((0, -1), (1, 0)),
    "rotate-180": ((-1, 0), (0, -1)),
    "rotate-270": ((0, 1), (-1, 0)),
    "mirror-columns": ((1, 0), (0, -1)),
    "mirror-rows": ((-1, 0), (0, 1)),
    "transpose": ((0, 1), (1, 0)),
    "anti-transpose": ((0, -1), (-1, 0)),
}
"""Where a pixel (row, col), counted from the middle, goes. Rows of the matrices."""

_NAMES: Mapping[tuple[tuple[int, int], tuple[int, int]], Orientation] = {_ROWS[name]: name for name in ORIENTATIONS}


@dataclass(frozen=True)
class Turn:
    """What to do with the data: turn every image, and the positions: swap first, then the signs."""

    image: Orientation = "as-is"
    scan: Orientation = "as-is"  # the positions are turned as an image of the sample would be

    @property
    def swap(self) -> bool:
        """Whether row and column of the positions are exchanged."""
        return _ROWS[self.scan][0][0] == 0

    @property
    def signs(self) -> tuple[int, int]:
        """Factors of the (row, col) positions after the exchange."""
        (a, b), (c, d) = _ROWS[self.scan]
        return a + b, c + d

    @property
    def relative(self) -> Orientation:
        """The turn of the image that does the same with the positions as they are, but for a mirrored sample."""
        return _name(_matrix(self.scan).T @ _matrix(self.image))

    @property
    def changes(self) -> int:
        """How much is to be changed: what is easiest to set up comes first."""
        return (self.image != "as-is") + 4 * self.swap + 2 * self.signs.count(-1)


TURNS = tuple(
    sorted((Turn(image, scan) for image in ORIENTATIONS for scan in ORIENTATIONS), key=lambda turn: turn.changes)
)
"""All 64, those with the fewest changes first."""


def turn_of(image: Orientation, signs: tuple[int, int], swap: bool) -> Turn:
    """The turn of an image and positions that are swapped (or not) and multiplied by `signs` (row, col)."""
    row, col = signs
    return Turn(image, _NAMES[((0, row), (col, 0)) if swap else ((row, 0), (0, col))])


def moved(positions: Float, turn: Turn) -> NDArray[np.float64]:
    """Positions [n, 2] (row, col) with axes swapped and negated as `turn` says."""
    return np.asarray(positions, dtype=np.float64) @ _matrix(turn.scan).T


def after(first: Turn, then: Turn) -> Turn:
    """The one turn that does what two do."""
    return Turn(_name(_matrix(then.image) @ _matrix(first.image)), _name(_matrix(then.scan) @ _matrix(first.scan)))


def twin(relative: Orientation) -> Orientation:
    """The relative turn that gives the complex conjugate of probe and object."""
    return _name(-_matrix(relative))


def family(relative: Orientation) -> tuple[Orientation, ...]:
    """The relative turns that no overlap of frames tells from `relative` while the probe is unknown: two."""
    return tuple(name for name in ORIENTATIONS if name in (relative, twin(relative)))


def members(relatives: Sequence[Orientation]) -> tuple[Turn, ...]:
    """The turns with one of these relative turns, 8 for each, those with the fewest changes first."""
    return tuple(turn for turn in TURNS if turn.relative in relatives)


def _matrix(name: Orientation) -> NDArray[np.int_]:
    return np.array(_ROWS[name])


def _name(matrix: NDArray[np.int_]) -> Orientation:
    (a, b), (c, d) = matrix.tolist()
    return _NAMES[((a, b), (c, d))]


FAMILIES: tuple[tuple[Orientation, ...], ...] = tuple(dict.fromkeys(family(name) for name in ORIENTATIONS))
