"""What a PandA position box sends (`streams.codecs.panda`), for simulators and tests."""

from collections.abc import Iterator, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.messages import Part


def start(arm_time: str) -> list[Part]:
    """The box was armed at `arm_time` (RFC 3339)."""
    message = {"msg_type": "start", "arm_time": arm_time, "start_time": arm_time, "hw_time_offset_ns": None}
    return [msgspec.json.encode(message)]


def data(number: int, first: int, datasets: Mapping[str, NDArray[np.float64]]) -> list[Part]:
    """Message `number` of the arming: by dataset the samples [n] from number `first` on."""
    described = {
        name: {
            "dtype": "float64",
            "size": len(values),
            "starting_sample_number": first,
            "data": np.asarray(values, np.float64).tolist(),
        }
        for name, values in datasets.items()
    }
    return [msgspec.json.encode({"msg_type": "data", "frame_number": number, "datasets": described})]


def stop(messages: int) -> list[Part]:
    """The box was disarmed after so many messages with samples."""
    return [msgspec.json.encode({"msg_type": "stop", "emitted_frames": messages})]


def arming(
    arm_time: str, datasets: Mapping[str, NDArray[np.float64]], samples_per_message: int, first: int = 0
) -> Iterator[list[Part]]:
    """All messages of one arming: start, the samples of `datasets` (equally long, [n]) from `first` on, stop."""
    yield start(arm_time)
    length = min((len(values) for values in datasets.values()), default=0)
    count = 0
    for at in range(0, length, samples_per_message):
        piece = {name: values[at : at + samples_per_message] for name, values in datasets.items()}
        yield data(count, first + at, piece)
        count += 1
    yield stop(count)
