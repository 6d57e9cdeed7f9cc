"""What encoders of streams without series have in common."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from numpy.typing import NDArray

from streams.codecs.limits import check_image
from streams.messages import Acquisition

POSITION = "position."
"""A scalar whose name begins so is a coordinate of the scan position: structure goes into names in these protocols."""


def taken_ns(acquisition: Acquisition, image_id: int) -> int:
    """When an image was taken, nanoseconds since 1970: the arming and a frame time an image.

    Raises:
        ValueError: `arm_date` is no RFC 3339 date.
    """
    armed = datetime.fromisoformat(acquisition.arm_date)
    return round(armed.timestamp() * 1e6) * 1000 + image_id * round(acquisition.frame_time_s * 1e9)


def scalars_of(user_data: Any) -> dict[str, float | int | str]:
    """Numbers and texts of `user_data`, its position's coordinates as `position.<axis>`; nothing else can travel."""
    if not isinstance(user_data, Mapping):
        return {}
    position = user_data.get("position")
    found = {f"{POSITION}{axis}": value for axis, value in position.items()} if isinstance(position, Mapping) else {}
    found.update((str(name), value) for name, value in user_data.items())
    return {name: value for name, value in found.items() if isinstance(value, int | float | str)}


def with_position(user_data: dict[str, Any], scalars: Mapping[str, Any]) -> dict[str, Any]:
    """`user_data`, with the position that lies in `scalars` under the names that `scalars_of` gives its coordinates."""
    position = {name[len(POSITION) :]: value for name, value in scalars.items() if name.startswith(POSITION)}
    return {**user_data, "position": position} if position else user_data


def check_images(acquisition: Acquisition, images: Mapping[str, NDArray[Any]]) -> None:
    """Compare images about to be sent with their series.

    Raises:
        ValueError: channels, shape or type differ.
    """
    if tuple(images) != acquisition.channels:
        raise ValueError(f"channels {list(images)} in a series of {list(acquisition.channels)}")
    for image in images.values():
        check_image(image, acquisition.shape, acquisition.dtype)


def check_acquisition(
    protocol: str, acquisition: Acquisition, compressions: Mapping[Any, str] | tuple[Any, ...]
) -> None:
    """Refuse what `protocol` has no words for.

    Raises:
        ValueError: naming what it has.
    """
    if acquisition.compression not in compressions:
        raise ValueError(f"{protocol} cannot send {acquisition.compression}; it has {', '.join(compressions)}")
    if acquisition.dtype not in DTYPES:
        raise ValueError(f"{protocol} cannot send {acquisition.dtype}; it has {', '.join(DTYPES)}")


DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32")
