# pyright: reportMissingImports=false
"""Scans of a small simulated instrument, and a model that learns as they come: all of it real, and small."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from rich.progress import Progress

from edge.cli import edge
from edge.inference import own as owned
from edge.models.card import Span, Validity, parse_card
from edge.models.ptycho import NARROW, SPEC64
from edge.physics.diffraction import counted, mean_counts
from edge.physics.objects import random_object
from edge.physics.probe import load_probe, save_probe
from edge.scanfiles import open_scan
from edge.training.decisions import Decision
from edge.training.fine_tuning import fine_tuned
from edge.training.frames import simulated_set
from edge.training.network import PatchNet
from edge.training.ptycho import finish
from edge.training.run import Recipe, TrainingRun, Written, training_run
from edge.training.scan_block import Block
from edge.training.scan_deviance import VersionError, deviances
from edge.training.watching import Place, watching

FRAME_PX = NARROW.frame_px
RECIPE = Recipe(seed=0, steps=15, budget_s=None)
FLUX = 3e4
VALID = Validity(energy_ev=Span(8800.0, 8800.0))


def instrument(curvature_px2: float = 60.0) -> np.ndarray:
    """One mode [1, 64, 64]: a curved spot."""
    rows, columns = np.mgrid[:FRAME_PX, :FRAME_PX] - FRAME_PX / 2
    radius2 = rows**2 + columns**2
    spot = np.exp(-radius2 / (2 * 9.0**2) + 1j * radius2 / curvature_px2)
    return (spot * np.sqrt(FLUX / np.sum(np.abs(spot) ** 2))).astype(np.complex64)[None]


def write_scan(path: Path, seed: int) -> None:
    """12 lines of 25 points over an object, as a tike file."""
    rng = np.random.default_rng(seed)
    scene, modes = random_object((220, 370), rng), instrument()
    rows, columns = np.meshgrid(np.arange(12) * 12, np.arange(25) * 12, indexing="ij")
    corners = np.stack([rows.ravel(), columns.ravel()], axis=-1)
    frames = [
        counted(mean_counts(modes, scene[row : row + FRAME_PX, column : column + FRAME_PX]), rng)
        for row, column in corners
    ]
    np.savez(path, data=np.stack(frames), scan=corners.astype(float), probe=modes[None, None])


def write_first_version(folder: Path, run: TrainingRun) -> None:
    """One that has learned nothing yet, and whose beam was less curved than it is now."""
    modes = instrument(curvature_px2=80.0)
    data = simulated_set(modes, NARROW, 64, run.data_rng)
    frames = data.crops[:4]
    save_probe(folder / "probe.npy", modes)
    block = Block(frames, np.ones(frames.shape, dtype=bool), None)
    finish(run, PatchNet(modes, NARROW).eval(), data, block, Written(("nothing",), "none", VALID))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(SPEC64.name, tmp_path / "scans", tmp_path / "models")
    made.scans.mkdir()
    first = made.folder / "1"
    first.mkdir(parents=True)
    with Progress(disable=True) as progress:
        write_first_version(first, TrainingRun(SPEC64, RECIPE, first, progress))
    return made


def test_a_scan_makes_a_better_version(place: Place):
    learned: list[tuple[str, int]] = []

    def tune(start, scan, chosen, out) -> None:
        learned.append((start.name, len(chosen)))
        with training_run(SPEC64, replace(RECIPE, seed=len(learned)), out) as run:
            fine_tuned(run, start, scan, chosen, simulated=64)

    def judge(version, scan, chosen) -> np.ndarray:
        return deviances(version, SPEC64.name, scan, chosen)

    said: list[Decision] = []
    write_scan(place.scans / "one.npz", seed=1)
    with watching(place, tune, judge, 0.0, said.append) as watch:
        assert watch.turn() and not watch.turn()
    (decision,) = said
    assert decision.what == "deployed", decision
    assert (
        decision.gain is not None
        and decision.gain.low
        and decision.gain.low > 0
        and decision.gain.after < decision.gain.before
    )
    version = owned.serving(place.model, place.own)
    assert version.number == 2
    made = {path.name for path in version.folder.iterdir()}
    assert {
        "model.onnx",
        "canary.npz",
        "card.json",
        "weights.npz",
        "probe.npy",
    } <= made and "found_probe.npy" not in made
    card = parse_card((version.folder / "card.json").read_bytes())
    assert card.valid.energy_ev == VALID.energy_ev, "the instrument is the same"
    assert card.valid.counts_per_frame is not None and card.valid.counts_per_frame.low < FLUX
    assert card.valid.counts_per_frame.high > FLUX and card.training["from_version"] == "1"
    assert load_probe(version.folder / "probe.npy").shape == (1, FRAME_PX, FRAME_PX)
    with open_scan(place.scans / "one.npz") as scan:
        assert learned[0] == ("1", decision.trained) and decision.trained + decision.gain.frames < scan.count


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(edge, ["train", "ptycho", *map(str, args)], env={"COLUMNS": "200"})


def test_the_command_tells_what_was_decided_and_ends(place: Place):
    (place.scans / "notes.npz").write_text("no scan")
    told = run("--size", "64", "--watch", place.scans, "--out", place.own, "--once", "--still", "0.1")
    assert told.exit_code == 0, told.output
    assert "notes.npz" in told.output and "not used" in told.output
    assert owned.serving(place.model, place.own).number == 1


def test_the_command_says_what_is_missing(place: Place, tmp_path: Path):
    for args, says in (
        (("--out", tmp_path / "x"), "--scan FILE is needed"),
        (("--out", tmp_path / "x", "--once"), "--once belongs to --watch"),
        (("--out", tmp_path / "x", "--watch", tmp_path / "nowhere"), "does not exist"),
    ):
        told = run(*args)
        assert told.exit_code == 2 and says in told.output


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY half"])
@pytest.mark.parametrize("name", ["model.onnx", "probe.npy", "weights.npz"])
def test_a_damaged_file_of_a_version_is_named(place: Place, tmp_path: Path, name: str, content: bytes):
    version = place.folder / "1"
    (version / name).write_bytes(content)
    write_scan(place.scans / "one.npz", seed=1)
    chosen = np.arange(4)
    with open_scan(place.scans / "one.npz") as scan, pytest.raises(VersionError, match=name):
        if name == "weights.npz":
            with training_run(SPEC64, RECIPE, tmp_path / "out") as run:
                fine_tuned(run, version, scan, chosen, simulated=8)
        else:
            deviances(version, SPEC64.name, scan, chosen)


def test_the_command_ends_with_one_line_where_the_serving_version_is_damaged(place: Place):
    (place.folder / "1" / "probe.npy").write_bytes(b"")
    write_scan(place.scans / "one.npz", seed=1)
    told = run("--size", "64", "--watch", place.scans, "--out", place.own, "--once", "--still", "0.1")
    assert told.exit_code == 1 and "probe.npy is empty" in told.output and "rollback" in told.output
    assert isinstance(told.exception, SystemExit)


def test_a_fit_that_comes_to_nothing_costs_its_scan_alone(place: Place, monkeypatch: pytest.MonkeyPatch):
    def broken(net: PatchNet, batch: object) -> tuple[torch.Tensor, float]:
        return next(net.parameters()).sum() * float("nan"), 0.0

    monkeypatch.setattr("edge.training.fine_tuning.loss", broken)
    monkeypatch.setattr("edge.training.fine_tuning.SIMULATED", 16)
    monkeypatch.setattr("edge.training.fine_tuning.PROBE_ITERATIONS", 1)
    write_scan(place.scans / "one.npz", seed=1)
    told = run("--size", "64", "--watch", place.scans, "--out", place.own, "--once", "--still", "0.1")
    assert told.exit_code == 0 and "not used: after 0 steps the loss is nan" in told.output, told.output
    assert {path.name for path in place.folder.iterdir()} == {"1", "decisions.jsonl", ".watching.lock"}
