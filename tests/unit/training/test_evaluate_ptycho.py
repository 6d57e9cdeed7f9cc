"""A scan whose truth is known, judged with answers that are the truth, nearly the truth, and nothing."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy import ndimage, stats

from edge.bench.rows import Row
from edge.inference.repository import version_folder
from edge.physics.bootstrap import mean_interval
from edge.physics.judging import mean_errors
from edge.physics.objects import smooth_texture
from edge.physics.scan import jittered, raster
from edge.physics.simulation import simulate_scan
from edge.physics.subpixel import sample_patch
from edge.reference import Reference
from edge.scanfiles import Scan
from edge.training.evaluate_ptycho import evaluate, evaluate_ptycho
from edge.training.evaluate_ptycho_case import off_centre, open_case, thinned
from edge.training.evaluate_ptycho_confidence import blind_rows, mixed_frames, rank_correlation, twin
from edge.training.evaluate_ptycho_explained import deviance_rows
from edge.training.evaluate_ptycho_intervals import strip_interval, strips
from edge.training.evaluate_ptycho_opponents import Opponents, faint_opponents, opponents
from edge.training.evaluate_ptycho_rivals import (
    Image,
    Rival,
    cut,
    image_deviance,
    patch_deviance,
    rpie,
    stitched,
)
from edge.training.evaluate_ptycho_served import Answers, Serve
from edge.training.golden import golden_rows, shrunk
from edge.training.scan_probe import ScanError
from tests.unit.physics.scenes import ring_probe, smooth_object

SIZE, PATCH = 32, 24
OFFSET = (SIZE - PATCH) // 2
OBJECT = smooth_object((190, 90), 3)
MODES = ring_probe(SIZE, counts=1e5)
POSITIONS = jittered(raster((130, 30), 6.0), 1.0, (130, 30), np.random.default_rng(0)) + 8
MADE = simulate_scan(MODES, OBJECT, POSITIONS, np.random.default_rng(1))


def scan(frames: NDArray[np.uint16] = MADE.frames) -> Scan:
    return Scan(
        format="npy",
        count=len(frames),
        shape=(frames.shape[1], frames.shape[2]),
        dtype="uint16",
        origin="centre",
        positions=POSITIONS,
        position_units="px",
        probe=MODES[:1],
        frame=frames.__getitem__,
        close=lambda: None,
    )


CASE = open_case(scan(), Reference(OBJECT, POSITIONS), MODES, PATCH)
PATCHES = {
    frame.tobytes(): sample_patch(OBJECT, at + OFFSET, (PATCH, PATCH))
    for frame, at in zip(MADE.frames, POSITIONS, strict=True)
}


def oracle(noise_rad: float = 0.0, seed: int = 0) -> Serve:
    """Knows the truth of the scan's own frames up to a smooth phase error, and nothing of any other."""
    rng = np.random.default_rng(seed)

    def serve(frames: NDArray[np.uint16]) -> Answers:
        found = []
        for frame in frames:
            known = PATCHES.get(frame.tobytes())
            off = rng.uniform(0, 2 * noise_rad) * smooth_texture((PATCH, PATCH), 2.0, rng) + rng.uniform(-3, 3)
            found.append(np.ones((PATCH, PATCH), np.complex64) if known is None else known * np.exp(1j * off))
        patches = np.stack(found)
        return Answers(np.abs(patches).astype(np.float32), np.angle(patches).astype(np.float32), None)

    return serve


@pytest.fixture(scope="module")
def rivals() -> Opponents:
    return opponents(CASE)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    picture = tmp_path_factory.mktemp("picture") / "evaluation.png"
    found = [one.row() for one in evaluate(CASE, oracle(0.05), picture)]
    assert picture.stat().st_size > 10_000
    assert len({row.name for row in found}) == len(found)
    return {row.name: row for row in found}


def value(rows: dict[str, Row], name: str) -> float:
    found = rows[name].value
    assert isinstance(found, int | float)
    return float(found)


