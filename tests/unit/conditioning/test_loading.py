"""Files that a conditioning names: each kind is read, and what is wrong with one is said."""

import random

import h5py
import numpy as np
import pytest
import tifffile

from edge.conditioning.errors import ConditioningError
from edge.conditioning.files import read_array, read_geometry
from edge.conditioning.loading import load
from edge.conditioning.settings import UNSUPPORTED, ConditioningSettings, check
from tests.unit.conditioning.test_geom import ONE, TYPICAL

ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)
    np.savez(tmp_path / "one.npz", a=ARRAY)
    np.savez(tmp_path / "two.npz", a=ARRAY, b=-ARRAY)
    tifffile.imwrite(tmp_path / "a.tiff", ARRAY)
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["entry/map"] = ARRAY
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["entry/map"], file["entry/other"] = ARRAY, -ARRAY
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "names.npy", np.array([["a"]]))
    np.save(tmp_path / "pickled.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.save(tmp_path / "line.npy", np.arange(3))
    return tmp_path


@pytest.mark.parametrize(
    "where", ["a.npy", "one.npz", "two.npz:a", "a.tiff", "one.h5", "one.h5:/entry/map", "two.h5:entry/map"]
)
def test_every_kind_of_file_is_read(files, where):
    found = read_array(f"{files}/{where}", "mask")
    np.testing.assert_array_equal(found, ARRAY)
    assert found.dtype == ARRAY.dtype


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("none.npy", "mask: cannot read .*none.npy: No such file"),
        ("none.h5:/entry/map", "mask: cannot read .*none.h5"),
        ("two.npz", "FILE:NAME; there are .*a.*b"),
        ("two.npz:c", "FILE:NAME"),
        ("two.h5", "FILE:DATASET; there are /entry/map, /entry/other"),
        ("two.h5:/entry/none", "no dataset '/entry/none'; there are /entry/map"),
        ("two.h5:/entry", "no dataset '/entry'"),
        ("text.npy", "no array that can be read.*TIFF"),
        ("names.npy", "not images of numbers"),
        ("pickled.npy", "no array that can be read"),
        ("line.npy", "not images of numbers"),
    ],
)
def test_an_array_that_cannot_be_used_is_named(files, where, said):
    with pytest.raises(ConditioningError, match=said):
        read_array(f"{files}/{where}", "mask")


@pytest.mark.parametrize("name", ["a.npy", "packed.npz", "one.h5", "packed.tiff"])
def test_a_damaged_array_is_said(files, name):
    np.savez_compressed(files / "packed.npz", a=np.tile(ARRAY, (9, 9)))
    tifffile.imwrite(files / "packed.tiff", np.tile(ARRAY, (9, 9)), compression="zlib")
    path, dice = files / name, random.Random(0)
    whole = path.read_bytes()
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(dice.choice((1, 8))):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            read_array(str(path), "mask")
        except ConditioningError:
            refused += 1
    assert refused


def test_a_geometry_names_file_and_line(files):
    (files / "bad.geom").write_text("p0/min_fs = 0\nnonsense\n")
    (files / "binary.geom").write_bytes(b"\xff\xfe")
    for name, said in (("bad.geom", "bad.geom: line 2"), ("binary.geom", "binary.geom"), ("none.geom", "No such file")):
        with pytest.raises(ConditioningError, match=f"geometry: .*{said}"):
            read_geometry(str(files / name), "geometry")


def test_everything_is_loaded(files):
    (files / "d.geom").write_text(TYPICAL)
    np.save(files / "maps.npy", np.ones((2, 3, 64, 128)))
    settings = ConditioningSettings(
        mask=f"{files}/one.h5",
        flatfield="header",
        detector="jungfrau",
        pedestal=f"{files}/maps.npy",
        gain=f"{files}/maps.npy",
        photon_energy_kev=9.3,
        geometry=f"{files}/d.geom",
        modules=("left", "right"),
        orientation="rotate-90",
    )
    loaded = load(settings)
    np.testing.assert_array_equal(loaded.mask != 0, ARRAY != 0)
    assert (loaded.mask_from_header, loaded.flatfield, loaded.flatfield_from_header) == (False, None, True)
    assert loaded.jungfrau.modules == 2
    assert loaded.assembles
    assert (loaded.modules, loaded.orientation) == (("left", "right"), "rotate-90")


def test_the_default_takes_the_mask_of_the_header_and_nothing_else():
    loaded = load(ConditioningSettings())
    assert loaded.mask_from_header
    assert not loaded.assembles
    assert (loaded.mask, loaded.flatfield, loaded.jungfrau, loaded.geometry) == (None, None, None, None)


def test_no_mask_at_all():
    assert not load(ConditioningSettings(mask="")).mask_from_header


def test_one_module_is_assembled_frame_by_frame(files):
    (files / "d.geom").write_text(ONE)
    assert not load(ConditioningSettings(geometry=f"{files}/d.geom")).assembles


def test_masks_that_a_geometry_names_are_joined_with_the_other(files):
    with h5py.File(files / "m.h5", "w") as file:
        file["mask"] = np.array([[1, 1, 0, 1]], np.uint8)
    (files / "d.geom").write_text(f"mask_file = {files}/m.h5\nmask = /mask\nmask_good = 1\n" + ONE)
    np.save(files / "own.npy", np.array([[1, 0, 0, 0]]))
    loaded = load(ConditioningSettings(mask=f"{files}/own.npy", geometry=f"{files}/d.geom"))
    assert loaded.mask.tolist() == [[1, 0, 2, 0]]
    with pytest.raises(ConditioningError, match=r"mask has the shape \[3, 4\], that of the geometry \[1, 4\]"):
        load(ConditioningSettings(mask=f"{files}/a.npy", geometry=f"{files}/d.geom"))


def test_modules_must_be_as_many_as_the_geometry_has(files):
    (files / "d.geom").write_text(TYPICAL)
    with pytest.raises(ConditioningError, match=r"modules names 1 channels, .*d.geom has 2"):
        load(ConditioningSettings(geometry=f"{files}/d.geom", modules=("a",)))


def test_maps_of_a_wrong_shape_name_their_files(files):
    settings = ConditioningSettings(
        detector="jungfrau", pedestal=f"{files}/a.npy", gain=f"{files}/a.npy", photon_energy_kev=1.0
    )
    with pytest.raises(ConditioningError, match=r"a.npy: pedestal of shape \[3, 4\]"):
        load(settings)


@pytest.mark.parametrize("detector", sorted(UNSUPPORTED))
def test_integrating_detectors_that_are_not_calibrated_here_are_named(detector):
    with pytest.raises(ConditioningError, match=f"{detector.upper()}.*calibrated to photons"):
        check(ConditioningSettings(detector=detector.upper()))
