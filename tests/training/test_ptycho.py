# pyright: reportMissingImports=false
"""The ptychography network, its optics and its training, on a small simulated instrument."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edge.inference.canary import as_bytes
from edge.inference.repository import version_folder
from edge.models.card import parse_card
from edge.models.ptycho import NARROW, UNTOLD, WIDE, Geometry
from edge.physics.coarser import cropped, cropped_modes
from edge.physics.deviance import frame_deviance, framed
from edge.physics.diffraction import counted, mean_counts
from edge.physics.objects import random_object
from edge.physics.probe import flux, load_probe, probe_intensity, save_probe
from edge.training.fit import BATCH, MEASURED, batches, loss
from edge.training.frames import patch_weight, simulated_set
from edge.training.loop import REPORT_EVERY
from edge.training.network import Frame, Patch, PatchNet, ServedNet
from edge.training.optics import Field, Optics, fourier_matrix
from edge.training.ptycho import train_ptycho
from edge.training.run import load_weights
from edge.training.scan_block import Block

SMALL = Geometry(64, 48, 40)


def curved_spot(size: int, counts: float = 3e4) -> np.ndarray:
    """Two modes [2, size, size]."""
    row, col = np.mgrid[:size, :size] - size / 2
    square = (row**2 + col**2) / size**2
    spot = np.exp(-square * 30 + 60j * square)
    modes = np.stack([spot, 0.3 * spot * row / size * 8])
    return (modes * np.sqrt(counts / np.sum(np.abs(modes) ** 2))).astype(np.complex64)


def field(values: np.ndarray) -> Field:
    return Field(torch.from_numpy(values.real.astype(np.float32)), torch.from_numpy(values.imag.astype(np.float32)))


def test_the_matrix_is_the_transform() -> None:
    values = np.random.default_rng(0).normal(size=(64, 64)) + 0j
    matrix = fourier_matrix(Geometry(64, 64, 64), 64)
    wanted = np.fft.fftshift(np.fft.fft2(values, norm="ortho"))
    np.testing.assert_allclose(matrix @ values @ matrix.T, wanted, atol=1e-9)


@pytest.mark.parametrize("geometry", [SMALL, NARROW], ids=str)
def test_far_fields_are_those_of_the_physics(geometry: Geometry) -> None:
    modes, rng = curved_spot(64), np.random.default_rng(0)
    optics = Optics(modes, geometry)
    inner = slice(geometry.offset_px, geometry.offset_px + geometry.patch_px)
    patch = random_object((geometry.patch_px, geometry.patch_px), rng)
    whole = np.full((64, 64), np.sum(patch * patch_weight(modes, geometry)) / np.sum(patch_weight(modes, geometry)))
    whole[inner, inner] = patch
    wanted = cropped(mean_counts(modes, whole), geometry.crop_px)
    found = optics.far_field(field(patch[None])).power.sum(dim=1)[0].numpy()
    unit = cropped(mean_counts(modes, np.ones((64, 64))), geometry.crop_px).mean()
    np.testing.assert_allclose(found, wanted / unit, rtol=1e-3, atol=1e-3 * wanted.max() / unit)


def test_a_step_is_the_gradient_of_what_the_strongest_mode_explains() -> None:
    """The way back is the adjoint of the way there: <A x, y> = <x, A* y>, but for the step's own weight."""
    modes, rng = curved_spot(64)[:1], np.random.default_rng(1)
    modes[:, : SMALL.offset_px] = modes[:, -SMALL.offset_px :] = 0
    modes[:, :, : SMALL.offset_px] = modes[:, :, -SMALL.offset_px :] = 0
    optics = Optics(modes, SMALL)
    size, crop = SMALL.patch_px, SMALL.crop_px
    patch = rng.normal(size=(1, size, size)) + 1j * rng.normal(size=(1, size, size))
    change = rng.normal(size=(1, 1, crop, crop)) + 1j * rng.normal(size=(1, 1, crop, crop))
    there, back = optics.far_field(field(patch)), optics.backward_step(field(change))
    forward = np.vdot((there.real + 1j * there.imag).numpy(), change)
    inner = slice(SMALL.offset_px, SMALL.offset_px + size)
    intensity = probe_intensity(modes)[inner, inner]
    weight = 0.9 * intensity + 0.1 * intensity.max()
    unit = cropped(mean_counts(modes, np.ones((64, 64))), crop).mean()
    returned = np.vdot(patch, (back.real + 1j * back.imag).numpy() * weight / unit)
    assert forward == pytest.approx(returned, rel=1e-3)


