import numpy as np
import pytest

from edge.physics.bragg import SMALLEST_PX, BraggSample, bragg_sample, camera
from edge.physics.camera import DEAD, FLAG_VALUE, GAP, GAP_VALUE, NOISY, gaps

SHAPE = (256, 256)
GRID = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 41), indexing="ij")
SEEDS = range(6)


def spots_only(sample: BraggSample, x: float, y: float, shape: tuple[int, int]) -> np.ndarray:
    """The expected image less that of the same place with all reflections switched off."""
    dark = BraggSample(
        reflections=type(sample.reflections)(
            **{**vars(sample.reflections), "per_s": np.zeros_like(sample.reflections.per_s)}
        ),
        **{name: getattr(sample, name) for name in ("densities", "tilts", "strain", "air")},
    )
    return sample.expected(x, y, shape) - dark.expected(x, y, shape)


@pytest.mark.parametrize("shape", [SHAPE, (SMALLEST_PX, SMALLEST_PX), (301, 415)])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_map_is_the_sum_of_the_spots_that_are_drawn(seed: int, shape: tuple[int, int]) -> None:
    sample = bragg_sample(seed)
    for x, y in ((0.0, 0.0), (0.31, 0.87), (1.0, 0.5)):
        spots = spots_only(sample, x, y, shape)
        assert spots.min() >= -1e-9
        assert spots.sum() == pytest.approx(float(sample.total(x, y)), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_spot_loses_photons_in_a_gap_or_beyond_the_border(seed: int) -> None:
    sample = bragg_sample(seed)
    for x, y in ((0.1, 0.2), (0.9, 0.6)):
        spots = spots_only(sample, x, y, SHAPE)
        lost = sum(spots[inside].sum() for inside in gaps(SHAPE))
        assert lost < 1e-6 * max(spots.sum(), 1)
        for edge in (spots[:2], spots[-2:], spots[:, :2], spots[:, -2:]):
            assert np.abs(edge).max() < 1e-9


@pytest.mark.parametrize("seed", SEEDS)
def test_a_map_is_bright_in_places_and_nearly_empty_in_others(seed: int) -> None:
    total = bragg_sample(seed).total(*GRID)
    dim, bright = np.percentile(total, [5, 95])
    assert bright > 3 * dim
    assert total.min() < 0.12 * total.max()
    assert 5e4 < total.max() < 4e5
    assert (total >= 0).all()


def test_maps_are_longer_along_one_axis_than_along_the_other() -> None:
    """Mean over samples of the gradients' anisotropy: 1 for maps without a direction."""
    ratios = []
    for seed in range(12):
        down, across = np.gradient(bragg_sample(seed).total(*GRID))
        moments = np.array([[np.mean(down**2), np.mean(down * across)], [np.mean(down * across), np.mean(across**2)]])
        small, large = np.linalg.eigvalsh(moments)
        ratios.append(np.sqrt(large / small))
    assert np.mean(ratios) > 1.7


def test_spots_come_and_go_and_every_seed_is_another_sample() -> None:
    sample = bragg_sample(3)
    each = sample.intensities(*GRID)
    assert each.shape == (41, 41, len(sample.reflections.row))
    lit = each > 400  # ten photons in 25 ms
    assert (lit.any((0, 1)) & ~lit.all((0, 1))).mean() > 0.7
    assert 40 <= each.shape[-1] <= 80
    maps = [bragg_sample(seed).total(*GRID).ravel() for seed in range(4)]
    assert np.abs(np.corrcoef(maps)[np.triu_indices(4, 1)]).max() < 0.8
    np.testing.assert_array_equal(bragg_sample(3).total(*GRID), sample.total(*GRID))


def test_places_are_broadcast() -> None:
    sample = bragg_sample(1)
    assert sample.total(0.5, 0.5).shape == ()
    rows = sample.total(np.linspace(0, 1, 3)[:, None], np.linspace(0, 1, 4))
    assert rows.shape == (3, 4)
    assert rows[1, 0] == pytest.approx(float(sample.total(0.5, 0.0)))


def test_the_background_is_not_the_callers_to_change() -> None:
    sample = bragg_sample(0)
    first = sample.expected(0.2, 0.2, SHAPE)
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(sample.expected(0.2, 0.2, SHAPE), kept)


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        bragg_sample(0).expected(0.5, 0.5, (SMALLEST_PX - 1, 256))


def test_a_bright_point_is_counted_to_a_few_percent() -> None:
    brightest = bragg_sample(2).total(*GRID).max() * 0.1
    assert 0.003 < brightest**-0.5 < 0.03


def test_mask_and_image_tell_the_same() -> None:
    detector, rng = camera(SHAPE, 5), np.random.default_rng(0)
    image = detector.expose(np.full(SHAPE, 100.0), 0.1, 1.0, rng)
    assert image.dtype == np.uint16 and detector.mask.dtype == np.uint32
    assert set(np.unique(detector.mask)) == {0, GAP, DEAD, NOISY}
    assert (image[detector.mask == GAP] == GAP_VALUE).all()
    assert (image[(detector.mask == DEAD) | (detector.mask == NOISY)] == FLAG_VALUE).all()
    assert image[detector.mask == 0].max() < FLAG_VALUE
    assert (image[gaps(SHAPE)[0]] == GAP_VALUE).all()


def test_exposure_and_beam_scale_photons_but_not_hot_pixels() -> None:
    detector, rng = camera(SHAPE, 5), np.random.default_rng(0)
    cold = (detector.mask == 0) & (detector.hot == 0)
    hot = (detector.mask == 0) & (detector.hot > 0)
    assert hot.any()
    for exposure, beam in ((0.1, 1.0), (0.2, 0.25)):
        image = detector.expose(np.full(SHAPE, 1000.0), exposure, beam, rng)
        assert image[cold].mean() == pytest.approx(1000 * exposure * beam, rel=0.01)
        assert image[cold].var() == pytest.approx(1000 * exposure * beam, rel=0.05)
    dark = detector.expose(np.full(SHAPE, 1000.0), 0.2, 0.0, rng)
    assert dark[cold].max() == 0
    assert dark[hot].max() > 0


def test_counts_do_not_run_into_the_flags() -> None:
    detector = camera(SHAPE, 5)
    image = detector.expose(np.full(SHAPE, 1e7), 1.0, 1.0, np.random.default_rng(0))
    assert (image[detector.mask == 0] == 65533).all()


def test_another_shape_than_the_cameras_is_refused() -> None:
    with pytest.raises(ValueError, match="camera of"):
        camera(SHAPE).expose(np.zeros((256, 255)), 0.1, 1.0, np.random.default_rng(0))
