"""`bragg` through the whole data plane: a source of patches, in batches as large as they come."""

import numpy as np
import pytest

from edge.models.bragg import PATCH_PX, SPEC, centres, cut_patches
from edge.physics.patches import PatchKind, random_patches
from streams.codecs.results import Result, SeriesEnded
from streams.messages import Acquisition
from streams.simulation.simulator import Sender, Simulation
from streams.subscriber import Subscriber
from tests.system.serving import Station, station
from tests.unit.models.graphs import as_bytes, session

pytestmark = pytest.mark.usefixtures("triton")

ROUTE = """
[[route]]
name = "bragg"
model = "bragg"
pixel_bits = [16]
output_mib = 1
"""
PATCHES = 1500
"""Nearly three of the largest batches, and a rest."""


def served(at: Station, results: Subscriber, patches: np.ndarray) -> dict[int, dict[str, np.ndarray]]:
    """What the route answers to a series of patches, by image id."""
    shape = PATCH_PX, PATCH_PX
    acquisition = Acquisition(1, "uid-1", "2026-01-01T00:00:00Z", len(patches), shape, "uint16")
    Sender(at.detector).send(Simulation(at.protocol, acquisition, lambda image_id: patches[image_id]).messages())
    answers = {}
    while (received := results.receive(30)) is not None:
        notice, arrays = received
        if isinstance(notice, Result):
            answers[notice.image_id] = arrays
        elif isinstance(notice, SeriesEnded):
            assert notice.verdict == "complete"
            return answers
    raise AssertionError("no end of the series")


def test_answers_to_many_patches_are_those_of_the_graph(tmp_path):
    patches = random_patches(PATCHES, PatchKind(), np.random.default_rng(11)).images
    with (
        station(tmp_path, settings=ROUTE) as at,
        Subscriber(at.ctx, at.addresses["handshake"], ["bragg"], timeout_s=10) as results,
    ):
        answers = served(at, results, patches)
    assert sorted(answers) == list(range(PATCHES))
    names = [output.name for output in SPEC.outputs]
    wanted = dict(zip(names, session("bragg", 2).run(names, {"frame": as_bytes(patches)}), strict=True))
    for name in names:
        found = np.stack([answers[image_id][name] for image_id in range(PATCHES)])
        np.testing.assert_allclose(found, np.asarray(wanted[name]), rtol=2e-3, atol=2e-3, err_msg=name)


def test_patches_of_a_frame_tell_its_spots(tmp_path):
    """As a user goes about it: places to the pixel, patches, centres in the frame."""
    rows, columns = np.meshgrid(np.arange(3, 300, 12), np.arange(3, 200, 12), indexing="ij")
    rng = np.random.default_rng(2)
    places = np.stack([rows.ravel(), columns.ravel()], axis=1) + rng.uniform(-0.45, 0.45, (rows.size, 2))
    row, column = np.arange(305)[:, None], np.arange(205)[None, :]
    expected = np.full((305, 205), 2.0)
    for down, right in places:
        expected += 3000 * np.exp(-((row - down) ** 2 + (column - right) ** 2) / (2 * 1.2**2))
    image = rng.poisson(expected).astype(np.uint16)
    patches, corners = cut_patches(image, *np.rint(places).T)
    with (
        station(tmp_path, settings=ROUTE) as at,
        Subscriber(at.ctx, at.addresses["handshake"], ["bragg"], timeout_s=10) as results,
    ):
        answers = served(at, results, patches)
    arrays = {name: np.stack([answers[at][name] for at in sorted(answers)]) for name in ("row", "column")}
    away = np.hypot(*(centres(arrays, corners) - places).T)
    assert np.median(away) < 0.03
    assert np.percentile(away, 95) < 0.1
