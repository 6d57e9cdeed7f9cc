"""Positions from a PandA position box: JSON on a PUB socket, one part a message, as at NSLS-II's HXN.

    {"msg_type": "start", "arm_time": "...Z", "start_time": "...Z", "hw_time_offset_ns": null}
    {"msg_type": "data", "frame_number": 0, "datasets": {"/INENC2.VAL.Value":
        {"dtype": "float64", "size": 2, "starting_sample_number": 0, "data": [0.25, 0.5]}}}
    {"msg_type": "stop", "emitted_frames": 1}

`frame_number` and `emitted_frames` count these messages, not images of the detector; `starting_sample_number` counts
samples from 0 in each arming. Some publishers print NaN, which is no JSON: such a message is refused, and its samples
are a gap.
"""

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np

from streams.messages import CodecError, Part
from streams.positions.samples import Armed, BoxMessage, Disarmed, Samples

MAX_BYTES = 4 * 1024 * 1024
"""Largest message that is parsed; 41 samples of 3 datasets have 3 kB."""

MAX_DATASETS = 64
MAX_SAMPLES = 65536
"""Samples of one dataset in one message."""

MAX_NUMBER = 2**53
"""Largest number of a sample or message; at 1 MHz an arming of 285 years."""

Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]


class _Dataset(msgspec.Struct):
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_SAMPLES)]
    starting_sample_number: Number
    data: Annotated[list[float], msgspec.Meta(max_length=MAX_SAMPLES)]


class _Start(msgspec.Struct, tag_field="msg_type", tag="start"):
    arm_time: Any = None


class _Data(msgspec.Struct, tag_field="msg_type", tag="data"):
    frame_number: Number
    datasets: Annotated[
        dict[Annotated[str, msgspec.Meta(max_length=200)], _Dataset], msgspec.Meta(max_length=MAX_DATASETS)
    ]


class _Stop(msgspec.Struct, tag_field="msg_type", tag="stop"):
    emitted_frames: Number


_Message: TypeAlias = _Start | _Data | _Stop
_DECODER = msgspec.json.Decoder(_Message)


def decode(parts: Sequence[Part]) -> BoxMessage:
    """Read one message.

    Raises:
        CodecError: it is none of the three, or claims more than it holds.
    """
    if len(parts) != 1:
        raise CodecError("malformed", f"a message of {len(parts)} parts, a PandA sends one")
    if len(parts[0]) > MAX_BYTES:
        raise CodecError("too_large", f"a message of {len(parts[0])} bytes, the limit is {MAX_BYTES}")
    try:
        message = _DECODER.decode(parts[0])
    except (ValueError, RecursionError) as error:  # msgspec's errors and those of UTF-8 are ValueErrors
        raise CodecError("malformed", f"not a message of a PandA: {error}") from error
    if isinstance(message, _Start):
        return Armed(message.arm_time[:64] if isinstance(message.arm_time, str) else "")
    if isinstance(message, _Stop):
        return Disarmed(message.emitted_frames)
    return Samples(message.frame_number, {name: _samples(name, each) for name, each in message.datasets.items()})


def _samples(name: str, dataset: _Dataset) -> tuple[int, np.ndarray]:
    if dataset.size != len(dataset.data):
        raise CodecError("truncated", f"dataset {name!r} of {dataset.size} samples came with {len(dataset.data)}")
    return dataset.starting_sample_number, np.array(dataset.data, np.float64)
