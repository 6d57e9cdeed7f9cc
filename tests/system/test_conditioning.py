"""Masks, orientation, regions and assembled modules through the real `edge serve` with the real Triton.

The model answers with checksums of the pixels that it saw: they must be those of an image that is worked out plainly.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edge.demo.children import ChildError, data_plane
from edge.models.identity import checksum
from streams.codecs.results import Result, SeriesStarted
from streams.messages import Acquisition, Compression
from streams.simulation.simulator import Sender, Simulation
from streams.sockets import context, push
from streams.subscriber import Subscriber

pytestmark = pytest.mark.usefixtures("triton")

CONFIG = """
[[source]]
name = "det"
protocol = "{protocol}"
address = "{address}"
memory_mib = 4

[source.conditioning]
{conditioning}

[[route]]
name = "whole"
model = "identity"
pixel_bits = [16]

[[route]]
name = "part"
model = "identity"
pixel_bits = [16]
region = [1, 2, 6, 8]
binning = 2

[results]
publish = "tcp://127.0.0.1:*"
handshake = "tcp://127.0.0.1:*"

[metrics]
address = "127.0.0.1:0"
"""

GEOMETRY = """
dim0 = %
dim2 = ss
dim3 = fs
right/dim1 = 1
right/min_fs = 0
right/max_fs = 9
right/min_ss = 0
right/max_ss = 7
right/corner_x = 3.0
right/corner_y = -4.0
right/fs = x
right/ss = y
left/dim1 = 0
left/min_fs = 0
left/max_fs = 9
left/min_ss = 0
left/max_ss = 7
left/corner_x = -3.0
left/corner_y = 4.0
left/fs = -x
left/ss = -y
"""


def image(image_id: int, shape: tuple[int, int], number: int = 0) -> np.ndarray:
    """Counts that tell which image it is."""
    return np.random.default_rng((image_id, number)).integers(0, 1000, shape, np.uint16)


def part_of(whole: np.ndarray) -> np.ndarray:
    """What the route `part` takes: 2 x 2 sums, flagged where one of the four is."""
    parts = whole[1:7, 2:10].reshape(3, 2, 4, 2).astype(np.int64)
    return np.where(parts.max((1, 3)) >= 65534, 65534, parts.sum((1, 3))).astype(np.uint16)


@contextmanager
def serving(tmp_path: Path, protocol: str, conditioning: str) -> Iterator[tuple[Any, Subscriber]]:
    """A running `edge serve`: its detector's socket, and a subscriber to both routes."""
    with context() as ctx:
        detector = push(ctx)
        address = detector.bind("tcp://127.0.0.1:*")
        config = CONFIG.format(protocol=protocol, address=address, conditioning=conditioning)
        with (
            data_plane(config, tmp_path) as addresses,
            Subscriber(ctx, addresses["handshake"], ["whole", "part"], timeout_s=10) as results,
        ):
            yield detector, results


def collected(results: Subscriber, images: int) -> tuple[dict[str, dict[int, list[int]]], dict[str, SeriesStarted]]:
    """Checksums by route and image id, of `images` images on both routes, and how the series began."""
    found: dict[str, dict[int, list[int]]] = {"whole": {}, "part": {}}
    started = {}
    while sum(map(len, found.values())) < 2 * images:
        received = results.receive(30)
        assert received is not None, f"only {[len(one) for one in found.values()]} results came"
        notice, arrays = received
        if isinstance(notice, Result):
            assert notice.image_id not in found[notice.route]
            found[notice.route][notice.image_id] = arrays["checksum"].tolist()
        elif isinstance(notice, SeriesStarted):
            started[notice.route] = notice
    return found, started


def right(wholes: dict[int, np.ndarray]) -> dict[str, dict[int, list[int]]]:
    return {
        "whole": {at: checksum(whole).tolist() for at, whole in wholes.items()},
        "part": {at: checksum(part_of(whole)).tolist() for at, whole in wholes.items()},
    }


def acquisition(images: int, **facts: Any) -> Acquisition:
    return Acquisition(1, "uid-1", datetime.now(UTC).isoformat(), images, dtype="uint16", **facts)


def test_a_mask_an_orientation_and_a_region(tmp_path):
    shape = (12, 10)
    mask = np.zeros(shape, np.uint32)
    mask[3, 4], mask[11, 9] = 1, 8
    with h5py.File(tmp_path / "mask.h5", "w") as file:
        file["entry/mask"] = mask
    settings = f'mask = "{tmp_path}/mask.h5:/entry/mask"\norientation = "rotate-90"'
    with serving(tmp_path, "stream-v2", settings) as (detector, results):
        simulation = Simulation("stream-v2", acquisition(40, shape=shape), lambda at: image(at, shape))
        Sender(detector).send(simulation.messages())
        found, started = collected(results, 40)
    flags = np.where(mask == 1, 65535, 65534).astype(np.uint16)
    assert found == right({at: np.rot90(np.where(mask, flags, image(at, shape))) for at in range(40)})
    whole, part = (started[route].header["geometry"] for route in ("whole", "part"))
    assert (whole["shape"], whole["beam_center_x"], whole["beam_center_y"]) == ([10, 12], 6, 5)
    assert (part["shape"], part["beam_center_x"], part["beam_center_y"]) == ([3, 4], 2, 2)
    assert (part["region"], part["binning"], part["orientation"]) == ([1, 2, 6, 8], 2, "rotate-90")


def test_modules_of_a_train_are_one_image(tmp_path):
    (tmp_path / "two.geom").write_text(GEOMETRY)
    channels = ("SPB/DET/0CH0:xtdf", "SPB/DET/1CH0:xtdf")
    with serving(tmp_path, "karabo", f'geometry = "{tmp_path}/two.geom"') as (detector, results):
        simulation = Simulation(
            "karabo",
            acquisition(24, shape=(8, 10), channels=channels, compression=Compression.NONE, images_per_message=4),
            lambda at: {channel: image(at, (8, 10), number) for number, channel in enumerate(channels)},
        )
        Sender(detector).send(simulation.messages())
        found, _ = collected(results, 24)
    wholes = {}
    for at in range(24):
        wholes[at] = np.full((8, 26), 65535, np.uint16)
        wholes[at][:, :10] = np.rot90(image(at, (8, 10), 0), 2)
        wholes[at][:, 16:] = image(at, (8, 10), 1)
    assert found == right(wholes)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('mask = "none.h5:/entry/mask"', "source 'det': conditioning: mask: cannot read none.h5"),
        ('geometry = "{0}/bad.geom"', "bad.geom: line 2: no parameter is called 'colour'"),
        ('detector = "lpd"', "'lpd' is not calibrated here"),
    ],
)
def test_what_cannot_be_used_stops_the_start_and_is_named(tmp_path, settings, said):
    (tmp_path / "bad.geom").write_text("p0/min_fs = 0\np0/colour = red\n")
    with pytest.raises(ChildError, match=said), serving(tmp_path, "stream-v2", settings.format(tmp_path)):
        pass
