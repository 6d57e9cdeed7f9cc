"""Image messages of Stream V2 in forms that have come before: read without parsing what is the same in all of them."""

from typing import NamedTuple

from streams.codecs.cbor_learning import Roles, learn
from streams.codecs.cbor_shape import Unlearnable
from streams.codecs.cbor_template import Template
from streams.codecs.limits import MAX_ID, SeriesNames, image_bytes
from streams.messages import Compression, Frame, Message

_ROLES = Roles(
    counter="image_id", free="user_data", blobs="data", fixed=frozenset(("type", "series_id", "series_unique_id"))
)

MOST_FORMS = 4
"""A series has one, or two where its channels come in messages of their own."""

LEARN_EVERY = 64
"""A form may be learnt for every so many images: it takes as long as to parse a few dozen of them."""


class _Image(NamedTuple):
    """What the image of one channel has in common with those before it."""

    channel: str
    shape: tuple[int, int]
    dtype: str
    compression: Compression
    strides: tuple[int, int] | None
    nbytes: int  # of its blob; 0: any number


class _Form(NamedTuple):
    template: Template
    source: str
    series_uid: str  # empty: the detector does not name the series
    series_id: int
    images: tuple[_Image, ...]


class ImageForms:
    """The forms of late. A message that has none of them is left to the general parser.

    Args:
        names: of series that the detector does not name.
    """

    def __init__(self, names: SeriesNames) -> None:
        self._names = names
        self._forms: list[_Form] = []
        self._credit = MOST_FORMS * LEARN_EVERY

    def read(self, view: memoryview, received_ns: int) -> list[Message] | None:
        """The frames of an image message; None where it has no known form."""
        for form in self._forms:
            frames = self._read(form, view, received_ns)
            if frames is not None:
                self._credit += 1
                return frames
        return None

    def _read(self, form: _Form, view: memoryview, received_ns: int) -> list[Message] | None:
        template, source, uid, series_id, images = form
        found = template.find(view)
        if found is None:
            return None
        image_id, blobs, user_data = found
        if image_id > MAX_ID:
            return None
        uid = uid or self._names.of_image(series_id, received_ns)
        frames: list[Message] = []
        for (channel, shape, dtype, compression, strides, nbytes), blob in zip(images, blobs, strict=True):
            if nbytes and len(blob) != nbytes:
                return None
            frames.append(
                Frame(source, uid, series_id, image_id, channel, shape, dtype, compression, blob, user_data, strides)
            )
        return frames

    def learn(self, view: memoryview, frames: list[Frame], named: bool) -> None:
        """An image message was parsed: the next ones may be like it.

        Args:
            frames: all that is in it.
            named: whether their series is named in it.
        """
        self._credit = min(self._credit + 1, MOST_FORMS * LEARN_EVERY)
        if not frames or self._credit < LEARN_EVERY:
            return
        self._credit -= LEARN_EVERY
        try:
            template = learn(view, _ROLES)
        except Unlearnable:
            return
        found = template.find(view)
        if found is None or len(found[1]) != len(frames):  # other byte strings stand beside the pixels
            return
        first = frames[0]
        uid = first.series_uid if named else ""
        self._forms.insert(0, _Form(template, first.source, uid, first.series_id, tuple(map(_image_of, frames))))
        del self._forms[MOST_FORMS:]


def _image_of(frame: Frame) -> _Image:
    nbytes = image_bytes(frame.shape, frame.dtype) if frame.compression is Compression.NONE else 0
    return _Image(frame.channel, frame.shape, frame.dtype, frame.compression, frame.strides, nbytes)
