from dataclasses import replace

import numpy as np
import pytest

from edge.physics.patches import (
    FLAG,
    MIDDLE,
    PatchKind,
    Profile,
    integrated,
    perfect,
    random_patches,
    sampled,
)
from edge.physics.patches_fitted import (
    brightest_pixel,
    centre_of_mass,
    known_counts,
    log_parabola,
    pseudo_voigt_fit,
)

PLAIN = replace(perfect(PatchKind()), neighbours=0.0, slopes=0.0, ridges=0.0)
STRONG = replace(PLAIN, signal_to_noise=(200.0, 250.0), background=(0.1, 1.0))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def profile(row: float = 5.2, column: float = 4.7, mixing: float = 0.0) -> Profile:
    return Profile(*(np.array([value]) for value in (row, column, 1.8, 1.2, 0.6, mixing)))


def test_the_same_seed_draws_the_same_patches() -> None:
    one, other = (random_patches(50, PatchKind(), rng(3)) for _ in range(2))
    for name, array in vars(one).items():
        np.testing.assert_array_equal(array, getattr(other, name), err_msg=name)


def test_counts_add_up_to_spot_neighbours_and_background() -> None:
    patches = random_patches(400, replace(perfect(PatchKind()), neighbours=1.0), rng())
    patches = patches.take(~patches.saturated)
    counted = patches.images.sum(axis=(1, 2), dtype=np.float64)
    others = (patches.shares[:, 1].astype(np.float64) * patches.images).sum(axis=(1, 2))
    expected = patches.intensity + others + patches.background * patches.images[0].size
    pulls = (counted - expected) / np.sqrt(counted)
    assert abs(pulls.mean()) < 0.2
    assert 0.7 < pulls.std() < 1.2
    np.testing.assert_allclose(patches.shares.sum(axis=1, dtype=np.float64), 1, atol=2e-3)


def test_the_centre_is_that_of_the_spots_own_light() -> None:
    patches = random_patches(300, replace(STRONG, half_width_px=(0.8, 1.2)), rng())
    assert np.median(np.hypot(*(centre_of_mass(known_counts(patches.images)) - patches.centre).T)) < 0.1
    assert (np.abs(patches.centre - MIDDLE) <= 1.5).all()


def test_a_neighbour_hides_no_spot() -> None:
    patches = random_patches(300, replace(PLAIN, neighbours=1.0), rng())
    assert patches.overlap.max() <= 1.01  # two neighbours, half of its light each
    assert (patches.overlap > 0.01).mean() > 0.3


def test_thresholded_patches_are_zero_below_what_remains() -> None:
    patches = random_patches(200, replace(PLAIN, thresholded=1.0), rng())
    assert patches.thresholded.all()
    for image in patches.images:
        assert (image == 0).any()
        assert image.max() > 0
    # What is hidden belongs to the intensity all the same.
    assert (patches.intensity > patches.images.sum(axis=(1, 2))).mean() > 0.5


def test_saturation_is_flat_or_flagged_and_is_told() -> None:
    patches = random_patches(400, replace(STRONG, saturated=1.0), rng())
    flagged = (patches.images == FLAG).any(axis=(1, 2))
    full = [int((image == image.max()).sum()) for image in patches.images[patches.saturated & ~flagged]]
    assert patches.saturated.mean() > 0.95
    assert 0.3 < flagged.mean() < 0.7
    assert np.mean([count > 1 for count in full]) > 0.7
    assert not random_patches(100, replace(STRONG, half_width_px=(1.5, 2.4)), rng()).saturated.any()


def test_gaps_and_hot_pixels() -> None:
    patches = random_patches(300, replace(STRONG, flagged=1.0, hot=0.0), rng())
    assert (patches.images == FLAG).any(axis=(1, 2)).all()
    calm, hot = (random_patches(300, replace(STRONG, hot=chance), rng()) for chance in (0.0, 1.0))
    assert hot.images.max(axis=(1, 2)).sum() > 1.1 * calm.images.max(axis=(1, 2)).sum()


def test_gain_widens_the_noise_by_its_root() -> None:
    patches = random_patches(4000, replace(PLAIN, integrating=1.0, background=(50.0, 50.0)), rng())
    chosen = patches.noise > 1
    assert np.isfinite(patches.noise).all()
    corner = patches.images[chosen, 0, 0]
    pulls = (corner - patches.background[chosen]) / (np.sqrt(patches.background[chosen]) * patches.noise[chosen])
    assert 0.9 < np.std(pulls[np.abs(pulls) < 4]) < 1.3


@pytest.mark.parametrize("mixing", [0.0, 1.0])
def test_the_half_width_is_where_the_profile_has_half_its_height(mixing: float) -> None:
    along = replace(profile(5, 5, mixing), along=np.array([2.0]), angle=np.array([0.0]))
    image = sampled(along)[0]
    assert image[5, 5] == pytest.approx(1)
    assert image[7, 5] == image[3, 5] == pytest.approx(0.5)
    turned = sampled(replace(along, angle=np.array([np.pi / 2])))[0]
    np.testing.assert_allclose(turned, image.T, atol=1e-12)


def test_a_pixel_holds_the_profiles_mean_over_it() -> None:
    fine = np.mean(
        [
            sampled(profile(5.2 + down, 4.7 + right))[0]
            for down in (np.arange(20) - 9.5) / 20
            for right in (np.arange(20) - 9.5) / 20
        ],
        axis=0,
    )
    np.testing.assert_allclose(integrated(profile())[0], fine, atol=2e-3)


def test_rivals_find_a_plain_spot_as_well_as_they_can() -> None:
    image = np.rint(20 + 5000 * sampled(profile(5.2, 4.7))).astype(np.uint16)
    counts = known_counts(image)
    np.testing.assert_array_equal(brightest_pixel(counts), [[5, 5]])
    np.testing.assert_allclose(log_parabola(counts), [[5.2, 4.7]], atol=0.15)
    np.testing.assert_allclose(centre_of_mass(counts), [[5.2, 4.7]], atol=0.15)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_profile_fit_gives_back_what_was_drawn(weighted: bool) -> None:
    true = profile(5.2, 4.7, 0.4)
    counts = 20 + 5000 * sampled(true)
    known = np.ones_like(counts, dtype=bool)
    known[0, 0, :3] = False
    fitted = pseudo_voigt_fit(np.where(known, counts, np.nan), known, weighted, (0.0, 100.0))
    np.testing.assert_allclose(fitted.centre, [[5.2, 4.7]], atol=1e-3)
    np.testing.assert_allclose(fitted.background, 20, rtol=0.02)
    np.testing.assert_allclose(fitted.intensity, (counts - 20).sum(), rtol=1e-3)


def test_a_patch_of_too_few_pixels_has_no_fit_but_an_answer() -> None:
    counts = known_counts(np.full((1, 11, 11), FLAG, np.uint16))
    fitted = pseudo_voigt_fit(counts, np.isfinite(counts), True, (0.0, 10.0))
    assert np.isfinite(fitted.centre).all()
    assert np.isfinite(centre_of_mass(counts)).all()
    assert np.isfinite(log_parabola(counts)).all()
