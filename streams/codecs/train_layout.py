"""Where the images of a train lie in the array that holds them all."""

import math
from collections.abc import Sequence

import msgspec

from streams.messages import CodecError

AXES = ("pulses", "modules", "ss", "fs")
"""Exposures of a train, modules of the detector, rows and columns of a module (slow and fast scan)."""

MAX_IMAGES = 16_384
"""Images of one array: 16 modules by 1024 pulses."""

AUTO = "auto"
FILE_LIKE, ONLINE = ("pulses", "modules", "ss", "fs"), ("modules", "fs", "ss", "pulses")


class Layout(msgspec.Struct, frozen=True):
    """Lengths of the axes, and bytes from one to the next along each; absent axes have the length 1."""

    pulses: int
    modules: int
    shape: tuple[int, int]  # (height, width) = (ss, fs)
    itemsize: int
    strides: tuple[int, int, int, int]  # pulses, modules, ss, fs
    has_modules: bool

    def offset(self, pulse: int, module: int) -> int:
        """The first byte of an image."""
        return pulse * self.strides[0] + module * self.strides[1]

    @property
    def images(self) -> int:
        return self.pulses * self.modules

    @property
    def reach(self) -> int:
        """Bytes from the first of an image to its last."""
        (height, width), (_, _, down, right) = self.shape, self.strides
        return (height - 1) * down + (width - 1) * right + self.itemsize

    @property
    def image_strides(self) -> tuple[int, int] | None:
        """As in `Frame`: None where images lie row by row."""
        down, right = self.strides[2:]
        return None if (down, right) == (self.shape[1] * self.itemsize, self.itemsize) else (down, right)


def parse_axes(text: str) -> tuple[str, ...] | None:
    """The order of axes that a setting names, as "pulses,modules,ss,fs"; None for "auto".

    Raises:
        ValueError: it names none, or without ss and fs.
    """
    if text == AUTO:
        return None
    axes = tuple(name.strip() for name in text.split(","))
    if len(set(axes)) < len(axes) or not {"ss", "fs"} <= set(axes) <= set(AXES):
        raise ValueError(f"axes = {text!r}; write {AUTO!r}, or the order of the array's axes out of {', '.join(AXES)}")
    return axes


def find_axes(shape: Sequence[int], pulses: int | None, modules: int | None) -> tuple[str, ...]:
    """The order of axes of an array, from what else the train tells of the numbers of pulses and modules.

    Detectors of modules come as the online calibration orders them (modules, fs, ss, pulses), or as files do (pulses,
    modules, ss, fs); single modules without the axis of modules.

    Raises:
        CodecError: that leaves no order, or several.
    """
    candidates: list[tuple[str, ...]]
    if len(shape) == 2:
        return ("ss", "fs")
    if len(shape) == 3:
        if pulses is None:
            return ("pulses", "ss", "fs")
        candidates = [("pulses", "ss", "fs"), ("fs", "ss", "pulses")]
    elif len(shape) == 4:
        candidates = [FILE_LIKE, ONLINE]
    else:
        raise CodecError("unsupported", f"an array of images with {len(shape)} axes")
    told = {"pulses": pulses, "modules": modules}
    fitting = [
        axes
        for axes in candidates
        if all(told.get(name) in (None, length) for name, length in zip(axes, shape, strict=True))
    ]
    same = len(fitting) == 2 and dict(zip(fitting[0], shape, strict=True)) == dict(zip(fitting[1], shape, strict=True))
    if same and pulses == 1:  # the axes that trade places have the length 1
        return fitting[0]
    if len(fitting) != 1:
        raise CodecError(
            "unsupported",
            f"no telling which axes of an array {list(shape)} are pulses and modules; set axes in the source's options",
        )
    return fitting[0]


def lay_out(axes: Sequence[str], shape: Sequence[int], itemsize: int) -> Layout:
    """The layout of a C-ordered array of `shape` whose axes are `axes`.

    Raises:
        CodecError: they differ in number, or there are too many images.
    """
    if len(axes) != len(shape):
        raise CodecError("unsupported", f"an array of images {list(shape)} where axes names {','.join(axes)}")
    lengths = dict(zip(axes, shape, strict=True))
    steps = {name: itemsize * math.prod(shape[at + 1 :]) for at, name in enumerate(axes)}
    pulses, modules = lengths.get("pulses", 1), lengths.get("modules", 1)
    if pulses * modules > MAX_IMAGES:
        raise CodecError("too_large", f"{pulses} x {modules} images in one array")
    strides = (steps.get("pulses", 0), steps.get("modules", 0), steps["ss"], steps["fs"])
    return Layout(pulses, modules, (lengths["ss"], lengths["fs"]), itemsize, strides, "modules" in lengths)
