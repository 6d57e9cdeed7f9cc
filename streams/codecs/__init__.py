"""Bytes to messages and back, one protocol a file. A codec has no socket, no clock and no thread."""

from collections.abc import Callable, Mapping

from streams.codecs.simplon_v1 import SimplonV1Decoder
from streams.codecs.simplon_v1_encoder import SimplonV1Encoder
from streams.codecs.stream_v2 import StreamV2Decoder
from streams.codecs.stream_v2_encoder import StreamV2Encoder
from streams.messages import Acquisition, Decoder, Encoder

DECODERS: Mapping[str, Callable[[str], Decoder]] = {
    "simplon-v1": SimplonV1Decoder,
    "stream-v2": StreamV2Decoder,
}
"""What reads a protocol, made with the name of the source."""

ENCODERS: Mapping[str, Callable[[Acquisition], Encoder]] = {
    "simplon-v1": SimplonV1Encoder,
    "stream-v2": StreamV2Encoder,
}
"""What speaks as a detector of the protocol, made with its acquisition."""

DEFAULT_PORTS: Mapping[str, int] = {"simplon-v1": 9999, "stream-v2": 31001}
"""Where detectors of the protocol bind."""
