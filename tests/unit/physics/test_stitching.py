import numpy as np
import pytest

from edge.physics.probe import probe_intensity
from edge.physics.scan import jittered, raster
from edge.physics.stitching import Canvas, Stitcher, canvas_for
from edge.physics.subpixel import sample_patch
from tests.unit.physics.scenes import ring_probe, smooth_object

PATCH = 32
OBJECT = smooth_object((110, 110), 3)
WEIGHT = probe_intensity(ring_probe(PATCH))


def patch_at(corner: np.ndarray, constant: float) -> tuple[np.ndarray, np.ndarray]:
    patch = sample_patch(OBJECT, corner, (PATCH, PATCH)) * np.exp(1j * constant)
    return np.abs(patch), np.angle(patch)


def worst_phase(stitcher: Stitcher, canvas: Canvas, least_weight: float = 0.3) -> float:
    """Largest phase error on well-lit pixels, one constant taken out."""
    _, phase, weight = stitcher.image()
    seen = weight >= least_weight
    error = np.exp(1j * phase[seen]) * canvas.cut(OBJECT)[seen].conj()
    return float(np.abs(np.angle(error * np.exp(-1j * np.angle(error.mean())))).max())


def scan_corners(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return jittered(raster((60, 60), 8.0), 2.0, (60, 60), rng) + 5.0


@pytest.mark.parametrize("order", ["scan", "shuffled"])
def test_an_object_cut_into_patches_is_recovered(order: str) -> None:
    rng = np.random.default_rng(1)
    corners = scan_corners(2)
    if order == "shuffled":
        rng.shuffle(corners)
    canvas = canvas_for(corners, PATCH)
    stitcher = Stitcher(canvas.shape, PATCH, WEIGHT)
    for corner in corners:
        stitcher.add(*patch_at(corner, rng.uniform(-np.pi, np.pi)), canvas.place(corner))
    assert stitcher.islands == 1
    assert stitcher.patches == len(corners)
    assert worst_phase(stitcher, canvas) < 0.02
    amplitude, _, weight = stitcher.image()
    np.testing.assert_allclose(amplitude[weight > 0.3], np.abs(canvas.cut(OBJECT))[weight > 0.3], atol=0.01)


def test_positions_rounded_to_pixels_would_fail_the_same_check() -> None:
    corners = scan_corners(2)
    canvas = canvas_for(corners, PATCH)
    stitcher = Stitcher(canvas.shape, PATCH, WEIGHT)
    for corner in corners:
        stitcher.add(*patch_at(corner, 0.0), np.floor(canvas.place(corner)))
    assert worst_phase(stitcher, canvas) > 0.05


def test_a_patch_that_bridges_two_islands_joins_them() -> None:
    corners = np.array([[10.0, 10.0], [10.3, 46.6], [10.0, 20.0], [10.0, 37.0], [10.5, 28.2]])
    canvas = canvas_for(corners, PATCH)
    stitcher = Stitcher(canvas.shape, PATCH, WEIGHT)
    islands = []
    for index, corner in enumerate(corners):
        stitcher.add(*patch_at(corner, 1.3 * index), canvas.place(corner))
        islands.append(stitcher.islands)
    assert islands == [1, 2, 2, 2, 1]
    assert worst_phase(stitcher, canvas) < 0.02


def test_an_island_of_its_own_does_not_disturb_another() -> None:
    corners = np.array([[10.0, 10.0], [10.0, 60.0], [12.0, 14.0]])
    canvas = canvas_for(corners, PATCH)
    stitcher = Stitcher(canvas.shape, PATCH, WEIGHT)
    for index, corner in enumerate(corners):
        stitcher.add(*patch_at(corner, float(index)), canvas.place(corner))
    assert stitcher.islands == 2
    _, phase, weight = stitcher.image()
    left = weight >= 0.3
    left[:, 45:] = False
    error = np.exp(1j * phase[left]) * canvas.cut(OBJECT)[left].conj()
    assert np.abs(np.angle(error / error.mean())).max() < 0.02


def test_refining_takes_out_errors_of_the_first_match() -> None:
    rng = np.random.default_rng(5)
    corners = scan_corners(6)
    canvas = canvas_for(corners, PATCH)
    stitcher = Stitcher(canvas.shape, PATCH, WEIGHT, refinable=True)
    for corner in corners:
        amplitude, phase = patch_at(corner, rng.uniform(-3, 3))
        tilt = rng.normal(0, 0.03) * (np.arange(PATCH)[:, None] - PATCH / 2)
        stitcher.add(amplitude, phase + tilt, canvas.place(corner))
    amplitude, _, weight = stitcher.image()
    stitcher.refine(20)
    refined, _, same = stitcher.image()
    lit = weight > 0.3
    # Where patches disagree, the modulus of their sum shrinks: better constants make it larger.
    assert refined[lit].mean() > amplitude[lit].mean()
    np.testing.assert_array_equal(weight, same)


def test_refining_after_a_merge_changes_nothing_that_was_right() -> None:
    corners = np.array([[10.0, 10.0], [10.0, 28.0], [10.0, 19.0]])
    canvas = canvas_for(corners, PATCH)
    stitcher = Stitcher(canvas.shape, PATCH, WEIGHT, refinable=True)
    for index, corner in enumerate(corners):
        stitcher.add(*patch_at(corner, 1.3 * index), canvas.place(corner))
    stitcher.refine(3)
    assert worst_phase(stitcher, canvas) < 0.02


def test_refining_needs_kept_patches() -> None:
    with pytest.raises(RuntimeError, match="refinable"):
        Stitcher((40, 40), PATCH, WEIGHT).refine()


def test_unlit_pixels_are_nan() -> None:
    stitcher = Stitcher((80, 80), PATCH, WEIGHT)
    stitcher.add(*patch_at(np.array([4.0, 4.0]), 0.0), (4.0, 4.0))
    amplitude, phase, weight = stitcher.image()
    assert np.isnan(phase[60, 60])
    assert np.isnan(amplitude[60, 60])
    assert weight[60, 60] == 0
    assert np.isfinite(phase[20, 20])


@pytest.mark.parametrize("position", [(-0.5, 2.0), (2.0, 8.5), (np.nextafter(9, 0), 0.0)])
def test_a_patch_off_the_canvas_is_refused(position: tuple[float, float]) -> None:
    stitcher = Stitcher((40, 40), PATCH, WEIGHT)
    with pytest.raises(ValueError, match="leaves the canvas"):
        stitcher.add(np.ones((PATCH, PATCH)), np.zeros((PATCH, PATCH)), position)


def test_a_bad_patch_leaves_the_sums_as_they_were() -> None:
    stitcher = Stitcher((40, 40), PATCH, WEIGHT)
    with pytest.raises(ValueError, match="not finite"):
        stitcher.add(np.full((PATCH, PATCH), np.nan), np.zeros((PATCH, PATCH)), (2.0, 2.0))
    with pytest.raises(ValueError, match="a patch is"):
        stitcher.add(np.ones((4, 4)), np.zeros((4, 4)), (2.0, 2.0))
    assert stitcher.patches == 0
    assert not stitcher.image()[2].any()


def test_a_canvas_takes_every_patch_it_was_made_for() -> None:
    corners = np.array([[3.2, 4.0], [9.99, 30.0]])
    canvas = canvas_for(corners, PATCH)
    assert canvas.origin == (3, 4)
    stitcher = Stitcher(canvas.shape, PATCH, WEIGHT)
    for corner in corners:
        stitcher.add(*patch_at(corner, 0.0), canvas.place(corner))
    with pytest.raises(ValueError, match="leaves the image"):
        Canvas((20, 20), (95, 0)).cut(OBJECT)
