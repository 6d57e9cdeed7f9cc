"""The judgement of `bragg` tells good answers from bad ones: here the answers are made up."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge.inference.repository import version_folder
from edge.physics.patches import PatchKind, Profile, sampled
from edge.physics.patches_fitted import Fitted, known_counts, pseudo_voigt_fit
from edge.training.bragg_picture import draw_errors
from edge.training.evaluate_bragg import evaluate_bragg
from edge.training.evaluate_bragg_answers import distances, graph_run, intensity_pulls, place_pulls, places, width
from edge.training.evaluate_bragg_ruby import (
    BACKGROUND_LIMITS,
    MOST_RESIDUAL,
    TEST_FROM,
    VALIDATION_BEFORE,
    RubyPatches,
    measured,
    ruby_patches,
)
from edge.training.evaluate_bragg_simulated import (
    all_pulls,
    band_rows,
    beside_fits,
    bias_rows,
    counted_patches,
    intensity_rows,
    pull_rows,
)
from edge.training.judged import Judged
from tests.data import FOLDER, measured_data


def made_up(patches, off: float = 0.0, factor: float = 1.0, seed: int = 0) -> dict[str, np.ndarray]:
    """Right answers with noise of the stated sigmas, places `off` to the right and intensities times `factor`."""
    rng = np.random.default_rng(seed)
    sigma, light = 0.05 * np.ones(len(patches)), 0.01 * patches.intensity
    noise = rng.standard_normal((3, len(patches)))
    return {
        "row": patches.centre[:, 0] + sigma * noise[0],
        "column": patches.centre[:, 1] + sigma * noise[1] + off,
        "row_sigma": sigma,
        "column_sigma": sigma,
        "intensity": factor * patches.intensity + light * noise[2],
        "intensity_sigma": light,
    }


def by_name(rows: list[Judged]) -> dict[str, Judged]:
    return {row.name: row for row in rows}


@pytest.fixture(scope="module")
def patches():
    return counted_patches(1500, PatchKind())


def test_right_answers_keep_the_bars(patches) -> None:
    answers = made_up(patches)
    rows = by_name([*bias_rows(patches, answers), *pull_rows(patches, answers)])
    assert all(row.kept for row in rows.values() if row.bars)
    assert rows["bragg_pull_sigma"].value == pytest.approx(1, abs=0.03)
    assert rows["bragg_pull_sigma/middle"].value == pytest.approx(1, abs=0.05)


def test_a_bias_is_seen_and_misses_the_bar(patches) -> None:
    row = by_name(bias_rows(patches, made_up(patches, factor=1.03)))["bragg_intensity_bias_pct"]
    assert row.value == pytest.approx(3, abs=0.2)
    assert row.kept is False


def test_errors_that_cancel_in_the_sum_are_seen_in_the_bands(patches) -> None:
    """Faint spots too bright by a tenth, others too dim; what is too much for faint ones is little light."""
    answers = made_up(patches)
    answers["intensity"] = answers["intensity"] * np.where(patches.signal_to_noise < 15, 1.1, 0.95)
    rows = by_name(band_rows(patches, answers))
    name = "bragg_intensity_bias_pct"
    assert rows[f"{name}/8 to 15"].value == pytest.approx(10, abs=0.5)
    assert rows[f"{name}/30 to 100/median"].value == pytest.approx(-5, abs=0.5)
    assert rows[f"{name}/100 to 600/flux"].value == pytest.approx(-5, abs=0.5)
    found, true = np.array([20.0, 990.0]), np.array([10.0, 1000.0])
    one = by_name(intensity_rows("two", found, true, "two spots"))
    values = [one[f"{name}/two{way}"].value for way in ("", "/flux", "/median")]
    assert values == pytest.approx([49.5, 0, 49.5])


def test_the_fit_is_a_rival_for_intensities_too() -> None:
    answers = made_up(counted_patches(100, PatchKind()))
    rows = by_name(beside_fits(lambda images: answers, 100))
    name = "bragg_intensity_bias_pct/fitted"
    assert {f"{name}, {who}{way}" for who in ("model", "weighted fit") for way in ("", "/flux", "/median")} <= set(rows)
    model, fit = (rows[f"{name}, {who}/median"].value for who in ("model", "weighted fit"))
    assert model == pytest.approx(0, abs=0.6) and fit is not None and abs(fit) < 10


def test_a_mean_that_is_off_is_told_beside_the_deviation(patches) -> None:
    answers = made_up(patches, factor=1.01)
    row = by_name(pull_rows(patches, answers))["bragg_pull_sigma/intensity"]
    assert row.value == pytest.approx(1, abs=0.06)
    assert row.more["mean"] == pytest.approx(1, abs=0.1) and "mean +" in row.what


def test_folders_that_hold_something_else_are_named_at_once(tmp_path: Path) -> None:
    for given in (["--data", str(tmp_path)], ["--model", str(tmp_path)]):
        done = CliRunner().invoke(evaluate_bragg, given)
        assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
        assert ("ruby_ff1_patches.npz" if given[0] == "--data" else "model.onnx") in done.output
    (tmp_path / "ruby_hedm").mkdir()
    (tmp_path / "ruby_hedm" / "ruby_ff1_patches.npz").write_bytes(b"PK\x03\x04 cut off")
    done = CliRunner().invoke(evaluate_bragg, ["--data", str(tmp_path)])
    assert done.exit_code == 1 and "cannot be read" in done.output and isinstance(done.exception, SystemExit)


def test_sigmas_that_are_too_small_miss_the_bar(patches) -> None:
    answers = made_up(patches)
    answers["row_sigma"] = answers["row_sigma"] / 2
    rows = by_name(pull_rows(patches, answers))
    assert rows["bragg_pull_sigma"].kept is False
    assert rows["bragg_pull_sigma/place"].value == pytest.approx(2.5**0.5, abs=0.1)
    assert rows["bragg_pull_sigma/intensity"].value == pytest.approx(1, abs=0.06)


def test_pulls_are_errors_over_sigmas(patches) -> None:
    answers = made_up(patches, off=0.1)
    assert place_pulls(answers, patches.centre).mean(axis=0) == pytest.approx([0, 2], abs=0.1)
    assert intensity_pulls(answers, patches.intensity).std() == pytest.approx(1, abs=0.06)
    assert all_pulls(answers, patches).shape == (len(patches), 3)
    assert distances(places(answers), patches.centre).shape == (len(patches),)
    assert width(np.random.default_rng(0).standard_normal(50_000)) == pytest.approx(1, abs=0.02)


def test_patches_to_judge_by_are_counted_and_not_saturated() -> None:
    plain, cut = counted_patches(200, PatchKind()), counted_patches(200, PatchKind(), cut=True)
    assert not plain.saturated.any()
    assert not plain.thresholded.any()
    assert (plain.noise == 1).all()
    assert cut.thresholded.all()


def ruby(count: int = 40) -> RubyPatches:
    """Patches as the measured ones are: thresholded, with a fit each, half of them in the test part."""
    rng = np.random.default_rng(4)
    profile = Profile(
        rng.uniform(4.6, 5.4, count),
        rng.uniform(4.6, 5.4, count),
        np.full(count, 1.1),
        np.full(count, 0.9),
        rng.uniform(0, 3, count),
        np.full(count, 0.3),
    )
    counts = rng.poisson(3000 * sampled(profile) + 20)
    fits = Fitted(profile, np.full(count, 3000.0), np.full(count, 20.0))
    frames = np.arange(count) + np.where(np.arange(count) < count // 2, 0, TEST_FROM)
    residual = np.where(np.arange(count) % 10 == 0, 2 * MOST_RESIDUAL, 0.01)
    return RubyPatches(np.where(counts > 150, counts, 0).astype(np.uint16), fits, residual, frames)


def test_only_described_test_patches_are_held_against_the_bars() -> None:
    found = ruby()
    truth = np.where(found.test & found.described, 0.01, 0.5)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        one = np.ones(len(images))
        return {
            "row": found.fits.profile.row + truth,
            "column": found.fits.profile.column,
            "row_sigma": 0.02 * one,
            "column_sigma": 0.02 * one,
            "intensity": found.fits.intensity * 1.02,
            "intensity_sigma": one,
        }

    rows = by_name(measured(run, found))
    for share in (50, 75, 95):
        assert rows[f"bragg_p{share}_px"].value == pytest.approx(0.01)
        assert rows[f"bragg_p{share}_px"].kept
        assert rows[f"bragg_p{share}_px/validation, described"].value == pytest.approx(0.5)
        assert not rows[f"bragg_p{share}_px/test, any fit"].bars
    assert rows["bragg_p95_px/test, any fit"].value == pytest.approx(0.5)
    assert rows["bragg_p95_px/test, residual below 0.15"].value == pytest.approx(0.01)
    values = {name: row.value for name, row in rows.items() if row.value is not None}
    assert values["bragg_p50_px/brightest pixel"] > values["bragg_p50_px/centre of mass"]
    assert rows["bragg_intensity_bias_pct/ruby"].value == pytest.approx(2)
    assert values["bragg_p50_px/weighted fit"] < 0.03


def test_no_frame_is_in_both_parts() -> None:
    found = ruby()
    assert not (found.validation & found.test).any()
    assert VALIDATION_BEFORE < TEST_FROM
    assert len(found.take(found.test)) == found.test.sum()


def test_published_fits_come_back() -> None:
    """What the files' columns mean, and how the fits were made: of three validation patches."""
    measured_data("ruby_hedm/ruby_ff1_patches.npz")
    found = ruby_patches(FOLDER)
    assert len(found) == 977
    some = found.take(np.isin(np.arange(len(found)), [0, 2, 4]))
    assert some.validation.all()
    counts = known_counts(some.images)
    fitted = pseudo_voigt_fit(counts, counts > 0, False, BACKGROUND_LIMITS)
    np.testing.assert_allclose(fitted.centre, some.fits.centre, atol=2e-3)
    np.testing.assert_allclose(fitted.intensity, some.fits.intensity, rtol=0.02)
    model = some.fits.top[:, None, None] * sampled(some.fits.profile) + some.fits.background[:, None, None]
    for each, fit, residual in zip(counts, model, some.residual, strict=True):
        assert np.sqrt(np.mean((each - fit)[each > 0] ** 2)) / each.max() == pytest.approx(residual, rel=1e-3)


