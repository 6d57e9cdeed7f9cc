import numpy as np
import onnx
import pytest

from edge.inference.repository import version_folder
from edge.models.denoise import SPEC
from edge.models.registry import MODELS
from edge.models.spec import ANY, BYTE_WEIGHTS, SENTINEL_FROM
from edge.physics.count_judging import pulls
from edge.physics.spots import Kind, random_spots, without
from edge.scanfiles import open_scan
from edge.training.evaluate_denoise_cases import bragg_cases, hidden, judged, methods, smoothed, thinned_cases
from edge.training.evaluate_denoise_measured import unseen_frames
from edge.training.figures import graph_run
from tests.data import measured_data
from tests.unit.models.graphs import as_bytes, session, shipped

RUN = graph_run(version_folder("denoise") / "model.onnx")


def denoised(image: np.ndarray) -> np.ndarray:
    return both(image)[0]


def both(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expected counts and the variance of that estimate."""
    names = [output.name for output in SPEC.outputs]
    answer = session("denoise", image.dtype.itemsize).run(names, {"frame": as_bytes(image[None])})
    expected, variance = (np.asarray(array)[0] for array in answer)
    return expected, variance


def smooth(shape: tuple[int, int], level: float = 8.0) -> np.ndarray:
    row, col = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    return level * (0.2 + np.exp(-((row - 40) ** 2 + (col - 50) ** 2) / 800))


def test_the_graph_is_what_the_specification_says() -> None:
    graph = onnx.load_from_string(shipped("denoise")).graph
    assert {BYTE_WEIGHTS, SENTINEL_FROM} <= {initializer.name for initializer in graph.initializer}
    assert [value.name for value in graph.output] == ["expected", "variance"]
    assert all(output.shape == (ANY, ANY) for output in SPEC.outputs)
    assert MODELS["denoise"] is SPEC
    assert not {"Loop", "If", "NonZero", "Mod"} & {node.op_type for node in graph.node}


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2), (64, 64), (63, 64), (64, 65), (101, 97)])
def test_any_size_comes_back_as_it_went_in(shape: tuple[int, int]) -> None:
    for out in both(np.random.default_rng(0).poisson(3.0, shape).astype(np.uint16)):
        assert out.shape == shape and out.dtype == np.float32
        assert np.isfinite(out).all() and (out > 0).all()


def test_a_frame_without_a_photon_has_numbers():
    expected, variance = both(np.zeros((40, 50), np.uint16))
    assert (expected > 0).all() and expected.mean() < 0.01 and np.isfinite(variance).all()


def test_the_variance_is_that_of_the_error() -> None:
    """Over frames of all kinds of spots; three fluxes, whose variances differ by orders of magnitude."""
    rng = np.random.default_rng(5)
    kind = without(Kind(background=(0.1, 10.0), rings=0.0))
    for flux in (0.2, 1.0, 5.0):
        square = []
        for _ in range(8):
            truth = flux * random_spots((96, 96), kind, rng).expected
            expected, variance = both(rng.poisson(truth).astype(np.uint16))
            square.append(np.mean(pulls(expected, variance, truth, np.zeros_like(truth)) ** 2))
        assert 0.5 < np.sqrt(np.mean(square)) < 1.5


def test_where_nothing_is_known_the_variance_is_larger() -> None:
    image = np.random.default_rng(0).poisson(smooth((100, 120), 40.0)).astype(np.uint16)
    before = both(image)[1][52, 60]
    image[45:60] = 65535
    assert both(image)[1][52, 60] > 2 * before


@pytest.mark.parametrize("shape", [(100, 120), (101, 121)])
@pytest.mark.parametrize("level", [0.3, 8.0, 200.0])
def test_noise_goes_and_the_flux_stays(shape: tuple[int, int], level: float) -> None:
    expected = smooth(shape, level)
    image = np.random.default_rng(0).poisson(expected).astype(np.uint16)
    out = denoised(image)
    assert np.mean((out - expected) ** 2) < 0.3 * np.mean((image - expected) ** 2)
    assert out.sum() == pytest.approx(image.sum(), rel=0.04)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_what_is_moved_stays_as_it_was(shift: tuple[int, int]) -> None:
    """Odd sizes and odd shifts: nothing is half a pixel off."""
    row, col = np.arange(101)[:, None], np.arange(121)[None, :]
    expected = 1 + 500 * np.exp(-((row - 50.3) ** 2 + (col - 60.6) ** 2) / (2 * 2.5**2))
    image = np.random.default_rng(0).poisson(expected).astype(np.uint16)[shift[0] :, shift[1] :]
    around = slice(41 - shift[0], 60 - shift[0]), slice(52 - shift[1], 71 - shift[1])
    above = denoised(np.ascontiguousarray(image))[around] - 1.0
    found = [np.average(np.arange(19), weights=above.sum(axis=1 - axis)) for axis in (0, 1)]
    assert found == pytest.approx([50.3 - 41, 60.6 - 52], abs=0.1)


def test_flagged_pixels_get_a_plausible_value() -> None:
    expected = smooth((100, 120), 40.0)
    image = np.random.default_rng(0).poisson(expected).astype(np.uint16)
    flagged = np.random.default_rng(1).random(image.shape) < 0.01
    image[flagged] = 65534
    image[60:64] = 65535
    out = denoised(image)
    assert np.mean(np.abs(out[flagged] - expected[flagged]) / expected[flagged]) < 0.15
    assert np.mean(np.abs(out[60:64] - expected[60:64]) / expected[60:64]) < 0.25


def test_a_hot_pixel_does_not_spread() -> None:
    expected = smooth((100, 120), 8.0)
    image = np.random.default_rng(0).poisson(expected).astype(np.uint16)
    before = denoised(image)
    image[20, 20] = 60000
    assert np.abs(denoised(image) - before).max() < 5


@pytest.mark.parametrize("kind", ["uint8", "uint32"])
def test_item_sizes_agree(kind: str) -> None:
    image = np.random.default_rng(0).poisson(smooth((60, 61))).astype(np.uint16)
    image[5, 5] = 65535
    other = image.astype(kind)
    other[5, 5] = np.iinfo(kind).max
    np.testing.assert_allclose(denoised(other), denoised(image), rtol=1e-4, atol=1e-4)


def test_bragg_frames_are_better_than_by_any_gaussian() -> None:
    cases, ways = bragg_cases(8), methods(RUN)
    rows = {str(row["method"]): row for row in judged(cases, ways)}
    model = rows.pop("model")
    assert float(model["Poisson deviance"]) < 0.9 * min(float(row["Poisson deviance"]) for row in rows.values())
    assert abs(float(model["flux bias %"])) < 2
    guessed = {str(row["method"]): float(row["mean absolute error"]) for row in hidden(cases, ways)}
    assert guessed["model"] < guessed["raw counts"]


def test_a_tenth_of_measured_photons_predicts_the_rest() -> None:
    with open_scan(measured_data("siemens_star/siemens-star-small.npz.bz2")) as scan:
        frames = [scan.frame(int(index)) for index in unseen_frames(scan)[::10]]
    rows = {str(row["method"]): row for row in judged(thinned_cases(frames), methods(RUN))}
    assert float(rows["model"]["Poisson deviance"]) < float(rows["gaussian 0.7 px"]["Poisson deviance"])
    assert abs(float(rows["model"]["flux bias %"])) < 1.5


def test_the_judges_arithmetic() -> None:
    image = np.full((20, 20), 7, np.uint16)
    image[5, 5] = 65535
    np.testing.assert_allclose(smoothed(image, 1.0), 7)
    whole = np.full((4, 4), 1000, np.uint16)
    (case,) = thinned_cases([whole])
    np.testing.assert_allclose(case.image * 0.9 + case.wanted * 9 * 0.9 + case.image * 0.1, whole, rtol=0.2)
