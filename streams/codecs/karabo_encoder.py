"""A Karabo bridge server's messages, versions 2.2 and 1.0: what `streams.codecs.karabo` reads."""

from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from streams.codecs.limits import check_image
from streams.codecs.sending import check_acquisition, scalars_of, taken_ns
from streams.messages import Acquisition, Compression, Part

_COMPRESSIONS = {Compression.NONE: "none"}


class KaraboEncoder:
    """Trains of version 2.2. Each channel is a source with its images [pulses, ss, fs] at "image.data".

    Image ids are those of the detector: train id = image id // pulses. The series' name, number and user data have no
    place in this protocol; numbers and texts of an image's user data travel as values of the first source.

    Raises:
        ValueError: the protocol cannot send it, or the images do not fill their trains.
    """

    version = "2.2"

    def __init__(self, acquisition: Acquisition) -> None:
        check_acquisition("karabo", acquisition, _COMPRESSIONS)
        if acquisition.images % acquisition.images_per_message:
            raise ValueError(
                f"{acquisition.images} images do not fill trains of {acquisition.images_per_message} pulses"
            )
        self._acquisition = acquisition

    @property
    def images_per_message(self) -> int:
        """The pulses of a train."""
        return self._acquisition.images_per_message

    def start(self) -> list[list[Part]]:
        """Nothing: the protocol does not know series."""
        return []

    def end(self) -> list[list[Part]]:
        """Nothing: the protocol does not know series."""
        return []

    def image(self, image_id: int, images: Mapping[str, Any], user_data: Any = None) -> list[Part]:
        """One train: for each channel an array [pulses, height, width], or [height, width] of the one pulse.

        Without any of them, a train of which no pulse was kept.

        Raises:
            ValueError: channels, shape or type are not those of the series, or `image_id` begins no train.
        """
        acquisition = self._acquisition
        if images and tuple(images) != acquisition.channels:
            raise ValueError(f"channels {list(images)} in a series of {list(acquisition.channels)}")
        train_id, pulse = divmod(image_id, self.images_per_message)
        if pulse:
            raise ValueError(f"image {image_id} begins no train of {self.images_per_message} pulses")
        images = images or dict.fromkeys(acquisition.channels, np.zeros((0, *acquisition.shape), acquisition.dtype))
        metadata = self._metadata(image_id, train_id)
        values = {name: scalars_of(user_data) if at == 0 else {} for at, name in enumerate(images)}
        arrays = {}
        for name, given in images.items():
            stack = self._stacked(given)
            arrays[name] = {"image.data": stack, "image.pulseId": np.arange(len(stack), dtype=np.uint64)}
        return self._pack(values, arrays, metadata)

    def _stacked(self, stack: NDArray[Any]) -> NDArray[Any]:
        stack = stack[None] if stack.ndim == 2 else stack
        if not len(stack):
            return stack
        if len(stack) != self.images_per_message:
            raise ValueError(f"{len(stack)} images in a train of {self.images_per_message} pulses")
        check_image(stack[0], self._acquisition.shape, self._acquisition.dtype)
        return np.ascontiguousarray(stack)

    def _metadata(self, image_id: int, train_id: int) -> dict[str, Any]:
        seconds, nanoseconds = divmod(taken_ns(self._acquisition, image_id), 10**9)
        return {
            "timestamp": seconds + nanoseconds / 1e9,
            "timestamp.sec": str(seconds),
            "timestamp.frac": f"{nanoseconds * 10**9:018d}",  # attoseconds
            "timestamp.tid": train_id,
        }

    def _pack(
        self,
        values: Mapping[str, dict[str, Any]],
        arrays: Mapping[str, dict[str, NDArray[Any]]],
        metadata: dict[str, Any],
    ) -> list[Part]:
        parts: list[Part] = []
        for source in sorted(values):
            parts += [
                _packed({"source": source, "content": "msgpack", "metadata": {"source": source, **metadata}}),
                _packed(values[source]),
            ]
            for key, array in arrays[source].items():
                head = {"source": source, "content": "array", "path": key}
                parts += [_packed({**head, "dtype": str(array.dtype), "shape": array.shape}), _bytes(array)]
        return parts


class KaraboOldEncoder(KaraboEncoder):
    """Trains of version 1.0: one part, arrays as msgpack-numpy writes them."""

    version = "1.0"

    def _pack(
        self,
        values: Mapping[str, dict[str, Any]],
        arrays: Mapping[str, dict[str, NDArray[Any]]],
        metadata: dict[str, Any],
    ) -> list[Part]:
        train = {
            source: {
                **values[source],
                **{key: _as_numpy(array) for key, array in arrays[source].items()},
                "metadata": {"source": source, **metadata},
            }
            for source in values
        }
        return [_packed(train)]


def _as_numpy(array: NDArray[Any]) -> dict[bytes, Any]:
    return {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape, b"data": array.tobytes()}


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _packed(value: Any) -> bytes:
    packed = msgpack.packb(value, use_bin_type=True)
    assert packed is not None
    return packed