def test_the_shipped_graph_reads_ruby_patches_of_the_validation_part() -> None:
    measured_data("ruby_hedm/ruby_ff1_patches.npz")
    found = ruby_patches(FOLDER)
    chosen = found.take(found.validation & found.described)
    answers = graph_run(version_folder("bragg") / "model.onnx")(chosen.images)
    away = distances(places(answers), chosen.fits.centre)
    assert np.median(away) < 0.025
    assert np.percentile(away, 75) < 0.04


def test_the_command_writes_rows_and_a_picture(tmp_path: Path) -> None:
    rows, plot = tmp_path / "rows.json", tmp_path / "errors.png"
    done = CliRunner().invoke(evaluate_bragg, ["--patches", "100", "--json", str(rows), "--plot", str(plot)])
    assert done.exit_code in (0, 1), done.output  # 1: a bar is missed, which so few patches may well do
    kept = {row["name"]: row for row in json.loads(rows.read_text())["rows"]}
    assert kept["bragg_p50_px"]["value"] is None
    assert "--data" in kept["bragg_p50_px"]["detail"]["what"]
    assert {"bragg_intensity_bias_pct", "bragg_pull_sigma", "bragg_ms"} <= set(kept)
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_errors(tmp_path: Path) -> None:
    patches = counted_patches(100, replace(PatchKind(), signal_to_noise=(50.0, 60.0)))
    answers = made_up(patches)
    away = distances(places(answers), patches.centre)
    draw_errors(tmp_path / "some.png", away, patches.signal_to_noise, all_pulls(answers, patches))
    assert (tmp_path / "some.png").stat().st_size > 5000
