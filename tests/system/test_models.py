"""The shipped models of any frame size, through the whole data plane: what arrives is what the graph says."""

from collections.abc import Iterator

import numpy as np
import pytest

from edge.physics.spots import Kind, random_spots
from streams.codecs.results import Result, SeriesEnded
from streams.messages import Acquisition
from streams.simulation.simulator import Sender, Simulation
from streams.subscriber import Subscriber
from tests.system.serving import Station, station
from tests.unit.models.graphs import as_bytes, session

pytestmark = pytest.mark.usefixtures("triton")

ROUTE = """
[[route]]
name = "{model}"
model = "{model}"
pixel_bits = [16]
output_mib = 1
"""
IMAGES = 20
SHAPES = ((131, 97), (64, 200))


def pictures(shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(shape)
    return np.stack([random_spots(shape, Kind(), rng).image for _ in range(IMAGES)]).astype(np.uint16)


def served(at: Station, results: Subscriber, images: np.ndarray, number: int) -> dict[int, dict[str, np.ndarray]]:
    """What the route answers to one series, by image id."""
    acquisition = Acquisition(number, f"uid-{number}", "2026-01-01T00:00:00Z", IMAGES, images.shape[1:], "uint16")
    Sender(at.detector).send(Simulation(at.protocol, acquisition, lambda image_id: images[image_id]).messages())
    answers = {}
    for notice, arrays in notices(results):
        if isinstance(notice, Result):
            answers[notice.image_id] = arrays
        elif isinstance(notice, SeriesEnded):
            assert notice.verdict == "complete"
            return answers
    raise AssertionError(f"no end of series {number}")


def notices(results: Subscriber) -> Iterator[tuple[object, dict[str, np.ndarray]]]:
    while (received := results.receive(30)) is not None:
        yield received


@pytest.mark.parametrize("model", ["peaks", "denoise"])
def test_answers_of_frames_of_two_sizes_are_those_of_the_graph(model, tmp_path):
    """One MiB for four blocks: not a full batch of `denoise` fits, and the blocks are cut anew for the second size."""
    graph = session(model, 2)
    names = [output.name for output in graph.get_outputs()]
    with (
        station(tmp_path, settings=ROUTE.format(model=model)) as at,
        Subscriber(at.ctx, at.addresses["handshake"], [model], timeout_s=10) as results,
    ):
        for number, shape in enumerate(SHAPES, start=1):
            images = pictures(shape)
            answers = served(at, results, images, number)
            assert sorted(answers) == list(range(IMAGES))
            for image_id, arrays in answers.items():
                wanted = graph.run(names, {"frame": as_bytes(images[image_id : image_id + 1])})
                for name, array in zip(names, wanted, strict=True):
                    assert arrays[name].shape == array.shape[1:]
                    np.testing.assert_allclose(arrays[name], array[0], rtol=1e-3, atol=1e-3, err_msg=name)
