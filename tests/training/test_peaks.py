# pyright: reportMissingImports=false
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from edge.inference.canary import as_bytes
from edge.models.card import CARD_FILE, parse_card
from edge.models.peaks import MOST_PEAKS, SPEC, THRESHOLD
from edge.physics.spots import FLAG
from edge.training.loop import Schedule, optimise
from edge.training.peak_calibration import fitted
from edge.training.peak_frames import SCENE_PX, SPOT, UNSURE, PeakSet, peak_set
from edge.training.peak_list import ServedPeaks, apart, decided, distances, own
from edge.training.peak_network import (
    BRIGHTEST,
    DIVISOR,
    HALF,
    NOWHERE,
    PATCH_PX,
    Candidates,
    PeakNet,
    candidates,
    framed,
    patches,
)
from edge.training.peaks import BATCH, SENTINEL, USUAL_SPOTS, draw, finder_loss, loss, train
from edge.training.run import Recipe

torch.set_num_threads(1)


def one_spot(row: float, col: float, top: float = 200.0) -> np.ndarray:
    rows, cols = np.arange(SCENE_PX)[:, None], np.arange(SCENE_PX)[None, :]
    image = 3 + top * np.exp(-((rows - row) ** 2 + (cols - col) ** 2) / (2 * 1.3**2))
    return np.random.default_rng(0).poisson(image).astype(np.uint16)


def spot_set(row: float, col: float) -> PeakSet:
    places = np.array([[[row, col]]], dtype=np.float32)
    return PeakSet(one_spot(row, col)[None], places, np.array([[SPOT]], dtype=np.uint8))


@pytest.mark.parametrize("shape", [(1, 1), (16, 33), (101, 118)])
def test_a_flat_frame_of_any_size_has_nothing_that_stands_out(shape: tuple[int, int]) -> None:
    frame = framed(torch.full((2, *shape), 5.0), SENTINEL)
    assert all(length % DIVISOR == 0 for length in frame.standing.shape[2:])
    assert frame.good.sum() >= 2 * shape[0] * shape[1]
    assert frame.counts.sum() == pytest.approx(5 * float(frame.good.sum()))
    assert frame.standing.abs().max() < 0.1


def test_poisson_noise_stands_out_by_one_and_flags_do_not() -> None:
    image = np.random.default_rng(0).poisson(20.0, (128, 128)).astype(np.float32)
    image[40, 50], image[80:90] = 9000, FLAG
    standing = framed(torch.from_numpy(image)[None], SENTINEL).standing[0]
    # Block i holds rows 2i - 1 and 2i.
    assert float(standing[0, :18, :60].std()) == pytest.approx(1.0, abs=0.15)
    assert not standing[:, 41:45].any()
    assert float(standing[0, 20, 25]) == BRIGHTEST and float(standing[1, 20, 25]) < 4, (
        "of a hot pixel the rest is quiet"
    )


def test_turned_scenes_keep_their_spots() -> None:
    data = spot_set(60.3, 150.8)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(12):
        images, places, states = draw(data, rng)
        assert images.shape == (BATCH, SCENE_PX, SCENE_PX) and (states == SPOT).all()
        row, col = divmod(int(images[0].argmax()), SCENE_PX)
        assert abs(row - float(places[0, 0, 0])) < 2 and abs(col - float(places[0, 0, 1])) < 2
        seen.add((row // 50, col // 50))
    assert len(seen) > 3


def test_the_finder_is_right_where_it_names_the_cell_and_the_place() -> None:
    places, states = torch.tensor([[[20.0, 33.4]]]), torch.tensor([[SPOT]], dtype=torch.uint8)
    right = torch.full((1, 3, 16, 16), 0.0)
    right[:, 0] = -20
    right[0, :, 5, 8] = torch.tensor([20.0, 20.0 - 20.5, 33.4 - 32.5])
    assert float(finder_loss(right, places, states)) == pytest.approx(0.0, abs=1e-4)
    silent = right.clone()
    silent[:, 0] = -20
    assert float(finder_loss(silent, places, states)) > 10 / USUAL_SPOTS
    unsure = torch.full_like(states, UNSURE)
    for said in (right, silent):
        assert float(finder_loss(said, places, unsure)) == pytest.approx(0.0, abs=1e-4)


def test_patches_are_cut_around_the_candidates_and_cleaned() -> None:
    image = np.full((64, 64), 7.0, dtype=np.float32)
    image[30, 40], image[31, 40] = 50000, FLAG
    frame = framed(torch.from_numpy(image)[None], SENTINEL)
    at = torch.tensor([[30]]), torch.tensor([[40]])
    around = patches(frame, Candidates(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.int64), *at), SENTINEL)
    good = around.good.reshape(PATCH_PX, PATCH_PX)
    assert good[HALF, HALF] == good[HALF + 1, HALF] == 0 and good.sum() == PATCH_PX**2 - 2
    assert torch.allclose(around.counts, torch.tensor(7.0), atol=0.05)


def test_beyond_the_border_nothing_is_good() -> None:
    frame = framed(torch.full((1, 40, 40), 7.0), SENTINEL)
    at = torch.tensor([[0]]), torch.tensor([[39]])
    around = patches(frame, Candidates(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.int64), *at), SENTINEL)
    good = around.good.reshape(PATCH_PX, PATCH_PX)
    assert good[HALF:, : HALF + 1].all() and good.sum() == (HALF + 1) ** 2


