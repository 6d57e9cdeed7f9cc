import numpy as np
import pytest

from edge.physics.coarser import cropped, decimated, narrowed
from edge.physics.diffraction import mean_counts
from tests.unit.physics.scenes import ring_probe, smooth_object


def test_the_beam_stays_in_the_centre() -> None:
    frames = np.zeros((2, 128, 128), np.uint16)
    frames[:, 64, 64] = 7
    assert cropped(frames, 64).shape == (2, 64, 64)
    assert (cropped(frames, 64)[:, 32, 32] == 7).all()
    with pytest.raises(ValueError, match="hold no"):
        cropped(frames, 256)


def test_every_second_pixel_of_a_smooth_image_is_left() -> None:
    image = smooth_object((80, 60), 4)
    np.testing.assert_allclose(decimated(image, 2)[5:-5, 5:-5], image[::2, ::2][5:-5, 5:-5], atol=0.03)
    np.testing.assert_allclose(decimated(np.full((31, 20), 2j), 2), 2j, atol=1e-6)


def test_the_middle_of_a_far_field_is_that_of_the_coarser_object() -> None:
    # The pixel of the object doubles, so the same photons come from a quarter of the pixels.
    mode, patch = ring_probe(64)[0], smooth_object((64, 64), 4)
    coarse = mean_counts(2 * decimated(mode, 2)[None], decimated(patch, 2))
    whole = cropped(mean_counts(mode[None], patch).astype(np.float64), 32)
    np.testing.assert_allclose(coarse, whole, atol=0.02 * coarse.max())


def test_a_narrowed_probe_has_the_middle_of_the_far_field() -> None:
    mode = ring_probe(64)[0]
    narrow = narrowed(mode, 32)
    flat = np.ones((32, 32))
    wanted = cropped(mean_counts(mode[None], np.ones((64, 64))).astype(np.float64), 32)
    np.testing.assert_allclose(mean_counts(narrow[None], flat), wanted, atol=1e-4 * wanted.max())
