from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.conditioning.orientation import ORIENTATIONS, Orientation, oriented
from edge.physics.orientation import Turn, after, family, turn_of
from edge.physics.orientation_overlap import (
    Neighbourhood,
    around,
    choose_places,
    find_beam,
    fit,
    fitting_probe,
    mean_frame,
    probe_diameter,
    residual,
    without_flags,
)
from edge.physics.orientation_ranking import FREE, QUICK, rank
from edge.physics.scan import jittered, raster
from edge.physics.simulation import simulate_scan
from tests.unit.physics.scenes import smooth_object

SIZE = 36
SIGNS = ((1, 1), (-1, 1), (1, -1), (-1, -1))
STARTS = [turn_of(image, SIGNS[index % 4], swap=False) for index, image in enumerate(ORIENTATIONS)]


def lopsided_probe() -> NDArray[np.complex64]:
    """A defocused beam [SIZE, SIZE] that is unlike all its mirror images."""
    row, col = np.meshgrid(*(np.arange(SIZE) - SIZE / 2,) * 2, indexing="ij")
    blobs = np.exp(-((row / 5) ** 2) - (col / 3.5) ** 2) + 0.6 * np.exp(-(((row - 5) / 3) ** 2) - ((col - 4) / 4) ** 2)
    probe = blobs * np.exp(0.05j * (row**2 + col**2))
    return (probe * np.sqrt(2e5 / np.sum(np.abs(probe) ** 2))).astype(np.complex64)


PROBE = lopsided_probe()
PLACES = jittered(raster((18, 18), 3.2), 1.0, (18, 18), np.random.default_rng(0))
SCAN = simulate_scan(PROBE[None], smooth_object((60, 60), 4), PLACES, np.random.default_rng(1))


def hood_of(frames: np.ndarray, positions: np.ndarray) -> Neighbourhood:
    """All frames in random order, cut to the beam as `edge orient` does."""
    beam = find_beam(frames.mean(axis=0))
    order = np.random.default_rng(2).permutation(len(frames))
    cut = np.stack([beam.cut(without_flags(frames[index])) for index in order])
    return Neighbourhood(cut, positions[order] * beam.size / SIZE, order)


def started(start: Turn) -> Neighbourhood:
    """The scan with its whole frames, of even size, and positions turned."""
    frames = np.stack([oriented(frame, start.image) for frame in SCAN.frames])
    return hood_of(frames, SCAN.positions @ np.diag(start.signs))


HOOD = hood_of(SCAN.frames, SCAN.positions)
GUESS = fitting_probe(PROBE, HOOD.frames.shape[-1])


@pytest.mark.parametrize("start", STARTS, ids=lambda start: f"{start.image}, {start.signs}")
def test_a_known_probe_tells_the_very_turn_from_every_start(start: Turn) -> None:
    found = rank([started(start)], GUESS)
    assert found.clear and found.twin_told and found.mirror_told
    assert after(start, found.recommended) == Turn()


@pytest.mark.parametrize("start", STARTS[::3], ids=lambda start: f"{start.image}, {start.signs}")
def test_without_a_probe_the_family_is_found(start: Turn) -> None:
    found = rank([started(start)], None)
    assert found.clear and found.blind and not found.twin_told and not found.mirror_told
    assert after(start, found.recommended).relative in family("as-is")
    assert len(found.equivalent) == 16
    assert found.recommended.scan == "as-is"


def test_a_probe_of_the_wrong_defocus_gives_the_twin() -> None:
    found = rank([HOOD], GUESS.conj())
    assert found.clear and found.recommended.relative == "rotate-180"


@pytest.mark.parametrize("both", ORIENTATIONS[1:])
def test_turning_image_scan_and_probe_together_changes_nothing(both: Orientation) -> None:
    size = len(GUESS)
    centred = np.fft.ifft2(np.fft.ifftshift(oriented(np.fft.fftshift(np.fft.fft2(GUESS)), both)))
    assert centred.shape == (size, size)
    plain, turned = fit(HOOD, Turn(), GUESS, FREE), fit(HOOD, Turn(both, both), centred, FREE)
    assert residual([turned]) == pytest.approx(residual([plain]), rel=0.1)


def test_the_twin_of_the_probe_fits_the_image_turned_by_180_degrees() -> None:
    plain, turned = fit(HOOD, Turn(), GUESS, FREE), fit(HOOD, Turn("rotate-180"), GUESS.conj(), FREE)
    assert residual([turned]) == pytest.approx(residual([plain]), rel=1e-3)
    assert residual([fit(HOOD, Turn("rotate-180"), GUESS, FREE)]) > 2 * residual([plain])


def test_positions_of_other_frames_are_not_clear() -> None:
    mixed = replace(HOOD, positions=np.random.default_rng(3).permutation(HOOD.positions))
    assert not rank([mixed], GUESS).clear