def test_blocks_are_a_patch_apart_and_nothing_is_lost_of_the_whole() -> None:
    assert CASE.test.positions[:, 0].max() + SIZE < CASE.training.positions[:, 0].min()
    assert len(CASE.whole.frames) == len(POSITIONS)


def test_every_row_that_was_asked_for_is_there_with_its_bar(rows: dict[str, Row]) -> None:
    for name, bar in {
        "ptycho_phase_mae_rad": "at most 0.1",
        "ptycho_deviance_vs_rpie5": "at most 1",
        "ptycho_speed_vs_rpie5": "at least 10",
        "ptycho_confidence_spearman": "at least 0.5",
    }.items():
        assert rows[name].detail["bar"] == bar
    assert "bar" not in rows["ptycho_floor_mae_rad"].detail
    for name in ("ptycho_phase_mae_rad", "ptycho_deviance_vs_rpie5", "ptycho_confidence_spearman"):
        low, high = rows[name].spread or (0, 0)
        assert low < value(rows, name) < high


def test_an_answer_near_the_truth_is_better_than_the_constant_guess(rows: dict[str, Row]) -> None:
    assert value(rows, "ptycho_phase_mae_rad") == pytest.approx(0.04, abs=0.02)
    assert value(rows, "ptycho_phase_mae_rad") < 0.5 * value(rows, "ptycho_phase_mae_constant_rad")
    assert value(rows, "ptycho_stitched_phase_ssim") > 0.6 > value(rows, "ptycho_stitched_constant_phase_ssim")
    assert value(rows, "ptycho_stitched_phase_psnr_db") > 5 + value(rows, "ptycho_stitched_constant_phase_psnr_db")
    assert value(rows, "ptycho_low_dose_phase_mae_rad") > value(rows, "ptycho_phase_mae_rad")


def test_the_floor_is_the_noise_of_two_reconstructions(rows: dict[str, Row]) -> None:
    assert 0.001 < value(rows, "ptycho_floor_mae_rad") < 0.2
    assert value(rows, "ptycho_floor_level_mae_rad") <= 1.01 * value(rows, "ptycho_floor_mae_rad")


def test_worse_answers_explain_frames_worse_and_the_deviance_ranks_them(rows: dict[str, Row]) -> None:
    assert value(rows, "ptycho_noise_deviance") < value(rows, "ptycho_deviance_single")
    assert value(rows, "ptycho_deviance_single") < value(rows, "ptycho_constant_deviance")
    assert value(rows, "ptycho_confidence_spearman") > 0.5


def test_the_truth_beats_five_iterations_and_nothing_does_not(rivals: Opponents) -> None:
    ratios = {}
    for name, serve in (("truth", oracle()), ("guess", oracle(2.0))):
        answers = serve(CASE.test.frames)
        image, weight = stitched(CASE, answers, CASE.test.positions)
        assert weight.max() > 1
        images = {"model": image, "rpie5": rpie(CASE, CASE.test, rivals.kept)}
        found = deviance_rows(CASE, answers, images, rivals)
        ratios[name] = {one.name: one.value for one in found}["ptycho_deviance_vs_rpie5"]
    assert ratios["truth"] < 1 < ratios["guess"]


def test_settings_are_picked_from_both_kinds(rivals: Opponents) -> None:
    assert not rivals.kept.refines
    assert rivals.refined.refines
    assert set(rivals.ranked) == {rivals.kept, rivals.refined}


def test_the_opponent_is_the_same_in_every_row_and_named(rows: dict[str, Row], rivals: Opponents) -> None:
    named = [row for name, row in rows.items() if "rpie5" in name and "models_probe" not in name]
    named = [row for row in named if "low_dose" not in row.name and "other" not in row.name and "frc" not in row.name]
    assert len(named) >= 12
    assert [row.name for row in named if str(rivals.strongest) not in row.detail["what"]] == []
    assert "dimmed" not in rows["ptycho_low_dose_phase_mae_rad"].detail["what"]
    assert "step" in rows["ptycho_low_dose_rpie5_phase_mae_rad"].detail["what"]


