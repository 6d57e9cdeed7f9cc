"""The first edge.toml for a detector, with what a person has to know and do in comments. Pure."""

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

from edge.models.registry import MODELS
from edge.models.spec import ANY, ModelSpec
from edge.setup.detected import Detected
from streams.codecs import DEFAULT_PORTS
from streams.sockets import beyond_loopback

SLOTS = 64
"""Frames that wait, are filled, or are being inferred: two batches of most models, and some to spare."""

LEAST_MIB, MOST_MIB = 256, 4096

COMMENTED = ("denoise", "identity")
"""Models that fit any detector, and that few want at once."""

NO_DETECTORS = ("bragg",)
"""Models of patches that somebody cuts from images: no detector sends these."""

PURPOSES = {
    "peaks": "Bragg spots of each frame: how many, where, how bright",
    "ptycho": "The object's amplitude and phase under the beam; the beam must be in the centre of the image",
    "ptycho64": "The same from a smaller image: coarser, or of a detector that is small itself",
    "denoise": "The counts that a frame would have on average; its answer is as large as the frame",
    "identity": "Checksums of each frame: a test of the way here, without any physics",
}


def starter(found: Detected, stream: str = "") -> str:
    """The text of an edge.toml that `edge serve` takes as it is; `stream` replaces the detector's own address."""
    address = stream or stream_address(found)
    lines = [
        *_head(found),
        *_by_hand(found, address),
        "",
        *_source(found, address),
        "",
        *_routes(found),
        "[results]",
        "# Who receives results (`streams.subscriber`) asks at the handshake address. Loopback: on this machine only.",
        'publish = "tcp://127.0.0.1:5600"',
        'handshake = "tcp://127.0.0.1:5601"',
        '# folder = "/data/results"  # result files (HDF5/NeXus) of every series',
        "",
        "[metrics]",
        'address = "127.0.0.1:9100"  # for Prometheus: /metrics',
    ]
    return "\n".join(lines) + "\n"


def stream_address(found: Detected) -> str:
    """Where the detector's stream is: its own host, and the port of the protocol."""
    host = urlsplit(found.url).hostname or ""
    return f"tcp://{f'[{host}]' if ':' in host else host}:{DEFAULT_PORTS[found.protocol]}"


