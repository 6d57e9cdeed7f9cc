from collections.abc import Mapping

import numpy as np
import onnx
import pytest

from edge.inference.repository import version_folder
from edge.models.peaks import MOST_PEAKS, SPEC, THRESHOLD, bragg_intensity
from edge.models.registry import MODELS
from edge.models.spec import BYTE_WEIGHTS, SENTINEL_FROM
from edge.physics.bragg import bragg_sample, camera
from edge.physics.peak_judging import Tally, on_rings, pairs, tally
from edge.physics.spots import Kind, random_spots
from edge.training.evaluate_peaks_finders import model_found
from edge.training.figures import graph_run
from edge.training.measured_frames import CERIA_CENTRE, ceria_frame, ruby_frames
from tests.data import FOLDER, measured_data
from tests.unit.models.graphs import as_bytes, session, shipped

RUN = graph_run(version_folder("peaks") / "model.onnx")
STRONG = ((30.3, 40.8, 900.0), (70.6, 25.1, 500.0), (90.2, 90.4, 1500.0))


def drawn(shape: tuple[int, int], spots: tuple[tuple[float, float, float], ...], level: float = 2.0) -> np.ndarray:
    """Expected counts of Gaussian spots (row, column, counts) of a deviation of 1.5 pixels."""
    row, col = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    image = np.full(shape, level)
    for r, c, counts in spots:
        image += counts * np.exp(-((row - r) ** 2 + (col - c) ** 2) / (2 * 1.5**2)) / (2 * np.pi * 1.5**2)
    return image


def counted(expected: np.ndarray, dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(expected).astype(dtype)


def served(images: np.ndarray) -> dict[str, np.ndarray]:
    names = [output.name for output in SPEC.outputs]
    answer = session("peaks", images.dtype.itemsize).run(names, {"frame": as_bytes(images)})
    return {name: np.asarray(array) for name, array in zip(names, answer, strict=True)}


def places(outputs: dict[str, np.ndarray]) -> np.ndarray:
    return model_found(outputs).places


def nearest(outputs: Mapping[str, np.ndarray], row: float, col: float) -> int:
    found = places(dict(outputs))
    return int(np.argmin(np.hypot(*(found - (row, col)).T)))


def test_the_graph_is_what_the_specification_says() -> None:
    graph = onnx.load_from_string(shipped("peaks")).graph
    assert {BYTE_WEIGHTS, SENTINEL_FROM} <= {initializer.name for initializer in graph.initializer}
    answer = served(np.zeros((3, 40, 50), np.uint16))
    for output in SPEC.outputs:
        assert answer[output.name].shape == (3, *output.shape)
        assert answer[output.name].dtype == output.dtype
        assert not answer[output.name].any()
    assert MODELS["peaks"] is SPEC


def test_the_graph_holds_nothing_that_tensorrt_refuses() -> None:
    graph = onnx.load_from_string(shipped("peaks")).graph
    assert not {"Loop", "If", "NonZero", "Mod", "CumSum"} & {node.op_type for node in graph.node}
    assert MOST_PEAKS <= 3840  # the most that TopK takes there


@pytest.mark.parametrize("shape", [(121, 130), (120, 131), (128, 128), (127, 127)])
def test_strong_spots_are_found_where_they_are_at_any_size(shape: tuple[int, int]) -> None:
    outputs = RUN(counted(drawn(shape, STRONG)))
    found = places(outputs)
    assert len(pairs(found, np.array(STRONG)[:, :2])) == len(found) == 3
    for row, col, counts in STRONG:
        at = nearest(outputs, row, col)
        assert np.hypot(*(found[at] - (row, col))) < 0.3
        assert abs(outputs["intensity"][at] - counts) < 4 * outputs["intensity_sigma"][at] + 0.02 * counts
        assert outputs["probability"][at] > 0.9


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 5), (11, 11)])
def test_small_frames_are_no_error(shape: tuple[int, int]) -> None:
    outputs = RUN(counted(np.full(shape, 3.0)))
    assert all(np.isfinite(array).all() for array in outputs.values())


