"""Opens files of measured scans, whatever they are: one way to get frames, positions and the probe.

Frames are delivered as a detector would send them: unsigned integers, [height, width], the beam in the centre.
  * Floating-point frames that hold integers become the smallest unsigned type that holds them all, exactly.
  * Signed integers keep their bits: the flags -1 and -2 of an int32 file become 2**32 - 1 and 2**32 - 2, by
    which detectors flag pixels in uint32, and counts that had wrapped in int16 are unwrapped.
  * Frames that a format keeps sparse are filled with zeros.
  * Corner-centred frames (the zero frequency at [0, 0]) are shifted to the centre.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import tifffile
from numpy.typing import NDArray

from edge.scanformats import read_file
from edge.scanraw import MAX_LOADED_BYTES, RawScan, ScanFileError

__all__ = ["Origin", "Scan", "ScanFileError", "open_scan"]

Origin: TypeAlias = Literal["auto", "corner", "centre"]
"""Where the zero frequency of the stored frames is; "auto" looks."""

CORNER_EXCESS = 4.0
"""Frames are corner-centred when their corners hold this many times the counts of their centre. A beam
stop or a flat background must not be enough."""

_SAMPLED = 16
_DAMAGED = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    tifffile.TiffFileError,
)


@dataclass(frozen=True)
class Scan:
    """A measured scan. Close it, or use it in a `with` statement: frames may be read from an open file."""

    format: str  # "npz", "hexrd", "npy", "hdf5", "cxi", "tiff"
    count: int
    shape: tuple[int, int]  # (height, width)
    dtype: str  # of the frames as delivered: "uint8", "uint16" or "uint32"
    origin: Literal["corner", "centre"]  # of the frames as stored; they are delivered centred
    positions: NDArray[np.float64] | None  # [count, 2] in (row, col)
    position_units: str | None  # "px" or "m"
    probe: NDArray[np.complex64] | None  # [modes, height, width], as stored
    frame: Callable[[int], NDArray[Any]]  # the frame of an index, [height, width]; raises ScanFileError
    close: Callable[[], None]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """The frames in order."""
        return map(self.frame, range(self.count))

    def __enter__(self) -> "Scan":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_scan(path: str | Path, dataset: str | None = None, origin: Origin = "auto") -> Scan:
    """Open a scan; `dataset` names the frames in a file that holds several stacks.

    Raises:
        ScanFileError: the file cannot be read, or holds no frames that a detector could send.
    """
    path = Path(path)
    raw = _reading(path, lambda: read_file(path, dataset))
    try:
        counts = _Counts(raw, path)
        at_corner = origin == "corner" or (origin == "auto" and not raw.as_sent and _corner_centred(counts, raw.count))
        frame = _shifted(counts) if at_corner else counts.frame
        return Scan(
            format=raw.format,
            count=raw.count,
            shape=raw.shape,
            dtype=counts.dtype.name,
            origin="corner" if at_corner else "centre",
            positions=_positions(raw, path),
            position_units=raw.position_units,
            probe=_probe(raw, path),
            frame=frame,
            close=raw.close,
        )
    except ScanFileError:
        raw.close()
        raise


def _reading(path: Path, action: Callable[[], Any]) -> Any:
    """Whatever a damaged file makes a library raise becomes one clear line."""
    try:
        return action()
    except FileNotFoundError:
        raise ScanFileError(f"{path}: there is no such file") from None
    except ScanFileError as error:
        raise ScanFileError(f"{path}: {error}") from None
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ScanFileError(f"{path}: cannot be read ({reason}); the file is damaged or of another format") from error


class _Counts:
    """The frames of a file as unsigned integers."""

    def __init__(self, raw: RawScan, path: Path) -> None:
        self._raw = raw
        self._path = path
        stored = raw.dtype
        self._as_stored = stored.kind == "b" or (stored.kind in "iu" and stored.itemsize <= 4)
        if self._as_stored:
            self.dtype = np.dtype(f"u{stored.itemsize}")
        else:
            self.dtype = np.dtype(np.uint32)
            self.dtype = self._smallest()

    def frame(self, index: int) -> NDArray[Any]:
        """One frame [height, width]."""
        stored = self._stored(index)
        if self._as_stored:
            native = np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))
            return native.view(self.dtype)
        self._check(stored, index)
        # via int64, where the bits of negative flags stay what they are in int32
        return stored.astype(np.int64).astype(self.dtype)

    def _stored(self, index: int) -> NDArray[Any]:
        if not 0 <= index < self._raw.count:
            raise IndexError(f"frame {index} of {self._raw.count}")
        return _reading(self._path, lambda: self._raw.read(index))

    def _check(self, stored: NDArray[Any], index: int) -> tuple[int, int]:
        """Least and greatest value of a frame whose numbers can all be delivered."""
        if stored.dtype.kind == "f" and not (np.isfinite(stored).all() and (stored == np.rint(stored)).all()):
            raise ScanFileError(f"{self._path}: frame {index} holds fractions or NaN; expected integer counts")
        low, high = int(stored.min()), int(stored.max())
        lowest = 0 if stored.dtype.kind == "f" else -(2**31)
        if low < lowest or high > np.iinfo(self.dtype).max or (low < 0 and high >= 2**31):
            raise ScanFileError(
                f"{self._path}: frame {index} holds values {low} to {high}; expected counts that fit into {self.dtype}"
            )
        return low, high

    def _smallest(self) -> np.dtype[Any]:
        """The smallest type that holds every frame; uint32 where looking would mean to read a huge file."""
        raw = self._raw
        if raw.count * raw.shape[0] * raw.shape[1] * raw.dtype.itemsize > MAX_LOADED_BYTES:
            return np.dtype(np.uint32)
        extremes = [self._check(self._stored(index), index) for index in range(raw.count)]
        if min(low for low, _ in extremes) < 0:
            return np.dtype(np.uint32)
        return np.min_scalar_type(max(high for _, high in extremes))


def _corner_centred(counts: _Counts, count: int) -> bool:
    """Compare the corners of the mean of some frames with its centre, a quarter of the area each."""
    chosen = np.unique(np.linspace(0, count - 1, min(count, _SAMPLED)).astype(int))
    flags_from = {1: 254, 2: 65534, 4: 2**31}[counts.dtype.itemsize]  # flagged pixels are no counts
    total = 0.0
    for index in chosen:
        frame = counts.frame(int(index))
        total = total + np.where(frame < flags_from, frame, 0).astype(np.float64)
    mean = np.asarray(total)
    brightest = max(3, mean.size // 1000)  # a few hot pixels must not decide
    if mean.size > brightest:
        mean = np.minimum(mean, np.partition(mean, -brightest, axis=None)[-brightest])
    height, width = mean.shape
    centre = _middle_half(mean)
    corner = _middle_half(np.roll(mean, (height // 2, width // 2), axis=(0, 1)))
    return float(corner.sum()) > CORNER_EXCESS * float(centre.sum())


def _middle_half(image: NDArray[Any]) -> NDArray[Any]:
    height, width = image.shape
    return image[height // 4 : height - height // 4, width // 4 : width - width // 4]


def _shifted(counts: _Counts) -> Callable[[int], NDArray[Any]]:
    def frame(index: int) -> NDArray[Any]:
        return np.fft.fftshift(counts.frame(index))

    return frame


def _positions(raw: RawScan, path: Path) -> NDArray[np.float64] | None:
    if raw.positions is None:
        return None
    if raw.positions.dtype.kind not in "iuf" or raw.positions.shape != (raw.count, 2):
        found = f"{raw.positions.dtype}{list(raw.positions.shape)}"
        raise ScanFileError(f"{path}: positions are {found}; expected [{raw.count}, 2] numbers, one row a frame")
    positions = raw.positions.astype(np.float64)
    if not np.isfinite(positions).all():
        raise ScanFileError(f"{path}: positions hold NaN or infinity; expected numbers")
    return positions


def _probe(raw: RawScan, path: Path) -> NDArray[np.complex64] | None:
    if raw.probe is None:
        return None
    if raw.probe.ndim < 2 or raw.probe.dtype.kind not in "cf" or not raw.probe.size:
        raise ScanFileError(
            f"{path}: the probe is {raw.probe.dtype}{list(raw.probe.shape)}; expected complex [modes, height, width]"
        )
    return raw.probe.reshape(-1, *raw.probe.shape[-2:]).astype(np.complex64)
