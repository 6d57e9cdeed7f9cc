import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edge.inference.repository import version_folder
from edge.models.card import parse_card
from edge.physics.probe import load_probe
from edge.training import denoise_calibration
from edge.training.denoise import Measured, batches, deviance, loss, train_denoise, two_bytes
from edge.training.denoise_calibration import BIN, BINS, calibrate, fitted
from edge.training.denoise_frames import CROP_PX, FLAG, THINNED_RANGE, drawn, joined, pictures, thinned
from edge.training.denoise_network import KNOTS, DenoiseNet, between_knots, estimate, features, flux_ratio
from edge.training.figures import graph_run
from edge.training.loop import Schedule, optimise
from edge.training.pixels import Pixels, cleaned


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoise_calibration, "BATCHES", 3)


RNG = np.random.default_rng(0)
FRAMES = RNG.poisson(RNG.uniform(2, 60, (3, 100, 110))).astype(np.uint16)


def test_pictures_are_of_three_kinds_and_repeat():
    modes = load_probe(version_folder("ptycho") / "probe.npy")
    shown = pictures(modes, 6, np.random.default_rng(1))
    np.testing.assert_array_equal(shown, pictures(modes, 6, np.random.default_rng(1)))
    assert shown.shape == (6, CROP_PX, CROP_PX) and (shown >= 0).all() and np.isfinite(shown).all()


def test_drawn_frames_are_counts_of_what_is_wanted():
    batch = drawn(np.full((2, CROP_PX, CROP_PX), 50.0, np.float32), 8, np.random.default_rng(2))
    assert not batch.noise.any() and batch.judged.all()
    for image, wanted in zip(batch.images, batch.wanted, strict=True):
        known = image < 65534
        assert np.median(image[known]) == pytest.approx(wanted.mean(), abs=5 * np.sqrt(wanted.mean() / 50) + 1)


def test_thinned_frames_share_their_photons():
    """The second frame, at the exposure of the first, has the same mean, and the noise that is stated."""
    frames = np.random.default_rng(3).poisson(80.0, (4, CROP_PX, CROP_PX)).astype(np.uint16)
    frames[:, :3] = FLAG
    batch = thinned(frames, 12, np.random.default_rng(4))
    assert not batch.judged[:, :3].any() and batch.judged[:, 3:].all()
    low, high = THINNED_RANGE
    for image, wanted, noise in zip(batch.images, batch.wanted, batch.noise, strict=True):
        seen = wanted[3:]
        assert 0.95 * 80 * low < seen.mean() < 1.05 * 80 * high
        assert image[3:][image[3:] < 65534].mean() == pytest.approx(seen.mean(), rel=0.2)  # hot pixels
        assert seen.var() == pytest.approx(noise[3:].mean(), rel=0.1)


def test_batches_mix_what_there_is():
    shown = np.full((2, CROP_PX, CROP_PX), 5.0, np.float32)
    alone = batches(shown, None)(np.random.default_rng(5))
    mixed = batches(shown, Measured("a", FRAMES, ""))(np.random.default_rng(5))
    assert len(alone.images) == len(mixed.images)
    assert not alone.noise.any() and 0 < np.mean(mixed.noise.any(axis=(1, 2))) < 1


def test_flags_of_any_item_size():
    assert two_bytes(np.array([[7, 255]], np.uint8)).tolist() == [[7, FLAG]]
    assert two_bytes(np.array([[70_000, 2**32 - 1]], np.uint32)).tolist() == [[65533, FLAG]]


def test_before_training_it_is_a_local_mean():
    net = DenoiseNet()
    torch.nn.init.zeros_(net.body.last.weight)
    counts = torch.from_numpy(np.random.default_rng(6).poisson(30.0, (1, 1, 40, 50)).astype(np.float32))
    with torch.no_grad():
        expected, variance = net(cleaned(counts, torch.ones_like(counts)))
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    assert float(expected[inner].mean()) == pytest.approx(30, rel=0.02)
    assert float(expected[inner].std()) == pytest.approx(np.sqrt(30 / 9), rel=0.2)
    assert 1 < float(variance.mean()) < 10


def test_the_variance_leaves_the_estimate_alone():
    """Its part of the loss has no gradient in what corrects the counts."""
    near = torch.full((1, 1, 4, 4), 3.0)
    said = torch.zeros((1, 2, 4, 4), requires_grad=True)
    _, variance = estimate(near, said)
    variance.sum().backward()
    assert said.grad is not None
    assert not said.grad[:, :1].any() and said.grad[:, 1:].all()


