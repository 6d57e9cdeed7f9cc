"""`edge serve --workers` with modules that make one image."""

from pathlib import Path

import numpy as np
import pytest

from edge.demo.children import child
from edge.models.identity import checksum
from streams.messages import Acquisition
from streams.simulation.simulator import Sender, Simulation
from streams.sockets import context, push
from tests.system.serving import CONFIG, Station, image
from tests.system.test_conditioning import GEOMETRY
from tests.system.test_workers import notices

pytestmark = pytest.mark.usefixtures("triton")

SHAPE = (8, 10)
MODULES = ("left", "right")
IMAGES = 60


def modules(image_id: int) -> dict[str, np.ndarray]:
    return {name: image(2 * image_id + number, SHAPE) for number, name in enumerate(MODULES)}


def whole(image_id: int) -> np.ndarray:
    """As `GEOMETRY` puts the modules together."""
    found = np.full((8, 26), 65535, np.uint16)
    found[:, :10], found[:, 16:] = np.rot90(modules(image_id)["left"], 2), modules(image_id)["right"]
    return found


def test_modules_that_make_one_image_have_one_result(tmp_path: Path):
    (tmp_path / "two.geom").write_text(GEOMETRY)
    conditioning = f'[source.conditioning]\ngeometry = "{tmp_path}/two.geom"\nmodules = ["left", "right"]\n\n[[route]]'
    with context() as ctx:
        detector = push(ctx)
        config = CONFIG.format(protocol="stream-v2", address=detector.bind("tcp://127.0.0.1:*"), memory_mib=4)
        config = config.replace("[[route]]", conditioning)
        file = tmp_path / "edge.toml"
        file.write_text(f'{config}\n[up]\nfolder = "{tmp_path}/run"\n')
        with child("serve", ["-c", str(file), "--workers", "2"], tmp_path) as addresses:
            at = Station(ctx, detector, "stream-v2", dict(addresses))
            acquisition = Acquisition(1, "uid-1", "2026-11-22T00:00:00Z", IMAGES, SHAPE, "uint16", MODULES)
            Sender(detector).send(Simulation("stream-v2", acquisition, modules).messages())
            starts, checksums, ended = notices(at)
            at.results.close()
    assert [start.header["geometry"]["shape"] for start in starts] == [[8, 26]]
    assert checksums == {image_id: checksum(whole(image_id)).tolist() for image_id in range(IMAGES)}
    assert (ended.verdict, ended.account["received"], ended.account["published"]) == ("complete", IMAGES, IMAGES)
    assert ended.arrivals["received"] == 2 * IMAGES
