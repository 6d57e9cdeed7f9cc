"""From the frames of a message to the images that routes see: which frames make one image, and what is done to it."""

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.conditioning.assembly import assemble
from edge.conditioning.description import describe
from edge.conditioning.errors import ConditioningError
from edge.conditioning.geom import Geometry
from edge.conditioning.mask import already_applied
from edge.conditioning.plan import Conditioner
from edge.conditioning.selection import Selection
from edge.conditioning.settings import Conditioning
from streams.codecs.compression import read_array
from streams.messages import DEFAULT_CHANNEL, CodecError, EncodedArray, Frame, SeriesStart

REMEMBERED = 16
"""Channels and shapes whose conditioner is kept."""

REMEMBERED_IMAGES = 4096
"""Assembled images that are remembered, to see when a module of one comes later."""

_MODULE = re.compile(r"(?:^|/)(\d{1,6})$|(\d{1,6})CH\d*(?![^:/])")
"""The module's number: at the end of a channel, or before CH as in SPB_DET_AGIPD1M-1/DET/3CH0:xtdf."""


class Shot(msgspec.Struct, frozen=True, gc=False):
    """One image on its way to the routes."""

    frame: Frame  # as routes and models see it: channel and shape of the conditioned image; the blob is of one part
    parts: tuple[Frame | None, ...]  # what is decompressed; of an assembled image by module, None: it did not come
    conditioner: Conditioner | None = None  # None: nothing is done to it
    error: str = ""  # why it cannot be conditioned


class Preparing:
    """Prepares the frames of one source.

    Args:
        conditioning: what is done to them; None: nothing.
    """

    def __init__(self, conditioning: Conditioning | None = None) -> None:
        self.missing = 0  # modules that did not come with the others of their image
        self._conditioning = conditioning
        self._made: OrderedDict[tuple[Any, ...], Conditioner | ConditioningError] = OrderedDict()
        self._placed: dict[tuple[int, int], tuple[tuple[int, int], tuple[float, float]]] = {}
        self._assembled: OrderedDict[tuple[str, int], None] = OrderedDict()

    @property
    def assembles(self) -> bool:
        """Whether several frames make one image."""
        return self._conditioning is not None and self._conditioning.assembles

    def shots(self, frames: Sequence[Frame], start: SeriesStart) -> list[Shot]:
        """The images of one message, in the order of their first frames.

        Args:
            frames: of one series, all that are new of one message.
            start: of their series.
        """
        if self._conditioning is None:
            return [Shot(frame, (frame,)) for frame in frames]
        if not self._conditioning.assembles:
            return [self._alone(frame, start) for frame in frames]
        images: dict[int, list[Frame]] = {}
        for frame in frames:
            images.setdefault(frame.image_id, []).append(frame)
        return [self._joined(modules, start) for modules in images.values()]

    def geometry(self, start: SeriesStart, selection: Selection) -> dict[str, Any]:
        """Where things are in the images of a route; empty where the series does not say how large its frames are."""
        if start.shape is None:
            return {}
        if self._conditioning is None:
            return describe(start.header, start.shape, "as-is", selection)
        shape, beam, pixel_size = start.shape, None, None
        orientation, file = self._conditioning.orientation, self._conditioning.geometry
        if file is not None:
            try:
                shape, beam = self._place(file, start.shape)
            except ConditioningError:
                return {}
            pixel_size = 1 / file.resolution if file.resolution else None
        return describe(start.header, shape, orientation, selection, beam, pixel_size)

    def _place(self, file: Geometry, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[float, float]]:
        """Shape of the assembled image, and the beam in it."""
        if shape not in self._placed:
            assembly = assemble(file, shape)
            self._placed = {shape: (assembly.shape, assembly.beam)}
        return self._placed[shape]

    def _alone(self, frame: Frame, start: SeriesStart) -> Shot:
        try:
            conditioner = self._conditioner(start, (frame.channel,), frame.shape, frame.dtype)
        except ConditioningError as error:
            return Shot(frame, (frame,), error=str(error))
        if not conditioner.changes:
            return Shot(frame, (frame,))
        seen = frame if conditioner.shape == frame.shape else msgspec.structs.replace(frame, shape=conditioner.shape)
        return Shot(seen, (frame,), conditioner)

    def _joined(self, frames: list[Frame], start: SeriesStart) -> Shot:
        """One image of the modules that came together."""
        first = frames[0]
        seen = msgspec.structs.replace(first, channel=DEFAULT_CHANNEL)
        try:
            self._remember(start.series_uid, first.image_id)
            by_module = self._by_module(frames)
            channels = [frame.channel if frame is not None else "" for frame in by_module]
            conditioner = self._conditioner(start, channels, first.shape, first.dtype)
        except ConditioningError as error:
            return Shot(seen, tuple(frames), error=str(error))
        self.missing += by_module.count(None)
        seen = msgspec.structs.replace(seen, shape=conditioner.shape)
        return Shot(seen, tuple(by_module), conditioner)

    def _by_module(self, frames: Iterable[Frame]) -> list[Frame | None]:
        assert self._conditioning is not None and self._conditioning.geometry is not None
        modules = self._conditioning.geometry.modules
        found: list[Frame | None] = [None] * len(modules)
        first: Frame | None = None
        for frame in frames:
            first = first or frame
            if (frame.shape, frame.dtype) != (first.shape, first.dtype):
                raise ConditioningError(
                    f"module {frame.channel!r} sends {frame.dtype}{list(frame.shape)}, {first.channel!r} sends "
                    f"{first.dtype}{list(first.shape)}; modules of one detector are alike"
                )
            at = module_of(frame.channel, self._conditioning.modules, [fixed for _, fixed in modules])
            if at is None:
                raise ConditioningError(
                    f"channel {frame.channel!r} is none of the geometry's {len(modules)} modules; name their channels "
                    "in modules of [source.conditioning], in the geometry's order"
                )
            found[at] = frame
        return found

    def _remember(self, series_uid: str, image_id: int) -> None:
        key = (series_uid, image_id)
        if key in self._assembled:
            raise ConditioningError(
                f"modules of image {image_id} came in a later message than the others; only modules that come in "
                "one message (a train) are assembled"
            )
        self._assembled[key] = None
        if len(self._assembled) > REMEMBERED_IMAGES:
            self._assembled.popitem(last=False)

    def _conditioner(
        self, start: SeriesStart, channels: Sequence[str], shape: tuple[int, int], dtype: str
    ) -> Conditioner:
        """What is done to such frames, made when first asked for; for every series anew where its header has a say."""
        assert self._conditioning is not None
        wants_mask = self._conditioning.mask_from_header and not already_applied(start.header, "pixel_mask")
        wants_field = self._conditioning.flatfield_from_header and not already_applied(start.header, "flatfield")
        arrays = (start.pixel_mask if wants_mask else {}, start.flatfield if wants_field else {})
        own = (start.series_uid, *channels, *map(len, arrays)) if any(arrays) else ()
        key = (own, shape, dtype)
        made = self._made.get(key)
        if made is None:
            try:
                mask, flatfield = (_of_channels(header, channels) for header in arrays)
                made = Conditioner(self._conditioning, shape, dtype, mask, flatfield)
            except ConditioningError as error:
                made = error
            self._forget_others(own)
            self._made[key] = made
            if len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        if isinstance(made, ConditioningError):
            raise made
        return made

    def _forget_others(self, own: tuple[Any, ...]) -> None:
        """Drop what was made for the headers of other series: a conditioner takes the memory of several images."""
        if own:
            for key in [key for key in self._made if key[0] and key[0][0] != own[0]]:
                del self._made[key]