def test_the_deviance_is_that_of_the_physics_and_leaves_flags_out() -> None:
    modes, rng = curved_spot(64), np.random.default_rng(2)
    net = PatchNet(modes, NARROW).eval()
    inner = slice(NARROW.offset_px, NARROW.offset_px + NARROW.patch_px)
    good = rng.random((64, 64)) > 0.05
    counts = counted(mean_counts(modes, random_object((64, 64), rng)), rng)
    patch = random_object((NARROW.patch_px, NARROW.patch_px), rng)
    whole = framed(patch, probe_intensity(modes)[inner, inner], 64, NARROW.offset_px)
    frame = Frame(
        torch.from_numpy(np.where(good, counts, 0)[None].astype(np.float32)), torch.from_numpy(good[None]).float()
    )
    tensors = Patch(torch.from_numpy(np.log(np.abs(patch)))[None], torch.from_numpy(np.angle(patch))[None])
    assert float(net.deviance(tensors, frame)[0]) == pytest.approx(frame_deviance(counts, modes, whole, good), rel=0.02)


def test_cropped_modes_give_the_middle_of_the_far_field() -> None:
    modes = load_probe(version_folder("ptycho") / "probe.npy")
    smaller = cropped_modes(modes, 64)
    far = [np.fft.fftshift(np.fft.fft2(one, norm="ortho"), axes=(1, 2)) for one in (modes, smaller)]
    np.testing.assert_allclose(far[1], cropped(far[0], 64), atol=1e-3 * np.abs(far[0]).max())


def test_training_data_of_a_larger_probe_is_cropped_and_coarser() -> None:
    data = simulated_set(curved_spot(128), NARROW, 20, np.random.default_rng(0))
    assert data.crops.shape == (20, 64, 64)
    assert data.targets.shape == (20, 2, 48, 48)
    assert 0.5 < data.targets[:, 0].mean() <= 1.05
    weight = patch_weight(curved_spot(128), NARROW)
    means = (data.targets[:, 1].astype(np.float32) * weight).mean(axis=(1, 2))
    np.testing.assert_allclose(means, 0, atol=2e-3)
    with pytest.raises(ValueError, match="does not suit"):
        simulated_set(curved_spot(96), WIDE, 2, np.random.default_rng(0))


def test_a_batch_deals_out_photons_and_loses_none() -> None:
    data = simulated_set(curved_spot(64), NARROW, 32, np.random.default_rng(0))
    good = np.ones((3, 64, 64), dtype=bool)
    good[:, 10] = False
    batch = batches(data, Block(np.full((3, 64, 64), 7, np.uint16), good))(np.random.default_rng(1))
    assert batch.seen.counts.shape == batch.rest.shape == (BATCH, 64, 64)
    assert len(batch.truth) == BATCH - MEASURED
    both = (batch.seen.counts + batch.rest)[-MEASURED:].numpy()
    np.testing.assert_array_equal(both, np.where(good[0], 7, 0)[None].repeat(MEASURED, axis=0))
    assert not batch.seen.counts[batch.seen.good == 0].any()


def test_measured_frames_teach_without_a_truth() -> None:
    """The loss of frames without a truth has a gradient in every part of the network."""
    torch.manual_seed(0)
    net = PatchNet(curved_spot(64), NARROW)
    data = simulated_set(curved_spot(64), NARROW, 32, np.random.default_rng(0))
    batch = batches(data)(np.random.default_rng(1))
    wrong, phase_rad = loss(net, batch)
    wrong.backward()
    assert 0.05 < phase_rad < 1
    deviance = net.deviance(net(batch.seen)[-1], batch.seen).mean()
    net.zero_grad()
    deviance.backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in net.parameters())


