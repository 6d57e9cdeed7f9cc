# pyright: reportMissingImports=false
"""The training of `bragg`: seconds are enough to see that it learns, and that what it writes can be served."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edge.models.bragg import SPEC
from edge.physics.patches import FLAG, MIDDLE, PatchKind, perfect, random_patches
from edge.training import bragg
from edge.training.bragg import (
    Judge,
    as_tensors,
    batch,
    calibrated,
    canary_patches,
    cost,
    errors,
    fine,
    rough,
    train_bragg,
)
from edge.training.bragg_network import BraggGraph, BraggNet, saturated
from edge.training.evaluate_bragg_answers import graph_run
from edge.training.loop import Schedule, optimise
from edge.training.pixels import cleaned

BRIGHT = replace(perfect(PatchKind()), signal_to_noise=(50.0, 400.0))


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bragg, "CALIBRATED_ON", 2000)
    torch.manual_seed(0)
    torch.set_num_threads(1)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def answer(net: BraggNet, images: np.ndarray) -> list[np.ndarray]:
    pixels = torch.from_numpy(images.astype("<u2").view(np.uint8).reshape(*images.shape, 2))
    with torch.no_grad():
        return [tensor.numpy() for tensor in BraggGraph(net)(pixels)]


def test_a_turned_batch_keeps_spot_and_truth_together() -> None:
    data = as_tensors(random_patches(500, replace(BRIGHT, neighbours=0.0), rng()))
    for seed in range(6):
        pixels, truth = batch(data, 100, rng(seed))
        places = torch.arange(11.0) - MIDDLE
        light = truth.shares[:, :1] * pixels.counts
        mass = torch.stack([light.sum(dim=(1, 3)) @ places, light.sum(dim=(1, 2)) @ places], dim=1)
        away = mass / light.sum(dim=(1, 2, 3))[:, None] - truth.offset
        assert float(away.abs().median()) < 0.12


def test_some_steps_make_the_answers_better() -> None:
    plain = replace(BRIGHT, neighbours=0.0, slopes=0.0, ridges=0.0)
    data, fresh = as_tensors(random_patches(1000, plain, rng())), random_patches(300, plain, rng(1))

    def off(net: BraggNet) -> float:
        row, column = answer(net, fresh.images)[:2]
        return float(np.median(np.hypot(row[:, 0] - fresh.centre[:, 0], column[:, 0] - fresh.centre[:, 1])))

    def judged(net: BraggNet, rng: np.random.Generator, judge: Judge) -> tuple[torch.Tensor, float]:
        pixels, truth = batch(data, 64, rng)
        return judge(net(pixels), pixels, truth)

    net = BraggNet()
    before = off(net)
    net = optimise(net, lambda net, rng: judged(net, rng, rough), Schedule(120), rng())
    between = off(net)
    net = optimise(net, lambda net, rng: judged(net, rng, fine), Schedule(120), rng())
    assert between < 0.6 * before
    assert off(net) < between


def test_a_wild_error_counts_but_does_not_decide() -> None:
    ratio = torch.tensor([0.0, 1.0, 6.0, 1e4])
    costs = cost(ratio)
    np.testing.assert_allclose(costs[:3].numpy(), [0, 0.5, 18], rtol=1e-5)
    assert 18 < float(costs[3]) < 400


def test_calibrated_sigmas_are_those_of_the_errors() -> None:
    net = calibrated(BraggNet(), rng(3))
    fresh = random_patches(4000, perfect(PatchKind()), rng(9))
    fresh = fresh.take(~fresh.saturated)
    data = as_tensors(fresh)
    with torch.no_grad():
        read = net(cleaned(data.images.float(), torch.ones_like(data.images, dtype=torch.float32)))
    wrong, bright, _ = errors(read, data)
    # Root mean squares: an untrained network also is wrong in the mean.
    assert 0.9 < float((wrong / read.offset_sigma).square().mean().sqrt()) < 1.1
    assert 0.8 < float((bright / read.intensity_sigma).square().mean().sqrt()) < 1.25


def test_only_the_middle_saturates() -> None:
    image = torch.zeros(4, 1, 11, 11)
    image[:, 0, 5, 5], image[:, 0, 5, 6] = 900.0, 880.0
    counted = torch.ones_like(image)
    counted[1, 0, 4, 5] = 0  # beside the brightest
    counted[2, 0, 5, 8] = 0  # three pixels away
    image[3, 0, 4, 5] = image[3, 0, 4, 6] = 900.0
    said = saturated(image, counted, counted, torch.tensor(float(FLAG - 1)))
    np.testing.assert_array_equal(said.numpy(), [0, 1, 0, 1])


def test_nothing_but_flags_has_an_answer_too() -> None:
    images = np.full((2, 11, 11), FLAG, np.uint16)
    assert all(np.isfinite(array).all() for array in answer(BraggNet(), images))


def test_the_canary_tells_every_byte() -> None:
    patches = canary_patches()
    assert patches.dtype == np.uint8
    assert patches.shape == (3, 11, 11)
    assert patches.max() < 254


def test_a_training_writes_what_can_be_served(tmp_path: Path) -> None:
    out = tmp_path / "1"
    arguments = ["--out", str(out), "--steps", "12", "--patches", "300"]
    done = CliRunner().invoke(train_bragg, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} >= {"model.onnx", "canary.npz", "card.json", "weights.npz"}
    card = json.loads((out / "card.json").read_text())
    assert card["model"] == SPEC.name
    assert card["training"]["simulated"] == 300
    answers = graph_run(out / "model.onnx")(random_patches(300, PatchKind(), rng()).images)
    assert set(answers) == {output.name for output in SPEC.outputs}
    assert all(array.shape == (300,) and np.isfinite(array).all() for array in answers.values())


def test_the_same_seed_trains_the_same_network(tmp_path: Path) -> None:
    weights = []
    for name in ("one", "other"):
        arguments = ["--out", str(tmp_path / name), "--steps", "6", "--patches", "200"]
        assert CliRunner().invoke(train_bragg, arguments).exit_code == 0
        with np.load(tmp_path / name / "weights.npz") as stored:
            weights.append({key: stored[key] for key in stored.files})
    for key, array in weights[0].items():
        np.testing.assert_array_equal(array, weights[1][key], err_msg=key)
