"""`edge orient` on simulated scans in files, and on the measured star."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge.commands.orient import orient
from edge.commands.orient_scan import Measured, measured, sample
from edge.commands.orient_starts import STARTS, outcome_of
from edge.commands.orient_telling import beam_after, toml_lines
from edge.conditioning.orientation import ORIENTATIONS, Orientation, oriented
from edge.config.tables import Source
from edge.physics.orientation import TURNS, Turn, after, turn_of
from edge.physics.orientation_ranking import rank
from edge.scanfiles import open_scan
from edge.scanoptics import field_of_view_m
from tests.data import measured_data
from tests.unit.physics.test_orientation_ranking import PLACES, PROBE, SCAN

QUICK = ("--places", "1", "--frames", "32")


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(orient, [str(argument) for argument in arguments])


def scan_file(folder: Path, **changed: Any) -> Path:
    arrays = {"data": SCAN.frames, "scan": PLACES, "probe": PROBE[None]} | changed
    np.savez(folder / "scan.npz", **{name: array for name, array in arrays.items() if array is not None})
    return folder / "scan.npz"


def kept(file: Path) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(file.read_text())["rows"]}


def test_a_turned_scan_is_told_how_to_turn_it_back(tmp_path: Path) -> None:
    turned = np.stack([np.rot90(frame) for frame in SCAN.frames])
    path = scan_file(tmp_path, data=turned, scan=PLACES * (-1, 1))
    result = run("--data", path, *QUICK, "--json", tmp_path / "o.json", "--plot", tmp_path / "o.png")
    assert result.exit_code == 0, result.output
    assert "clear: " in result.output
    assert 'orientation = "rotate-270"' in result.output
    assert "factor = { row = -1, col = 1 }" in result.output
    found = kept(tmp_path / "o.json")
    assert found["orient_clear"]["value"] is True
    assert found["orient_image"]["value"] == "rotate-270"
    assert (found["orient_scan_row_sign"]["value"], found["orient_scan_col_sign"]["value"]) == (-1, 1)
    assert found["orient_scan_swap"]["value"] is False
    assert found["orient_equivalent"]["value"] == 1
    assert found["orient_margin"]["spread"][0] > 1.1
    assert len(found["orient_survey"]["detail"]) == 64
    assert (tmp_path / "o.png").stat().st_size > 10_000


def test_a_scan_that_tells_nothing_is_not_clear(tmp_path: Path) -> None:
    path = scan_file(tmp_path, scan=np.random.default_rng(0).permutation(PLACES))
    result = run("--scan", path, *QUICK)
    assert result.exit_code == 1
    assert "not clear: " in result.output and "recommended" not in result.output


def test_every_start_counts_what_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.commands.orient.STARTS", STARTS[5:7])
    result = run("--data", scan_file(tmp_path), *QUICK, "--every-start", "--json", tmp_path / "o.json")
    assert result.exit_code == 0, result.output
    assert "orient_starts_undone: 2 of 2" in result.output
    assert kept(tmp_path / "o.json")["orient_starts_exact"]["value"] == 2


@pytest.mark.parametrize(
    ("changed", "arguments", "message"),
    [
        ({"scan": None}, (), "holds no positions"),
        ({"scan": PLACES[:5], "data": SCAN.frames[:5]}, (), "8 or more"),
        ({"scan": PLACES * 100}, (), "do not overlap"),
        ({"probe": np.ones((1, 8, 8), complex)}, (), "must be the same"),
        ({"probe": np.zeros((1, 36, 36), complex)}, (), "zero everywhere"),
        ({"data": np.zeros_like(SCAN.frames)}, (), "no counts"),
        ({}, ("--pixel-size", "5"), "leave out --pixel-size"),
        ({"scan": None, "positions": PLACES * 1e-8}, (), "--pixel-size NM"),
        ({}, ("--probe", "missing.npy"), "missing.npy"),
        ({}, ("--json", "/dev/null/x.json"), "cannot write"),
    ],
)
def test_what_cannot_be_judged_ends_with_2(
    tmp_path: Path, changed: dict[str, Any], arguments: tuple[str, ...], message: str
) -> None:
    result = run("--data", scan_file(tmp_path, **changed), *QUICK, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_a_missing_file_ends_with_2(tmp_path: Path) -> None:
    assert run("--data", tmp_path / "none.npz").exit_code == 2


def test_positions_in_metres_need_the_pixel(tmp_path: Path) -> None:
    path = scan_file(tmp_path, scan=None, positions=PLACES * 7e-9)
    result = run("--data", path, *QUICK, "--pixel-size", "7")
    assert result.exit_code == 0, result.output
    assert "nothing to change" in result.output


def test_the_pixel_comes_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    wavelength, distance, pixel = 1.5e-10, 2.0, 75e-6
    size = wavelength * distance / (36 * pixel)
    with h5py.File(path, "w") as file:
        file["entry/data"] = SCAN.frames
        file["entry/positions"] = PLACES * size
        for name, value, units in (
            ("beam/incident_wavelength", wavelength * 1e10, "angstrom"),
            ("detector/detector_distance", distance * 1e3, "mm"),
            ("detector/x_pixel_size", pixel, "m"),
        ):
            file[f"entry/{name}"] = value
            file[f"entry/{name}"].attrs["units"] = units
    assert field_of_view_m(path) == pytest.approx(36 * size)
    with open_scan(path) as scan:
        np.testing.assert_allclose(measured(path, scan, None, None).positions, PLACES)


def test_numbers_without_units_are_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["wavelength"], file["distance"], file["x_pixel_size"] = 1.5, 2.0, 75.0
    assert field_of_view_m(path) is None


def cxi(path: Path, **numbers: float) -> Path:
    """A CXI file of these numbers by their place under `entry_1/instrument_1`, dots for slashes, in SI units."""
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        for name, value in numbers.items():
            file["entry_1/instrument_1/" + name.replace("__", "/")] = value
    return path


OPTICS = {"source_1__energy": 1.3e-15, "detector_1__distance": 2.0, "detector_1__x_pixel_size": 75e-6}


@pytest.mark.parametrize(
    "beside",
    [
        {"attenuator_1__distance": 5.0},  # comes before the detector's
        {"detector_1__a__distance": 7.0},
        {"ring__energy": 1e-9},  # 6 GeV: electrons
        {"undulator__energy": 1.4e-15},
    ],
)
def test_the_distance_is_that_of_the_detector_and_the_energy_that_of_the_photons(
    tmp_path: Path, beside: dict[str, float]
) -> None:
    wanted = field_of_view_m(cxi(tmp_path / "a.cxi", **OPTICS))
    assert wanted == pytest.approx(1.98644586e-25 / 1.3e-15 * 2.0 / 75e-6)
    assert field_of_view_m(cxi(tmp_path / "b.cxi", **OPTICS, **beside)) == wanted


def test_a_distance_beside_the_detector_is_taken_where_that_holds_none(tmp_path: Path) -> None:
    optics = {name: value for name, value in OPTICS.items() if name != "detector_1__distance"}
    assert field_of_view_m(cxi(tmp_path / "a.cxi", **optics)) is None
    found = field_of_view_m(cxi(tmp_path / "b.cxi", **optics, detector_distance=3.0, slits__distance=9.0))
    assert found == pytest.approx(1.98644586e-25 / 1.3e-15 * 3.0 / 75e-6)


def test_two_detectors_at_different_distances_say_nothing(tmp_path: Path) -> None:
    other = {"detector_2__distance": 4.0, "detector_2__x_pixel_size": 75e-6}
    assert field_of_view_m(cxi(tmp_path / "a.cxi", **OPTICS, **other)) is None


@pytest.mark.parametrize("turn", TURNS[::5], ids=lambda turn: f"{turn.image}, {turn.scan}")
def test_the_lines_are_a_configuration(turn: Turn) -> None:
    import tomllib

    lines = "\n".join(toml_lines(turn))
    found = tomllib.loads("[[source]]\n" + lines)["source"][0]
    assert found.get("conditioning", {}).get("orientation", "as-is") == turn.image
    assert "conditioning" in Source.__struct_fields__ and "positions" in Source.__struct_fields__
    factor = found.get("positions", {}).get("factor", {"row": 1, "col": 1})
    assert turn_of(turn.image, (factor["row"], factor["col"]), "exchange" in lines) == turn


@pytest.mark.parametrize("image", ORIENTATIONS)
def test_the_beam_is_where_the_turned_image_has_it(image: Orientation) -> None:
    frame = np.zeros((6, 9))
    frame[1, 6] = 1
    place = tuple(int(value) for value in np.argwhere(oriented(frame, image))[0])
    assert beam_after(Turn(image), (1, 6), (6, 9)) == place


@pytest.fixture(scope="module")
def star() -> Measured:
    path = measured_data("siemens_star/siemens-star-small.npz.bz2")
    with open_scan(path) as scan:
        return measured(path, scan, None, None)  # of this format the frames are in memory


@pytest.mark.parametrize("start", STARTS[2::9], ids=lambda start: f"{start.image}, {start.signs}")
def test_the_measured_star_is_turned_back(star: Measured, start: Turn) -> None:
    taken = sample(star.turned(start), places=1, frames=32, seed=0)
    found = rank(taken.hoods, taken.guess)
    assert found.clear and found.twin_told
    assert after(start, found.recommended).relative == "as-is"


def test_the_undoing_turn_is_told_from_its_twin_and_its_mirror_image() -> None:
    taken = sample(Measured(lambda index: SCAN.frames[index], (36, 36), PLACES, PROBE), 1, 32, 0)
    found = rank(taken.hoods, None)  # both twins are equivalent, the first is recommended
    assert outcome_of(Turn(), found, found).exact
    mirrored = outcome_of(Turn("mirror-rows", "mirror-rows"), found, found)
    assert mirrored.undone and mirrored.same_relative and not mirrored.exact
    twin = outcome_of(Turn("rotate-180"), found, found)
    assert twin.undone and not twin.same_relative
    assert not replace(twin, twin_told=True).undone
    assert not outcome_of(Turn("mirror-rows"), found, found).undone


def test_near_field_data_are_not_clear() -> None:
    result = run("--data", measured_data("ptycho_cxi/PETRAIII_P25_Near_Field_Ptycho.cxi"), *QUICK)
    assert result.exit_code == 1
    assert "far field" in result.output