def test_the_flux_is_kept():
    """Of the good pixels; in frames of hardly a photon it stays the network's."""
    counts = torch.full((2, 1, 8, 8), 50.0)
    pixels = Pixels(counts, torch.ones_like(counts))
    assert flux_ratio(pixels, 0.9 * counts).flatten().tolist() == pytest.approx([1 / 0.9] * 2, rel=0.02)
    dark = Pixels(counts * 1e-3, torch.ones_like(counts))
    assert flux_ratio(dark, counts * 2e-3).flatten().tolist() == pytest.approx([1.0] * 2, rel=0.02)


def test_levels_are_brought_to_what_was_counted():
    said = np.full(len(BINS) + 1, 1e6)
    middle = np.append(BINS[0] - BIN, BINS) + BIN / 2
    wanted = np.interp(middle, KNOTS, np.linspace(-0.2, 0.1, len(KNOTS)))
    found = fitted(said, said * np.exp(wanted))
    np.testing.assert_allclose(found, np.linspace(-0.2, 0.1, len(KNOTS)), atol=0.01)
    at = torch.tensor([KNOTS[0] - 9, KNOTS[3], 0.5 * (KNOTS[3] + KNOTS[4]), KNOTS[-1] + 9])
    values = torch.arange(len(KNOTS)).float()
    assert between_knots(at, values).tolist() == pytest.approx([0, 3, 3.5, len(KNOTS) - 1])


def test_few_counts_do_not_bend_the_level():
    said = np.full(len(BINS) + 1, 1.0)
    assert np.abs(fitted(said, 3 * said)).max() < 0.1


def test_calibration_takes_out_a_wrong_level():
    """A net that knows no more than the local mean is too bright beside light: it smears an edge."""
    net = DenoiseNet()
    torch.nn.init.zeros_(net.body.last.weight)
    half = np.full((2, CROP_PX, CROP_PX), 0.05, np.float32)
    half[:, :, ::8] = 40.0
    draw = batches(half, None)
    calibrate(net, draw, np.random.default_rng(8))
    assert net.levels.abs().max() > 0.1
    before = [float(level) for level in net.levels]
    calibrate(net, draw, np.random.default_rng(8))  # begins anew
    assert net.levels.tolist() == before


def test_features_are_finite_in_the_dark():
    dark = torch.zeros((1, 1, 30, 30))
    assert all(torch.isfinite(part).all() for part in features(cleaned(dark, torch.ones_like(dark))))
    assert float(deviance(torch.tensor(0.5), torch.tensor(0.0))) == pytest.approx(1.0)


def test_a_few_steps_make_it_better():
    draw = batches(np.full((2, CROP_PX, CROP_PX), 5.0, np.float32), None)
    batch = joined(draw(np.random.default_rng(7)))
    torch.manual_seed(0)
    net = DenoiseNet()
    before = loss(net, batch)[1]
    net = optimise(net, lambda net, rng: loss(net, draw(rng)), Schedule(25, 3e-3), np.random.default_rng(9))
    assert loss(net, batch)[1] < 0.7 * before


def test_the_command_leaves_a_graph_with_a_card(tmp_path: Path):
    out = tmp_path / "made"
    answer = CliRunner().invoke(train_denoise, ["--out", str(out), "--steps", "2", "--pictures", "24"])
    assert answer.exit_code == 0, answer.output
    said = graph_run(out / "model.onnx")(FRAMES[0])
    assert said["expected"].shape == said["variance"].shape == FRAMES[0].shape
    card = parse_card((out / "card.json").read_bytes())
    assert card.model == "denoise" and card.split == "simulation alone"
    assert json.loads((out / "card.json").read_text())["training"]["measured"] is None


def test_goes_on_from_a_version(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    options = ["--steps", "1", "--pictures", "24"]
    assert CliRunner().invoke(train_denoise, ["--out", str(first), *options]).exit_code == 0
    answer = CliRunner().invoke(train_denoise, ["--out", str(second), "--start", str(first), *options])
    assert answer.exit_code == 0, answer.output
    assert parse_card((second / "card.json").read_bytes()).extra["start"]["steps"] == 1
    (first / "weights.npz").unlink()
    answer = CliRunner().invoke(train_denoise, ["--out", str(tmp_path / "third"), "--start", str(first), *options])
    assert answer.exit_code != 0 and "weights.npz" in answer.output


def test_a_scan_without_positions_is_told(tmp_path: Path):
    np.savez(tmp_path / "scan.npz", data=FRAMES)
    answer = CliRunner().invoke(
        train_denoise, ["--out", str(tmp_path / "made"), "--scan", str(tmp_path / "scan.npz"), "--steps", "1"]
    )
    assert answer.exit_code != 0 and "position" in answer.output