def test_the_list_is_sorted_and_zero_beyond_the_count() -> None:
    outputs = RUN(counted(drawn((121, 130), STRONG)))
    count = int(outputs["count"][0])
    probability = outputs["probability"]
    assert (probability[:count] >= THRESHOLD).all() and (np.diff(probability[:count]) <= 0).all()
    for name, array in outputs.items():
        assert name == "count" or not array[count:].any()


def test_more_spots_than_the_list_holds() -> None:
    """Some of the places that are looked at are the same spot seen twice, so a full list may be a little shorter."""
    grid = tuple((row, col, 800.0) for row in range(10, 500, 16) for col in range(10, 500, 16))
    outputs = RUN(counted(drawn((510, 510), grid)))
    assert len(grid) > MOST_PEAKS
    assert 0.8 * MOST_PEAKS < outputs["count"][0] <= MOST_PEAKS


def test_flags_gaps_and_hot_pixels_are_no_spots() -> None:
    rng = np.random.default_rng(0)
    image = counted(np.full((160, 161), 3.0))
    image[70:78], image[:, 100:104] = 65535, 65535
    image[rng.random(image.shape) < 1e-3] = 65534
    hot = (rng.random(image.shape) < 5e-4) & (image < 65534)
    assert hot.sum() > 8
    image[hot] = rng.integers(200, 60000, int(hot.sum()))
    assert RUN(image)["count"].tolist() == [0]


@pytest.mark.parametrize("level", [0.05, 2.0, 300.0])
def test_noise_alone_is_no_spot(level: float) -> None:
    counts = [int(RUN(counted(np.full((256, 256), level), seed=seed))["count"][0]) for seed in range(4)]
    assert sum(counts) <= 2


def test_a_powder_ring_is_no_spot() -> None:
    row, col = np.arange(256)[:, None], np.arange(256)[None, :]
    radius = np.hypot(row - 120, col - 130)
    rings = 3 + 40 * np.exp(-((radius - 60) ** 2) / 8) + 15 * np.exp(-((radius - 100) ** 2) / 20)
    assert RUN(counted(rings))["count"][0] <= 2


def test_a_spot_with_a_dead_pixel_keeps_most_of_its_counts() -> None:
    image = counted(drawn((121, 130), STRONG))
    image[91, 91] = 65534
    outputs = RUN(image)
    at = nearest(outputs, 90.2, 90.4)
    assert outputs["intensity"][at] == pytest.approx(1500, rel=0.12)


def test_intensity_sigma_is_the_spread_of_intensities() -> None:
    expected = drawn((121, 130), STRONG)
    pulls = []
    for seed in range(60):
        outputs = RUN(counted(expected, seed=seed))
        for row, col, counts in STRONG:
            at = nearest(outputs, row, col)
            pulls.append((outputs["intensity"][at] - counts) / outputs["intensity_sigma"][at])
    assert np.std(pulls) == pytest.approx(1.0, abs=0.15)
    assert abs(np.mean(pulls)) < 0.3


def test_photons_of_touching_spots_are_counted_once() -> None:
    close = ((40.0, 40.0, 2000.0), (40.0, 47.0, 2000.0))
    outputs = RUN(counted(drawn((90, 90), close)))
    assert outputs["count"].tolist() == [2]
    total, variance = bragg_intensity(outputs)
    assert total == pytest.approx(4000, rel=0.05)
    assert 0 < variance**0.5 < 200


@pytest.mark.parametrize("kind", ["uint8", "uint32"])
def test_item_sizes_agree(kind: str) -> None:
    image = counted(drawn((121, 130), STRONG))
    assert image.max() < 254
    image[5, 5] = 65535
    other = image.astype(kind)
    other[5, 5] = np.iinfo(kind).max
    for name, array in served(image[None]).items():
        np.testing.assert_allclose(served(other[None])[name], array, rtol=1e-4, atol=1e-4)


def test_frames_of_a_batch_do_not_mix() -> None:
    images = np.stack([counted(drawn((64, 70), STRONG[:1])), counted(np.full((64, 70), 2.0), seed=1)])
    together = served(images)
    assert together["count"].tolist() == [[1], [0]]
    for name, array in served(images[:1]).items():
        np.testing.assert_allclose(together[name][:1], array, rtol=1e-4, atol=1e-4)