def write_scan(path: Path, size: int, rng: np.random.Generator, with_probe: bool = True) -> None:
    """Three columns of 16 lines over an object, as a tike file."""
    scene, modes = random_object((16 * 16 + size + 20, 2 * size), rng), curved_spot(size)
    corners = np.stack(np.meshgrid(np.arange(16) * 16, np.arange(3) * 10, indexing="ij"), axis=-1).reshape(-1, 2)
    frames = [counted(mean_counts(modes, scene[row : row + size, col : col + size]), rng) for row, col in corners]
    guess = {"probe": modes[None, None, None, :1]} if with_probe else {}
    np.savez(path, data=np.stack(frames), scan=corners[None].astype(float), **guess)


def trained(tmp_path: Path, *options: str, steps: int = 4) -> Path:
    out = tmp_path / "made"
    common = ("--size", "64", "--steps", str(steps), "--simulated", "64", "--out", str(out))
    answer = CliRunner().invoke(train_ptycho, [*options, *common])
    assert answer.exit_code == 0, answer.output
    return out


def test_a_scan_alone_is_enough(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.npz", 64, np.random.default_rng(0))
    out = trained(tmp_path, "--scan", str(tmp_path / "scan.npz"), steps=REPORT_EVERY)
    made = {path.name for path in out.iterdir()}
    assert {"model.onnx", "canary.npz", "card.json", "weights.npz", "probe.npy", "training.png"} <= made
    assert "fit.ckpt" not in made and "found_probe.npy" not in made
    card = parse_card((out / "card.json").read_bytes())
    assert card.model == "ptycho64"
    assert card.valid.frame_shape == (64, 64)
    assert (
        card.valid.counts_per_frame is not None
        and card.valid.counts_per_frame.low < 3e4 < card.valid.counts_per_frame.high
    )
    assert card.valid.probe_sha256 is not None and card.valid.energy_ev is None
    assert card.extra["probe_scan"]["patch_px"] == 64
    net = PatchNet(load_probe(out / "probe.npy"), NARROW)
    load_weights(out / "weights.npz", net)
    assert ServedNet(net.eval())(torch.zeros((1, 64, 64, 2), dtype=torch.uint8))[2].shape == (1, 1)


def test_a_probe_may_be_handed_in_and_frames_may_be_larger(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.npz", 128, np.random.default_rng(0), with_probe=False)
    save_probe(tmp_path / "modes.npy", curved_spot(128))
    out = trained(tmp_path, "--scan", str(tmp_path / "scan.npz"), "--probe", str(tmp_path / "modes.npy"))
    np.testing.assert_allclose(load_probe(out / "probe.npy"), cropped_modes(curved_spot(128), 64), atol=1e-4)


def test_a_scan_without_a_probe_is_refused_unless_one_is_handed_in(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.npz", 64, np.random.default_rng(0), with_probe=False)
    options = ["--scan", str(tmp_path / "scan.npz"), "--size", "64", "--out", str(tmp_path / "made")]
    answer = CliRunner().invoke(train_ptycho, options)
    assert answer.exit_code == 1
    assert "probe" in answer.output


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.npz", 64, np.random.default_rng(0))
    options = ["--scan", str(tmp_path / "scan.npz"), "--size", "128", "--out", str(tmp_path / "made")]
    answer = CliRunner().invoke(train_ptycho, options)
    assert answer.exit_code == 1
    assert "128 x 128" in answer.output


def refused(tmp_path: Path, *options: str) -> str:
    common = ("--scan", str(tmp_path / "scan.npz"), "--size", "64", "--out", str(tmp_path / "made"))
    answer = CliRunner().invoke(train_ptycho, [*common, "--simulated", "64", "--steps", "4", *options])
    assert answer.exit_code == 1 and isinstance(answer.exception, SystemExit), answer.output
    assert not (tmp_path / "made" / "model.onnx").exists()
    return answer.output


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        (0 * curved_spot(64), "zero or not finite"),
        (np.nan * curved_spot(64), "zero or not finite"),
        (np.fft.fftshift(curved_spot(64), axes=(1, 2)), "fftshift"),
        (curved_spot(64) * np.exp(2j * np.pi * 20 * np.arange(64) / 64).astype(np.complex64), "0, 20 pixels"),
        (curved_spot(32), "the model takes"),
    ],
    ids=["zero", "not finite", "in the corners", "off centre", "size"],
)
def test_a_probe_that_cannot_be_that_of_the_frames_is_refused_at_once(
    tmp_path: Path, modes: np.ndarray, message: str
) -> None:
    write_scan(tmp_path / "scan.npz", 64, np.random.default_rng(0), with_probe=False)
    save_probe(tmp_path / "modes.npy", modes)
    assert message in refused(tmp_path, "--probe", str(tmp_path / "modes.npy"))


def test_a_probe_of_another_scale_is_brought_to_the_counts_and_that_is_said(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.npz", 64, np.random.default_rng(0), with_probe=False)
    save_probe(tmp_path / "modes.npy", curved_spot(64, 1.0))
    options = ("--scan", str(tmp_path / "scan.npz"), "--probe", str(tmp_path / "modes.npy"), "--size", "64")
    made = ("--simulated", "64", "--steps", "4", "--out", str(tmp_path / "made"))
    answer = CliRunner().invoke(train_ptycho, [*options, *made])
    assert answer.exit_code == 0, answer.output
    assert "scaled" in answer.output
    assert 1e4 < flux(load_probe(tmp_path / "made" / "probe.npy")) < 6e4


def in_metres(path: Path, pixel_m: float, told: bool) -> None:
    """The scan of `write_scan` as HDF5, without a guess of the probe."""
    write_scan(path.with_suffix(".npz"), 64, np.random.default_rng(0))
    with np.load(path.with_suffix(".npz")) as stored, h5py.File(path, "w") as file:
        file["entry/data"], file["entry/positions"] = stored["data"], stored["scan"][0] * pixel_m
        if told:
            for name, value in (("wavelength", pixel_m * 64 * 75e-6 / 2.0), ("distance", 2.0), ("x_pixel_size", 75e-6)):
                file[f"entry/{name}"] = value
                file[f"entry/{name}"].attrs["units"] = "m"


@pytest.mark.parametrize("told", [False, True])
def test_positions_in_metres_are_taken_with_the_pixel_of_the_object(tmp_path: Path, told: bool) -> None:
    in_metres(tmp_path / "scan.h5", 20e-9, told)
    save_probe(tmp_path / "modes.npy", curved_spot(64))
    pixel = () if told else ("--object-pixel", "20")
    out = trained(tmp_path, "--scan", str(tmp_path / "scan.h5"), "--probe", str(tmp_path / "modes.npy"), *pixel)
    card = parse_card((out / "card.json").read_bytes())
    assert card.valid.object_pixel_m is not None
    assert card.valid.object_pixel_m.low == pytest.approx(20e-9)
    assert card.extra["probe_scan"]["patch_px"] == 64


def test_what_is_missing_is_asked_for_by_name(tmp_path: Path) -> None:
    in_metres(tmp_path / "scan.h5", 20e-9, told=False)
    assert "--object-pixel" in refused(tmp_path, "--scan", str(tmp_path / "scan.h5"))
    assert "--probe FILE" in refused(tmp_path, "--scan", str(tmp_path / "scan.h5"), "--object-pixel", "20")


@pytest.mark.parametrize("geometry", [NARROW], ids=str)
def test_a_frame_that_tells_nothing_never_looks_good(geometry: Geometry) -> None:
    modes, rng = curved_spot(64), np.random.default_rng(0)
    frame = counted(mean_counts(modes, random_object((64, 64), rng)), rng)
    half = np.where(np.arange(64) < 33, 65535, frame)
    frames = np.stack([frame, np.zeros_like(frame), np.full_like(frame, 65535), frame // 500, half]).astype("<u2")
    with torch.no_grad():
        given = ServedNet(PatchNet(modes, geometry).eval())(torch.from_numpy(as_bytes(frames)))[2][:, 0].numpy()
    assert given[0] < 100
    np.testing.assert_array_equal(given[1:], UNTOLD)
