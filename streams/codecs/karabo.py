"""The Karabo bridge of the European XFEL, versions 2.2 and 1.0: one message a train, all sources together.

Specification: European-XFEL/karabo-bridge-py, serializer.py. A train has an id that counts at 10 Hz since the start of
the facility, and an array of images, of one or many pulses, of one or many modules:

  * image id = train id * pulses + pulse, where pulses is that of the first train; another number opens another series;
  * a channel a module: "SOURCE/3"; "SOURCE" where the array has no axis of modules;
  * there is neither a start nor an end of a run: lost trains show as gaps in the ids.

A train of which no pulse was kept says that the images of the channels known by then are absent, not lost. So does one
without a source, or without the key of its images; but a message of version 2.2 that was cut short looks the same, so
that is believed only where something of the train follows behind: a source of a higher name (senders sort them).

Pixels that are no integers (corrected data in float32) and pickled objects are refused.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from streams.codecs.limits import (
    ITEMSIZES,
    MAX_ID,
    MAX_NAME_CHARS,
    check_parts,
    check_raw,
    image_bytes,
    plain_name,
    wire_dtype,
)
from streams.codecs.opening import Entered, SeriesOpener
from streams.codecs.options import OptionError, read_options
from streams.codecs.sending import with_position
from streams.codecs.train_layout import MAX_IMAGES, Layout, find_axes, lay_out, parse_axes
from streams.codecs.trains import Array, TrainSource, read_train, scalar
from streams.messages import Absent, CodecError, Compression, Frame, Message, Part

MAX_VALUES = 4096
"""Scalars of a train that ride along with its images; a train of a whole beamline has some hundred."""

MAX_CHANNELS = 64
"""Whose absence is told; a ledger has no more of a stream that announces none."""

MODULE_CHARS = 8
"""Of a channel's name, for the module."""

PULSE_KEYS = ("pulseId", "cellId", "trainId")
"""Beside the images, one number a pulse."""

MODULE_KEYS = ("modulesPresent", "sources")
"""Of the source, one entry a module."""


class KaraboOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a train leaves open."""

    image: str = "image.data"  # the key of the images
    sources: tuple[str, ...] = ()  # which sources have images; empty: all that have the key
    axes: str = "auto"  # order of the axes, e.g. "modules,fs,ss,pulses"


class KaraboDecoder:
    """Bytes to messages for one source of ours.

    Args:
        options: fields of `KaraboOptions`.

    Raises:
        OptionError: there is no such option, or not with that value.
    """

    def __init__(self, source: str, **options: Any) -> None:
        self._source = source
        self._options = read_options(KaraboOptions, options)
        try:
            self._axes = parse_axes(self._options.axes)
        except ValueError as error:
            raise OptionError(str(error)) from None
        self._opener = SeriesOpener(source)
        self._uid = ""  # of the newest series
        self._channels: dict[str, str] = {}  # met in it: the source by channel

    def decode(self, parts: Sequence[Part], received_ns: int) -> list[Message]:
        """Translate one train; `received_ns` is the wall clock, which names series.

        Raises:
            CodecError: the message is not what the protocol allows.
        """
        check_parts(parts)
        train = read_train(parts)
        stacks = self._stacks(train)
        if not stacks:
            return self._without_images(train, cuttable=len(parts) > 1)
        first = stacks[0]
        sources = [name[:MAX_NAME_CHARS] for name in sorted(train)[:MAX_VALUES]]
        entered = self._opener.enter(
            first.first_image,
            _taken_s(train[first.name]),
            received_ns,
            layout=first.layout.pulses,
            shape=first.layout.shape,
            dtype=plain_name(first.dtype),
            header={"sources": sources, "pulses": first.layout.pulses},
        )
        if entered.start:
            self._uid, self._channels = entered.uid, {}
        messages: list[Message] = [*entered.start]
        told: dict[str, Any] = {"values": _values(train)}
        for found in train.values():
            told = with_position(told, found.values)
        for stack in stacks:
            messages += self._frames(stack, entered, told)
        here = {channel: stack.name for stack in stacks for channel in stack.channels}
        told_of = self._told_of(train, cuttable=len(parts) > 1)
        messages += self._absent(entered, first.first_image, first.layout.pulses, told_of - set(here))
        if entered.uid == self._uid:
            for channel, name in here.items():
                if len(self._channels) < MAX_CHANNELS:
                    self._channels[channel] = name
        return messages

    def closed(self, series_uid: str) -> None:
        """The ledger closed this series; what comes next begins another."""
        self._opener.closed(series_uid)

    def _stacks(self, train: Mapping[str, TrainSource]) -> list["_Stack"]:
        stacks = [self._stack(name, train[name], array) for name, array in self._with_images(train)]
        pulses = {stack.layout.pulses for stack in stacks}
        if len(pulses) > 1:
            raise CodecError(
                "unsupported", f"sources with {sorted(pulses)} pulses in one train; name one in the option sources"
            )
        if sum(stack.layout.images for stack in stacks) > MAX_IMAGES:
            raise CodecError("too_large", f"more than {MAX_IMAGES} images in one train")
        return stacks

    def _with_images(self, train: Mapping[str, TrainSource]) -> Iterator[tuple[str, Array]]:
        for name in sorted(train):
            array = train[name].arrays.get(self._options.image) if self._is_chosen(name) else None
            if array is not None and 0 not in array.shape:  # no pulse of this train was kept
                yield name, array

    def _is_chosen(self, name: str) -> bool:
        return not self._options.sources or name in self._options.sources

    def _without_images(self, train: Mapping[str, TrainSource], cuttable: bool) -> list[Message]:
        """What is absent, where images came before; else the setting may be wrong."""
        if self._uid:
            return self._all_absent(train, cuttable)
        if any(self._is_chosen(name) and self._options.image in train[name].arrays for name in train):
            return []  # no pulse of this train was kept
        keys = sorted({f"{name}[{key}]" for name, found in train.items() for key in found.arrays})
        raise CodecError(
            "unsupported",
            f"no images {self._options.image!r} in the train; it has the arrays {', '.join(keys)[:300] or 'none'}; "
            "see the options image and sources",
        )

    def _all_absent(self, train: Mapping[str, TrainSource], cuttable: bool) -> list[Message]:
        """The train's id is that of a source with images, where one is there."""
        pulses = self._opener.layout
        sources = sorted(train, key=lambda name: (name not in self._channels.values(), name))
        told = (train[name] for name in sources if type(train[name].metadata.get("timestamp.tid")) is int)
        found = next(told, None)
        if found is None or not isinstance(pulses, int):
            return []
        first_image = found.metadata["timestamp.tid"] * pulses
        if not 0 <= first_image <= MAX_ID - pulses:
            return []
        entered = self._opener.known(first_image, _taken_s(found), pulses)
        return self._absent(entered, first_image, pulses, self._told_of(train, cuttable)) if entered else []

    def _told_of(self, train: Mapping[str, TrainSource], cuttable: bool) -> set[str]:
        """The channels of which the train says whether it has images."""
        last = list(train)[-1] if train else ""

        def is_told(name: str) -> bool:
            has_key = name in train and self._options.image in train[name].arrays
            return has_key or not cuttable or name < last

        return {channel for channel, name in self._channels.items() if is_told(name)}

    def _absent(self, entered: Entered, first_image: int, pulses: int, channels: set[str]) -> list[Message]:
        """The images that this train does not have."""
        if entered.uid != self._uid:  # left of the series before
            return []
        return [
            Absent(self._source, entered.uid, entered.series_id, first_image, channel, pulses)
            for channel in sorted(channels)
        ]

    def _stack(self, name: str, found: TrainSource, array: Array) -> "_Stack":
        if not 0 < len(name) <= MAX_NAME_CHARS - MODULE_CHARS:
            raise CodecError("malformed", "a source with a name that is empty or too long")
        dtype = wire_dtype(array.dtype)
        axes = self._axes or find_axes(array.shape, *_told(found, self._options.image))
        layout = lay_out(axes, array.shape, ITEMSIZES[dtype])
        check_raw(len(array.blob), layout.images * image_bytes(layout.shape, dtype))
        train_id = _train_id(found, self._options.image)
        if (train_id + 1) * layout.pulses > MAX_ID:
            raise CodecError("malformed", f"train id {train_id}")
        return _Stack(name, train_id, dtype, layout, memoryview(array.blob).cast("B"))

    def _frames(self, stack: "_Stack", entered: Entered, told: Mapping[str, Any]) -> Iterator[Frame]:
        layout, channels = stack.layout, stack.channels
        for pulse in range(layout.pulses):
            user_data = {"train_id": stack.train_id, "pulse": pulse, **told}
            for module in range(layout.modules):
                at = layout.offset(pulse, module)
                yield Frame(
                    self._source,
                    entered.uid,
                    entered.series_id,
                    stack.first_image + pulse,
                    channels[module],
                    layout.shape,
                    stack.dtype,
                    Compression.NONE,
                    stack.blob[at : at + layout.reach],
                    user_data,
                    layout.image_strides,
                )


