"""Honest messages that our encoders do not send, though real senders do."""

import hashlib
import json
import struct
from typing import Any

import cbor2
import lz4.block
import msgpack
import numpy as np

from edge.bench.fuzz_inputs import Parts
from streams.codecs import cbor
from streams.codecs.compression import compress
from streams.messages import Compression

_IMAGE = np.arange(35, dtype="<u2").reshape(5, 7)


def quirks(protocol: str) -> list[Parts]:
    """What belongs beside the messages of our encoder; nothing for protocols without."""
    found = {"simplon-v1": _simplon, "stream-v2": _stream_v2, "karabo": _karabo, "array-1.0": _array, "bsread": _bsread}
    return found[protocol]() if protocol in found else []


def _simplon() -> list[Parts]:
    """Headers in messages of their own, header detail "none", big-endian pixels, an image of three dimensions."""
    head: dict[str, Any] = {"htype": "dheader-1.0", "series": 901, "header_detail": "basic"}
    config = {"nimages": 2, "ntrigger": 3, "trigger_mode": "exte", "x_pixels_in_detector": 7, "bit_depth_image": 16}
    image = {"htype": "dimage_d-1.0", "shape": [7, 5, 1], "type": "uint16", "encoding": ">", "size": 70}
    mask = {"htype": "dpixelmask-1.0", "shape": [7, 5], "type": "uint32"}
    return [
        [_json(head)],
        [_json(config)],
        [_json(mask)],
        [bytes(140)],
        [
            _json({"htype": "dimage-1.0", "series": 901, "frame": 0, "hash": hashlib.md5(bytes(70)).hexdigest()}),
            _json(image),
            bytes(70),
            b"{}",
        ],
        [_json(head | {"series": 902, "header_detail": "none"})],
        [_json({"htype": "dseries_end-1.0", "series": 902})],
    ]


def _stream_v2() -> list[Parts]:
    """A start of header detail "all", and a column-major image."""
    mask, flat = np.zeros((5, 7), np.uint32), np.ones((5, 7), np.float32)

    def array(tag: int, values: np.ndarray, packed: bool, order: int = cbor.TAG_ROW_MAJOR) -> cbor2.CBORTag:
        content: Any = values.tobytes()
        if packed:
            content = cbor2.CBORTag(cbor.TAG_COMPRESSED, ["bslz4", 4, compress(values.view("<u4"), Compression.BSLZ4)])
        return cbor2.CBORTag(order, [list(values.shape), cbor2.CBORTag(tag, content)])

    common = {"series_id": 900, "series_unique_id": "with arrays"}
    start = {
        "type": "start",
        **common,
        "channels": ["a", "b"],
        "image_dtype": "uint16",
        "image_size_x": 7,
        "image_size_y": 5,
        "number_of_images": 3,
        "pixel_mask": {"a": array(70, mask, True), "b": array(70, mask, False)},
        "flatfield": {"a": array(85, flat, True), "b": array(85, flat, False)},
        "countrate_correction_lookup_table": array(85, flat, False),
    }
    image = {"type": "image", **common, "image_id": 0, "data": {"a": array(69, _IMAGE, False, cbor.TAG_COLUMN_MAJOR)}}
    return [[cbor2.dumps(document)] for document in (start, image)]


def _karabo() -> list[Parts]:
    """Two modules, as files have them and as the online calibration orders them."""
    return [_train(100, [2, 3, 5, 7], [2, 3]), _train(101, [3, 7, 5, 2], [2, 3])]


def _train(number: int, shape: list[int], told: list[int]) -> Parts:
    pulses, modules = told
    metadata = {"source": "DET", "timestamp": 1.7e9, "timestamp.tid": number, "timestamp.sec": "1700000000"}
    values = {"image.pulseId": list(range(pulses)), "modulesPresent": [True] * modules, "image.gain": 1.5}
    array = {"source": "DET", "content": "array", "path": "image.data", "dtype": "uint16", "shape": shape}
    heads = [{"source": "DET", "content": "msgpack", "metadata": metadata}, values, array]
    return [*(bytes(msgpack.packb(head) or b"") for head in heads), bytes(2 * int(np.prod(shape)))]


def _array() -> list[Parts]:
    """Before ADZMQ 1.4.0, with attributes that are no JSON, and with as many bytes as the image has uncompressed."""
    old = b'{"htype":["array-1.0"],"type":"uint16","shape":[7,5,1],"frame":4,"timeStamp":1.5e9,"encoding":"",'
    flat = np.zeros_like(_IMAGE)  # no multiple of eight pixels: bitshuffle leaves some as they are
    new = {"htype": "array-1.0", "type": "uint16", "shape": [5, 7], "ndattr": {"a": 1, "b": "text"}}
    bare, block = compress(flat, Compression.BSLZ4_BARE), compress(flat, Compression.LZ4_BLOCK)
    return [
        [old + b'"ndattr":{"a":"x"y","b":Undefined,"c":nan,"d":,"e":-inf,"f":"\x01","g":1}}', _IMAGE.tobytes()],
        [_json(new | {"frame": 5, "encoding": "bslz4"}), bare.ljust(flat.nbytes, b"\0")],
        [_json(new | {"frame": 6, "encoding": "lz4"}), block.ljust(flat.nbytes, b"\0")],
        [b"STOP"],
    ]


def _bsread() -> list[Parts]:
    """A compressed data header without a hash, big-endian pixels, an empty value, a text, a modulo."""
    channels = [
        {"name": "cam", "type": "uint16", "shape": [7, 5], "encoding": "big", "modulo": 2, "offset": 1},
        {"name": "x", "type": "float64", "compression": "lz4"},
        {"name": "t", "type": "string", "shape": [3]},
        {"name": "gone", "type": "int8"},
    ]
    header, stamp = _json({"htype": "bsr_d-1.1", "channels": channels}), struct.pack("<qq", 1, 2)
    number = struct.pack("<I", 8) + lz4.block.compress(struct.pack("<d", 1.5), store_size=False)
    values = [_IMAGE.astype(">u2").tobytes(), stamp, number, stamp, b"abc", stamp, b"", b""]
    main = {"htype": "bsr_m-1.1", "pulse_id": 901, "global_timestamp": {"epoch": 1, "ns": 5}}
    packed = struct.pack("<I", len(header)) + lz4.block.compress(header, store_size=False)
    return [
        [_json(main | {"dh_compression": "lz4"}), packed, *values],
        [_json(main | {"pulse_id": 903}), header, *values],
    ]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