def test_at_a_low_dose_the_opponent_knows_the_dose(rivals: Opponents) -> None:
    share = 0.1
    faint = thinned(CASE.test, share, np.random.default_rng(3))
    found = faint_opponents(CASE, rivals.probes, share, np.random.default_rng(4))
    assert len(found) == len(rivals.probes)
    light = {name: np.sum(np.abs(modes) ** 2) for modes, name in rivals.probes}
    for one in found:
        assert np.sum(np.abs(one.modes) ** 2) == pytest.approx(share * light[one.probe], rel=0.02)

    def wrong(rival: Rival) -> float:
        return mean_errors(
            CASE.judged(cut(CASE, rpie(CASE, faint, rival), faint.positions), faint.positions)
        ).phase_mae_rad

    assert wrong(found[0]) < 0.95 * wrong(rivals.strongest)


def test_strips_hold_neighbours_and_their_intervals_are_wider_where_neighbours_are_alike() -> None:
    strip = strips(CASE.test.positions)
    rows = CASE.test.positions[:, 0]
    assert len(np.unique(strip)) == min(12, len(strip) // 2)
    assert all(rows[strip == at].max() <= rows[strip == at + 1].min() for at in range(strip.max()))
    low, high = strip_interval(lambda drawn: float(rows[drawn].mean()), CASE.test)
    frames = mean_interval(rows)
    assert low < frames[0] < rows.mean() < frames[1] < high
    with pytest.raises(ValueError, match="too few"):
        strips(CASE.test.positions[:7])


@pytest.mark.parametrize("missing", ["model.onnx", "probe.npy", "sound model.onnx", "fitting --size"])
def test_a_folder_that_is_no_model_is_named(tmp_path: Path, missing: str) -> None:
    shipped = version_folder("ptycho")
    for name in {"model.onnx", "probe.npy"} - {missing}:
        shutil.copyfile(shipped / name, tmp_path / name)
    if missing.startswith("sound"):
        (tmp_path / "model.onnx").write_bytes(b"nothing")
    np.savez(tmp_path / "scan.npz", data=MADE.frames)
    files = ["--scan", str(tmp_path / "scan.npz"), "--reference", str(tmp_path / "scan.npz"), "--size", "64"]
    answer = CliRunner().invoke(evaluate_ptycho, [*files, "--model", str(tmp_path)])
    assert answer.exit_code == 1 and isinstance(answer.exception, SystemExit)
    assert missing.split()[-1] in answer.output


def test_an_image_is_judged_where_its_frames_lie() -> None:
    patches = cut(CASE, Image(OBJECT, MODES), CASE.test.positions)
    assert mean_errors(CASE.judged(patches, CASE.test.positions)).phase_mae_rad < 1e-4
    right = image_deviance(CASE.test, Image(OBJECT, MODES))
    moved = image_deviance(CASE.test, Image(np.roll(OBJECT, 3, axis=0), MODES))
    assert right.mean() < 0.5 * moved.mean()


def test_flagged_pixels_change_no_deviance_and_break_no_reconstruction(rivals: Opponents) -> None:
    frames = MADE.frames.copy()
    frames[:, 3:5, :] = 65535
    flagged = open_case(scan(frames), Reference(OBJECT, POSITIONS), MODES, PATCH)
    assert (~flagged.test.measured).sum() == 2 * SIZE * len(flagged.test.frames)
    answers = oracle()(CASE.test.frames)
    assert patch_deviance(flagged, flagged.test, answers.patches).mean() == pytest.approx(
        patch_deviance(CASE, CASE.test, answers.patches).mean(), rel=0.15
    )
    image, whole = (rpie(one, one.test, rivals.kept) for one in (flagged, CASE))
    assert np.isfinite(image.values).all()
    assert image_deviance(flagged.test, image).mean() < 2 * image_deviance(CASE.test, whole).mean()


def test_a_twin_has_the_same_far_field_and_is_wrong() -> None:
    one = OBJECT[:SIZE, :SIZE]
    np.testing.assert_allclose(np.abs(np.fft.fft2(twin(one))), np.abs(np.fft.fft2(one)), rtol=1e-4)
    blind = {row.name: row.value for row in blind_rows(CASE)}
    assert blind["ptycho_blind_twin_deviance_ratio"] == pytest.approx(1, abs=1e-4)
    assert blind["ptycho_blind_scale_deviance_ratio"] == pytest.approx(1, abs=1e-6)
    assert (blind["ptycho_blind_twin_phase_mae_rad"] or 0) > 0.1
    assert (blind["ptycho_known_probe_twin_deviance_ratio"] or 0) > 2


def test_ranks_correlate_as_spearmans_do() -> None:
    one, other = np.random.default_rng(0).integers(0, 20, (2, 60))
    found: Any = stats.spearmanr(one, one + other)
    assert rank_correlation(one, one + other) == pytest.approx(found.statistic)


def test_mixed_frames_are_of_all_fluxes() -> None:
    block, truths = mixed_frames(MODES, 40, np.random.default_rng(0))
    sums = block.frames.sum(axis=(1, 2)) / MADE.frames.sum(axis=(1, 2)).mean()
    assert sums.min() < 0.2 and sums.max() > 1
    assert truths[0].shape == (SIZE, SIZE)


def test_thinning_keeps_a_tenth_and_flags() -> None:
    frames = MADE.frames.copy()
    frames[:, 0, 0] = 65535
    block = replace(CASE.test, frames=frames[: len(CASE.test.frames)])
    faint = thinned(block, 0.1, np.random.default_rng(0))
    assert (faint.frames[:, 0, 0] == 65535).all()
    assert np.nansum(faint.counts) == pytest.approx(0.1 * np.nansum(block.counts), rel=0.01)
    np.testing.assert_array_equal(off_centre(block).frames[:, 1:], block.frames[:, :-1])


def test_a_model_of_fewer_pixels_is_judged_on_the_middle_of_the_frames() -> None:
    half = open_case(scan(), Reference(OBJECT, POSITIONS), 2 * MODES[:, ::2, ::2], 12)
    assert half.test.frames.shape[1:] == (16, 16)
    assert half.reference.shape == (95, 45)
    np.testing.assert_allclose(half.test.positions, CASE.test.positions / 2)


@pytest.mark.parametrize(
    ("modes", "count", "message"),
    [(MODES[:, :20, :20], len(POSITIONS), "whole multiple"), (MODES, 5, "the reference is of 5 frames")],
)
def test_what_does_not_fit_is_refused(modes: NDArray[np.complex64], count: int, message: str) -> None:
    with pytest.raises(ScanError, match=message):
        open_case(scan(), Reference(OBJECT, POSITIONS[:count]), modes, 16)


def test_without_its_folder_the_published_network_is_not_run() -> None:
    rows = golden_rows(None)
    assert [row.name for row in rows] == ["ptycho_golden_mean_rad", "ptycho_golden_max_rad"]
    assert all(row.value is None and row.kept is None and "--golden" in row.what for row in rows)


def test_a_smaller_image_holds_the_middles_of_smoothed_areas() -> None:
    flat = shrunk(np.full((384, 384), 7.0), 128)
    np.testing.assert_allclose(flat, 7)
    line = shrunk(np.tile(np.arange(384.0), (384, 1)), 128)
    np.testing.assert_allclose(line[:, 2:-2], np.tile(3 * np.arange(128) + 1.0, (128, 1))[:, 2:-2], atol=1e-6)
    noise = np.random.default_rng(0).standard_normal((384, 384))
    middles = ndimage.gaussian_filter(noise, 1.0, mode="mirror")[1::3, 1::3]
    np.testing.assert_allclose(shrunk(noise, 128), middles, atol=1e-9)