def module_of(channel: str, names: Sequence[str], fixed: Sequence[tuple[int, ...]]) -> int | None:
    """Which module of a geometry a channel is; None: none.

    Args:
        channel: its name.
        names: channels in the geometry's order; empty: the number in the channel's name counts.
        fixed: the indices that the geometry gives each module (`dim1 = 3`).
    """
    if names:
        return names.index(channel) if channel in names else None
    match = _MODULE.search(channel)
    if match is None:
        return None
    number = int(match[1] or match[2])
    if (number,) in fixed:
        return fixed.index((number,))
    return number if number < len(fixed) and not any(len(one) == 1 for one in fixed) else None


def _of_channels(header: Any, channels: Sequence[str]) -> NDArray[Any] | None:
    """The header's arrays of channels, [modules, rows, columns]; None where it has none of them."""
    found = {channel: _decoded(header[channel]) for channel in channels if channel in header}
    if not found:
        return None
    if len({array.shape for array in found.values()}) > 1:
        raise ConditioningError("the header's arrays have different shapes for the modules of one detector")
    like = next(iter(found.values()))
    # a factor of 1 and a mask of 0 for a module of which the header says nothing
    nothing = np.full_like(like, 1 if like.dtype.kind == "f" else 0)
    return np.stack([found.get(channel, nothing) for channel in channels])


def _decoded(array: EncodedArray) -> NDArray[Any]:
    try:
        return read_array(array)
    except CodecError as error:
        raise ConditioningError(f"an array of the header cannot be read ({error})") from error