def test_pixels_of_overlapping_apertures_are_shared_whole() -> None:
    row, col = torch.tensor([[20, 20, 90, 90, 90]]), torch.tensor([[20, 26, 20, 50, 90]])
    found = Candidates(torch.zeros(1, 5), torch.zeros(1, 5, dtype=torch.int64), row, col)
    places = row.float(), col.float()
    share = own(distances(*places), torch.ones(1, 5), places, found).reshape(5, PATCH_PX, PATCH_PX)
    assert share[0, :, :HALF].min() == 1.0, "away from the other all pixels are its own"
    # Column 23 is the middle between both: offset +3 in the first patch, -3 in the second.
    assert torch.allclose(share[0, :, HALF + 3] + share[1, :, HALF - 3], torch.ones(PATCH_PX))
    assert share[2:].min() == 1.0
    alone = own(distances(*places), torch.tensor([[1.0, 0.0, 1.0, 1.0, 1.0]]), places, found)
    assert alone[0, 0].min() == 1.0, "what is no spot takes nothing"


def test_of_two_candidates_at_one_spot_the_surer_is_kept() -> None:
    row, column = torch.tensor([[10.0, 10.4, 30.0]]), torch.tensor([[10.0, 11.0, 30.0]])
    assert apart(torch.tensor([[1.0, 2.0, 0.5]]), distances(row, column)).tolist() == [[0.0, 1.0, 1.0]]


def megapixels(count: float) -> torch.Tensor:
    return torch.full((1, 1, 100, 100), 100 * count)


def test_what_a_frame_promises_decides_what_is_listed() -> None:
    plain = torch.cat([torch.full((1, 50), 5.0), torch.full((1, 10), -1.0)], dim=1)
    chance, listed = decided(plain, torch.ones(1, 60), megapixels(0.5))
    assert torch.allclose(chance, torch.sigmoid(plain)) and listed.sum() == 50
    faint = torch.full((1, 300), -1.0)
    chance, listed = decided(faint, torch.ones(1, 300), megapixels(1.0))
    assert torch.allclose(chance, torch.sigmoid(faint)) and listed.sum() == 300, "where all are faint, faint ones are"


def test_in_a_large_empty_frame_only_sure_ones_are_listed() -> None:
    said = torch.tensor([[12.0, 1.0, 0.5, -1.0]])
    chance, listed = decided(said, torch.ones(1, 4), megapixels(12.0))
    assert listed.tolist() == [[1.0, 0.0, 0.0, 0.0]]
    assert 0.99 < chance[0, 0] < 1 and chance[0, 1] < THRESHOLD
    _, small = decided(said, torch.ones(1, 4), megapixels(0.06))
    assert small[0, :2].tolist() == [1.0, 1.0]


def test_nothing_is_listed_of_nothing() -> None:
    chance, listed = decided(torch.full((1, 8), NOWHERE), torch.ones(1, 8), megapixels(0.0))
    assert not listed.any() and chance.isfinite().all()


def test_candidates_of_a_small_frame_are_nowhere_beyond_its_cells() -> None:
    frame = framed(torch.full((1, 10, 10), 5.0), SENTINEL)
    found = candidates(torch.zeros(1, 3, *frame.good.shape[2:]), frame)
    assert found.logit.shape == (1, MOST_PEAKS)
    assert 4 <= int((found.logit > -1).sum()) <= 16


def test_the_calibration_finds_what_was_done_to_the_logits() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, 20000)
    outcome = (rng.random(20000) < 1 / (1 + np.exp(-true))).astype(float)
    scale, shift = fitted((true - 0.7) / 1.6, outcome)
    assert (scale, shift) == pytest.approx((1.6, 0.7), abs=0.1)
    assert fitted(true, np.ones(20000)) == (1.0, 0.0)


def test_a_short_training_comes_nearer_to_the_truth() -> None:
    torch.manual_seed(0)
    data = spot_set(100.4, 90.7)
    losses: list[float] = []

    def heard(net: PeakNet, rng: np.random.Generator) -> tuple[torch.Tensor, float]:
        wrong, away = loss(net, *draw(data, rng))
        losses.append(float(wrong.detach()))
        return wrong, away

    optimise(PeakNet(), heard, Schedule(30, peak_rate=1e-2), np.random.default_rng(0))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:3])


def test_a_training_writes_a_version_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # After a few steps nothing is sure enough to be listed, and a canary must say something; and two spots that are
    # equally sure may stand in the list in either order.
    monkeypatch.setattr("edge.training.peaks.calibrated", lambda net, apart: (ServedPeaks(net, 1.0, 20.0).eval(), {}))
    monkeypatch.setattr("edge.training.export.TOLERANCE", np.inf)
    train(Recipe(seed=0, steps=6, budget_s=None), tmp_path, count=5)
    written = {path.name for path in tmp_path.iterdir()}
    assert written >= {"model.onnx", "canary.npz", "card.json", "weights.npz"}
    card = parse_card((tmp_path / CARD_FILE).read_bytes())
    assert card.model == "peaks" and card.extra["listed_at_most"] == MOST_PEAKS
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    frame = peak_set(1, np.random.default_rng(0)).images[:, :50, :70]
    outputs: Any = session.run([one.name for one in SPEC.outputs], {"frame": as_bytes(frame)})
    assert [np.shape(one) for one in outputs] == [(1, *one.shape) for one in SPEC.outputs]