def test_sum_and_variance_of_one_frame() -> None:
    arrays = {
        "count": np.array([2], np.int32),
        "intensity": np.array([3.0, 4.0, 99.0], np.float32),
        "intensity_sigma": np.array([1.0, 2.0, 99.0], np.float32),
    }
    assert bragg_intensity(arrays) == (7.0, 5.0)
    assert bragg_intensity({name: array[None] for name, array in arrays.items()}) == (7.0, 5.0)
    assert bragg_intensity({**arrays, "count": np.array([0], np.int32)}) == (0.0, 1.0), "nothing found is not certain"
    with pytest.raises(ValueError, match="one frame"):
        bragg_intensity({**arrays, "count": np.array([1, 2], np.int32)})


def test_the_summed_intensity_follows_the_map() -> None:
    """Bias within 5 % of the map's range, dim and bright."""
    sample, detector, rng = bragg_sample(50), camera((256, 256), 50), np.random.default_rng(0)
    places_mm = rng.uniform(0, 1, (24, 2))
    truth = sample.total(*places_mm.T) * 0.1
    found = [
        sum(
            bragg_intensity(RUN(detector.expose(sample.expected(x, y, (256, 256)), 0.025, 1.0, rng)))[0] for _ in "1234"
        )
        for x, y in places_mm
    ]
    off = np.array(found) - truth
    scale = sample.total(*np.meshgrid(*[np.linspace(0, 1, 30)] * 2)).max() * 0.1
    order = np.argsort(truth)
    for third in np.array_split(order, 3):
        assert abs(np.mean(off[third])) < 0.05 * scale


def test_random_spots_of_other_kinds_are_found() -> None:
    """Widths, profiles and backgrounds vary; a signal-to-noise ratio of 12."""
    rng, kind = (
        np.random.default_rng(7),
        Kind(signal_to_noise=(12, 12), blemishes=0.0, integrating=0.0, thresholded=0.0),
    )
    total = Tally()
    for _ in range(15):
        frame = random_spots((200, 200), kind, rng)
        truth = np.stack([frame.spots.row, frame.spots.col], axis=1)
        total += tally(places(RUN(frame.image)), truth, np.empty((0, 2)))
    assert total.hits + total.missed > 100
    assert total.recall > 0.85
    assert total.precision > 0.9


def test_measured_spots_of_ruby_are_found() -> None:
    measured_data("ruby_hedm/ruby_ff1.npz")
    total = Tally()
    for frame in ruby_frames(FOLDER, 40):
        image, truth, doubtful = frame.image, frame.places[frame.length >= 4], frame.places[frame.length < 4]
        for row, col in np.rint(truth).astype(int):
            first = np.array([max(row - 150, 0), max(col - 130, 0)])
            part = image[first[0] : row + 150, first[1] : col + 130]
            inside = [place[((place > first) & (place < first + part.shape)).all(1)] for place in (truth, doubtful)]
            total += tally(places(RUN(part)), inside[0] - first, inside[1] - first)
    assert total.hits + total.missed >= 15
    assert total.recall >= 0.9
    assert total.precision >= 0.8


def test_powder_rings_of_ceria_are_no_spots() -> None:
    """The frame does have compact spots beside its rings; on the rings there is nothing to be found."""
    measured_data("powder_ceria/ceria_pilatus2m.hdf5")
    image = ceria_frame(FOLDER)
    assert on_rings(image, image < 65534, places(RUN(image)), CERIA_CENTRE).sum() <= 3


def test_what_lies_on_a_ring_is_known() -> None:
    row, col = np.arange(300)[:, None], np.arange(300)[None, :]
    image = 10 + 40 * np.exp(-((np.hypot(row - 140, col - 150) - 90) ** 2) / 4)
    around = np.array([[140.0, 240.0], [50.0, 150.0], [140.0, 180.0], [20.0, 20.0]])
    assert on_rings(image, image > 0, around, (140.0, 150.0)).tolist() == [True, True, False, False]