class _Stack(msgspec.Struct, frozen=True):
    """All images of one source in a train, checked."""

    name: str
    train_id: int
    dtype: str
    layout: Layout
    blob: memoryview

    @property
    def channels(self) -> list[str]:
        """By module."""
        modules = range(self.layout.modules)
        return [f"{self.name}/{module}" for module in modules] if self.layout.has_modules else [self.name]

    @property
    def first_image(self) -> int:
        return self.train_id * self.layout.pulses


def _told(found: TrainSource, image: str) -> tuple[int | None, int | None]:
    """Numbers of pulses and of modules, as the source's other keys have them."""
    prefix = image.rpartition(".")[0]
    prefix = f"{prefix}." if prefix else ""
    return _length(found, [prefix + key for key in PULSE_KEYS]), _length(found, MODULE_KEYS)


def _length(found: TrainSource, keys: Sequence[str]) -> int | None:
    for key in keys:
        array, value = found.arrays.get(key), found.values.get(key)
        if array is not None and array.shape and max(array.shape) == math.prod(array.shape):
            return max(array.shape)
        if isinstance(value, list):
            return len(value)
    return None


def _train_id(found: TrainSource, image: str) -> int:
    """From the metadata; some sources of files have it only beside the images."""
    value = found.metadata.get("timestamp.tid")
    if value is None:
        beside = found.arrays.get(f"{image.rpartition('.')[0]}.trainId")
        if beside is not None and beside.dtype in ("uint64", "<u8") and len(beside.blob) >= 8:
            value = scalar("<u8", memoryview(beside.blob).cast("B")[:8])
    if type(value) is not int or not 0 <= value <= MAX_ID:
        raise CodecError("malformed", "a train without an id (timestamp.tid)")
    return value


def _taken_s(found: TrainSource) -> float | None:
    value = found.metadata.get("timestamp")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _values(train: Mapping[str, TrainSource]) -> dict[str, Any]:
    """Numbers and short texts of all sources, as "SOURCE[key]"."""
    values: dict[str, Any] = {}
    for name in sorted(train):
        for key, value in train[name].values.items():
            short = isinstance(value, int | float) or (isinstance(value, str) and len(value) <= MAX_NAME_CHARS)
            if short and len(values) < MAX_VALUES:
                values[f"{name}[{key}]"] = value
    return values