def test_an_empty_sample_is_not_clear() -> None:
    empty = simulate_scan(PROBE[None], np.ones((60, 60), np.complex64), PLACES, np.random.default_rng(1))
    found = rank([hood_of(empty.frames, empty.positions)], GUESS)
    assert not found.clear
    assert found.over_mean.ratio < 1.1


def test_progress_reaches_its_total() -> None:
    heard: list[tuple[int, int]] = []
    rank([HOOD.part(8)], None, lambda done, total: heard.append((done, total)))
    assert heard[-1][0] == heard[-1][1] == len(heard)


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="four frames"):
        rank([HOOD.part(3)], GUESS)


def test_flags_are_no_counts() -> None:
    frame = np.array([[3, 65533, 65534, 65535]], dtype=np.uint16)
    np.testing.assert_array_equal(without_flags(frame), [[3, 65533, np.nan, np.nan]])
    np.testing.assert_array_equal(without_flags(np.array([[7, 2**32 - 1]], dtype=np.uint32), 0), [[7, 0]])
    np.testing.assert_array_equal(mean_frame(np.array([[[1, np.nan, np.nan]], [[3, 5, np.nan]]])), [[2, 5, 0]])


def test_pixels_behind_a_beamstop_are_left_out_and_not_taken_for_dark() -> None:
    """Hidden in all frames: the right turn stays far ahead, further than with zeros in their place."""
    middle = slice(HOOD.frames.shape[-1] // 2 - 2, HOOD.frames.shape[-1] // 2 + 3)

    def margin(instead: float) -> float:
        frames = HOOD.frames.copy()
        frames[:, middle, middle] = instead
        hood = replace(HOOD, frames=frames)
        right, wrong = (residual([fit(hood, turn, GUESS, FREE)]) for turn in (Turn(), Turn(image="rotate-90")))
        return wrong / right

    assert margin(np.nan) > max(1.2, 1.1 * margin(0))


def test_the_beam_is_found_off_the_middle_and_despite_a_hot_pixel() -> None:
    mean = np.zeros((64, 80))
    row, col = np.ogrid[:64, :80]
    mean += 50 * np.exp(-((row - 30) ** 2 + (col - 47) ** 2) / 30)
    mean[2, 2] = 1e7
    beam = find_beam(mean)
    assert beam.centre == (30, 47)
    assert beam.share > 0.95 and beam.size == 21
    cut = beam.cut(mean)
    assert np.unravel_index(np.argmax(cut), cut.shape) == (10, 10)


def test_no_beam_is_told() -> None:
    with pytest.raises(ValueError, match="no counts"):
        find_beam(np.zeros((64, 64)))
    corner = np.zeros((64, 64))
    corner[:4, :4] = 1
    with pytest.raises(ValueError, match="too little"):
        find_beam(corner)


def test_a_probe_keeps_its_size_in_the_field_of_view() -> None:
    size = len(GUESS)
    assert probe_diameter(GUESS) / size == pytest.approx(probe_diameter(PROBE) / SIZE, rel=0.1)
    with pytest.raises(ValueError, match="smaller"):
        fitting_probe(PROBE, SIZE + 1)


def test_places_are_apart_and_where_frames_differ() -> None:
    positions = raster((40, 40), 2.0)
    told = np.where(np.hypot(*(positions - 20).T) < 12, 1.0, 0.1) + 1e-3 * np.arange(len(positions))
    told[::2] = np.nan
    chosen = choose_places(positions, told, 3, 8.0)
    assert all(told[index] > 1 for index in chosen)
    for one in range(3):
        for other in range(one):
            assert np.hypot(*(positions[chosen[one]] - positions[chosen[other]])) >= 8
    assert len(choose_places(positions[:5], np.ones(5), 9, 8.0)) <= 5


def test_of_a_dense_scan_frames_over_the_whole_reach_are_taken() -> None:
    positions = raster((40, 40), 1.0)
    centre = int(np.argmin(np.hypot(*(positions - 20).T)))
    chosen = around(positions, centre, 40, 12.0, np.random.default_rng(0))
    distance = np.hypot(*(positions[chosen] - 20).T)
    assert len(set(chosen.tolist())) == 40
    assert distance.max() > 10 and distance.max() <= 12
    sparse = around(positions, centre, 40, 1.0, np.random.default_rng(0))
    assert np.hypot(*(positions[sparse] - 20).T).max() < 5


def test_fits_leave_what_they_are_given() -> None:
    before = HOOD.frames.copy(), HOOD.positions.copy()
    fit(HOOD, Turn("transpose", "mirror-rows"), GUESS, QUICK)
    np.testing.assert_array_equal(HOOD.frames, before[0])
    np.testing.assert_array_equal(HOOD.positions, before[1])
