"""Conditioning compiled for the frames of one shape and type: built once, applied to each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.assembly import MAX_GRID_PIXELS, NOTHING, assemble, bad_pixels
from edge.conditioning.errors import ConditioningError
from edge.conditioning.flags import Flags, flags_of
from edge.conditioning.flatfield import FlatField, unusable
from edge.conditioning.mask import PixelMask, joined
from edge.conditioning.orientation import Orientation, copy_oriented, oriented, oriented_shape
from edge.conditioning.settings import Conditioning


class Conditioner:
    """What is done to each image: values first (calibration, flat field, mask), then places (geometry, orientation).

    Args:
        conditioning: what to do.
        shape: (rows, columns) of a frame as it arrives; of a module, where an image is several.
        dtype: numpy type of its pixels, e.g. "<u2".
        mask: of the header, in the shape of the frame; None: none, or not to be used.
        flatfield: the same; factors.

    Raises:
        ConditioningError: a mask, map or geometry does not fit such frames.
    """

    def __init__(
        self,
        conditioning: Conditioning,
        shape: tuple[int, int],
        dtype: str,
        mask: NDArray[Any] | None = None,
        flatfield: NDArray[Any] | None = None,
    ) -> None:
        self.modules = len(conditioning.geometry.modules) if conditioning.geometry is not None else 1
        self.module_shape = shape
        if self.modules * shape[0] * shape[1] > MAX_GRID_PIXELS:
            raise ConditioningError(f"{self.modules} modules of {shape[0]} x {shape[1]} pixels are no detector's")
        self.flags = _flags(conditioning, dtype)
        whole = (self.modules, *shape)
        self._jungfrau = conditioning.jungfrau
        if self._jungfrau is not None and (self._jungfrau.modules, *self._jungfrau.shape) != whole:
            raise _misfit("pedestal and gain", (self._jungfrau.modules, *self._jungfrau.shape), whole)
        factors = _fitting(flatfield if flatfield is not None else conditioning.flatfield, whole, "flat field")
        self._flatfield = None if factors is None else FlatField(factors, self.flags)
        masks = [_fitting(conditioning.mask, whole, "mask"), _fitting(mask, whole, "mask of the header")]
        masks.append(None if factors is None else unusable(factors))
        if conditioning.geometry is not None:
            masks.append(np.where(bad_pixels(conditioning.geometry, shape), 2, 0))
        merged = joined(*masks)
        self._mask = None if merged is None or not merged.any() else PixelMask(merged, self.flags)
        self._orientation: Orientation = conditioning.orientation
        self.shape = oriented_shape(shape, self._orientation)
        self._index: NDArray[np.intp] | None = None
        if conditioning.geometry is not None:
            assembled = assemble(conditioning.geometry, shape).index
            self._arrange(np.ascontiguousarray(oriented(assembled, self._orientation)))

    def _arrange(self, index: NDArray[np.intp]) -> None:
        self.shape = (index.shape[0], index.shape[1])
        flat = index.reshape(-1)
        self._gaps = np.flatnonzero(flat == NOTHING)
        flat[self._gaps] = 0
        self._index = flat

    @property
    def moves(self) -> bool:
        """Whether pixels change their places: then an image needs another buffer than the one it was decoded into."""
        return self._index is not None or self._orientation != "as-is"

    @property
    def changes(self) -> bool:
        """Whether anything is done at all."""
        return self.moves or any(step is not None for step in (self._jungfrau, self._flatfield, self._mask))

    def apply(self, decoded: NDArray[np.unsignedinteger], out: NDArray[np.unsignedinteger]) -> None:
        """Condition one image. Allocates no image; several threads may at once.

        Args:
            decoded: [modules * rows * columns] as it arrived, flat; it is overwritten.
            out: [height, width], `self.shape`; where nothing `moves` it may be the same memory as `decoded`.
        """
        if self._jungfrau is not None:
            self._jungfrau.apply(decoded)
        if self._flatfield is not None:
            self._flatfield.apply(decoded)
        if self._mask is not None:
            self._mask.apply(decoded)
        if self._index is not None:
            flat = out.reshape(-1)
            np.take(decoded, self._index, out=flat, mode="clip")
            flat[self._gaps] = self.flags.gap
        elif self._orientation != "as-is":
            copy_oriented(decoded.reshape(self.module_shape), self._orientation, out)
        elif not np.may_share_memory(decoded, out):
            np.copyto(out, decoded.reshape(self.shape))


def _flags(conditioning: Conditioning, dtype: str) -> Flags:
    try:
        flags = flags_of(dtype)
    except ValueError as error:
        raise ConditioningError(str(error)) from error
    if conditioning.jungfrau is not None and flags.dtype != "uint16":
        raise ConditioningError(f"raw JUNGFRAU pixels are uint16, these frames are {np.dtype(dtype).name}")
    return flags


def _fitting(array: NDArray[Any] | None, whole: tuple[int, int, int], what: str) -> NDArray[Any] | None:
    if array is None:
        return None
    shaped = array.reshape(1, *array.shape) if array.ndim == 2 else array
    if shaped.shape != whole:
        raise _misfit(what, shaped.shape, whole)
    return shaped


def _misfit(what: str, found: tuple[int, ...], wanted: tuple[int, int, int]) -> ConditioningError:
    return ConditioningError(
        f"the {what} has {' x '.join(map(str, found))} (modules x rows x columns), the frames have "
        f"{' x '.join(map(str, wanted))}; it is needed as the frames arrive, before assembly and orientation"
    )
