"""Bytes to messages and back, one protocol a file. A codec has no socket, no clock and no thread."""

from collections.abc import Callable, Mapping
from typing import Any

from streams.codecs.array_1_0 import ArrayDecoder
from streams.codecs.array_1_0_encoder import ArrayEncoder
from streams.codecs.bsread import BsreadDecoder
from streams.codecs.bsread_encoder import BsreadEncoder
from streams.codecs.karabo import KaraboDecoder
from streams.codecs.karabo_encoder import KaraboEncoder, KaraboOldEncoder
from streams.codecs.options import OptionError as OptionError
from streams.codecs.simplon_v1 import SimplonV1Decoder
from streams.codecs.simplon_v1_encoder import SimplonV1Encoder
from streams.codecs.stream_v2 import StreamV2Decoder
from streams.codecs.stream_v2_encoder import StreamV2Encoder
from streams.codecs.traits import PROTOCOLS as PROTOCOLS
from streams.messages import Acquisition, Decoder, Encoder

DECODERS: Mapping[str, Callable[..., Decoder]] = {
    "simplon-v1": SimplonV1Decoder,
    "stream-v2": StreamV2Decoder,
    "karabo": KaraboDecoder,
    "karabo-1.0": KaraboDecoder,
    "array-1.0": ArrayDecoder,
    "bsread": BsreadDecoder,
}
"""What reads a protocol, made with the name of the source and the protocol's options. Either version of Karabo's is
read by both of its names."""

ENCODERS: Mapping[str, Callable[[Acquisition], Encoder]] = {
    "simplon-v1": SimplonV1Encoder,
    "stream-v2": StreamV2Encoder,
    "karabo": KaraboEncoder,
    "karabo-1.0": KaraboOldEncoder,
    "array-1.0": ArrayEncoder,
    "bsread": BsreadEncoder,
}
"""What speaks as a detector of the protocol, made with its acquisition."""

DEFAULT_PORTS: Mapping[str, int] = {
    "simplon-v1": 9999,
    "stream-v2": 31001,
    "karabo": 4545,
    "karabo-1.0": 4545,
    "array-1.0": 5432,
    "bsread": 9999,
}
"""Where detectors of the protocol bind; where it has no custom, where the examples of its authors do."""

ANNOUNCED: tuple[str, ...] = tuple(name for name, traits in PROTOCOLS.items() if traits.start)
"""The protocols that say when a series begins, and how long it is to be."""


def decoder(protocol: str, source: str, options: Mapping[str, Any] | None = None) -> Decoder:
    """What reads `protocol` for `source`, by the options of `[source.options]`.

    Raises:
        OptionError: the protocol has no such option, or not with that value.
    """
    return DECODERS[protocol](source, **(options or {}))