def memory_mib(found: Detected) -> int:
    """Shared memory for `SLOTS` frames of each channel, within `LEAST_MIB` and `MOST_MIB`, in steps of 64."""
    height, width = found.shape
    nbytes = height * width * _bits(found)[-1] // 8 * max(1, len(found.thresholds)) * SLOTS
    return min(max(LEAST_MIB, -(-nbytes // (64 << 20)) * 64), MOST_MIB)


def fits(model: ModelSpec, found: Detected) -> bool:
    """Whether the model takes the detector's images."""
    return all(wanted in (ANY, have) for wanted, have in zip(model.frame_shape, found.shape, strict=True)) and any(
        bits // 8 in model.itemsizes for bits in _bits(found)
    )


def warnings(found: Detected, address: str) -> list[str]:
    """What has to be looked at before frames can come, or come whole; most pressing first."""
    said = [
        f"Each message of the stream goes to one receiver. If a file writer or anything else pulls from {address}, put "
        "`edge tee` in front of it first; or both get every other image only."
    ]
    if found.stream_mode != "enabled":
        said.append(
            f"The stream is {found.stream_mode or 'not enabled'}: set stream/api/{found.version}/config/mode to "
            '"enabled".'
        )
    else:
        said.append("The stream is enabled already: find out who receives it.")
    if found.header_detail == "none":
        said.append(
            f'Set stream/api/{found.version}/config/header_detail to "basic": with "none" nobody here knows how many '
            'images are coming, and every verdict is "unknown".'
        )
    if found.state in ("na", "error"):
        said.append(f"The detector is in state {found.state!r}: initialize it.")
    return said


def _head(found: Detected) -> Iterator[str]:
    height, width = found.shape
    yield f"# For {found.description or 'a detector'} {found.number}".rstrip() + f" at {found.url}, by `edge init`."
    yield (
        f"# {width} x {height} pixels (width x height), {found.bits} bits, compression "
        f"{found.compression or 'not told'}, SIMPLON {found.version}."
    )
    yield "# Every setting is explained in edge/README.md of detector-edge."


def _by_hand(found: Detected, address: str) -> Iterator[str]:
    yield "#"
    yield "# By hand, for `edge init` and `edge serve` change nothing at the detector:"
    for text in warnings(found, address):
        yield from _comment(text, "# - ", "#   ")
    if found.header_detail not in ("none", "all"):
        yield from _comment('header_detail "all" also sends the pixel mask and the flatfield.', "# - ", "#   ")


def _source(found: Detected, address: str) -> Iterator[str]:
    frames = (memory_mib(found) << 20) // (found.shape[0] * found.shape[1] * _bits(found)[-1] // 8)
    yield "[[source]]"
    yield 'name = "detector"'
    yield f'protocol = "{found.protocol}"'
    yield f"address = {json.dumps(address)}"
    if beyond_loopback(address):
        yield "# A detector cannot encrypt, so its stream is read in plain: keep the network between to the two."
        yield "plain = true  # of an `edge tee` with keys: leave this out, and set security.keys"
    yield f"memory_mib = {memory_mib(found)}  # {frames} frames in /dev/shm; when all wait, the detector does"
    yield f"detector_url = {json.dumps(found.url)}  # asked, never told, how many images it dropped itself"


def _routes(found: Detected) -> Iterator[str]:
    for name in sorted(MODELS.keys() - set(NO_DETECTORS), key=lambda name: (name in COMMENTED, name)):
        model = MODELS[name]
        fitting = fits(model, found)
        off = "" if fitting and name not in COMMENTED else "# "
        yield f"# {PURPOSES.get(name, name)}."
        if not fitting and not smaller(model, found):
            yield f"# Not here: it takes images of {_size(model)} pixels."
            yield ""
            continue
        yield f"{off}[[route]]"
        yield f'{off}name = "{name}"'
        yield f'{off}model = "{name}"'
        if not fitting:
            where = "the beam as the detector has it" if found.beam_centre else "the middle of the image"
            yield f"# region = {_region(model, found)}  # first row and column, rows, columns: around {where}"
        yield f"{off}pixel_bits = {_bits(found)}" + ("  # long exposures come with more" * (len(_bits(found)) > 1))
        if len(found.thresholds) > 1:
            yield "# channels = [...]  # all thresholds are inferred; name those that are wanted"
        yield ""


def smaller(model: ModelSpec, found: Detected) -> bool:
    """Whether the model takes a region of the detector's images."""
    return ANY not in model.frame_shape and all(map(int.__le__, model.frame_shape, found.shape))


def _region(model: ModelSpec, found: Detected) -> list[int]:
    """[first row, first column, rows, columns] of the model's size, as much around the beam as the image allows."""
    centre = found.beam_centre or (found.shape[0] / 2, found.shape[1] / 2)
    first = [
        min(max(0, round(middle - wanted / 2)), have - wanted)
        for middle, wanted, have in zip(centre, model.frame_shape, found.shape, strict=True)
    ]
    return [*first, *model.frame_shape]


def _size(model: ModelSpec) -> str:
    height, width = model.frame_shape
    return f"{width} x {height}"


def _bits(found: Detected) -> list[int]:
    """What may arrive. With auto summation an EIGER sends as many bits as the exposure needs."""
    return [16, 32] if found.auto_summation and found.bits in (16, 32) else [found.bits]


def _comment(text: str, first: str, then: str, width: int = 110) -> Iterator[str]:
    line = first
    for word in text.split():
        if len(line) + len(word) > width:
            yield line.rstrip()
            line = then
        line += f"{word} "
    yield line.rstrip()
