"""Files of positions in every format, and what is said of those that cannot be used."""

import random
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from edge.positions.files import PositionFileError, file_of, load
from streams.positions.headers import AxisOf, Known, Missing, Why

X = np.array([1.5, 2.5, 3.5])
Y = np.array([-1.0, 0.0, 7.0])
IDS = np.array([4, 2, 9])
COLUMN_OF_Y = {"a.npy": "1", "a.npz": "y", "a.h5": "/entry/y"}


def axes(x: str, y: str) -> list[AxisOf]:
    return [AxisOf("x", (x,)), AxisOf("y", (y,), factor=10.0)]


def npy(path):
    np.save(path, np.stack([X, Y, IDS], 1))


def npy_fields(path):
    table = np.zeros(3, [("a", "f8"), ("b", "f4"), ("id", "u2")])
    table["a"], table["b"], table["id"] = X, Y, IDS
    np.save(path, table)


def npz(path):
    np.savez(path, stage=np.stack([X, Y], 1), y=Y, ids=IDS.astype(np.uint16))


def packed(path):
    np.savez_compressed(path, y=np.tile(Y, 100))


def hdf5(path):
    with h5py.File(path, "w") as file:
        file["/entry/stage"] = np.stack([X, Y], 1)
        file["/entry/y"] = Y.astype(np.float32)
        file["/entry/ids"] = IDS


def csv(separator):
    def write(path):
        rows = [separator.join(map(str, row)) for row in zip(X, IDS, Y, strict=True)]
        path.write_text("\n".join([f"# sx{separator}image{separator}sy", *rows]) + "\n")

    return write


FILES = [
    ("p.npy", npy, "0", "1", "2"),
    ("p.npy", npy_fields, "a", "b", "id"),
    ("p.npz", npz, "stage:0", "y", "ids"),
    ("p.h5", hdf5, "/entry/stage:0", "/entry/y", "entry/ids"),
    ("p.csv", csv(","), "sx", "sy", "image"),
    ("p.CSV", csv(";"), "sx", "sy", "image"),
    ("p.txt", csv("\t"), "sx", "sy", "image"),
    ("p.txt", csv(" "), "sx", "sy", "image"),
]


@pytest.mark.parametrize(("name", "write", "x", "y", "ids"), FILES)
def test_rows_are_found_by_number_and_by_id(name, write, x, y, ids, tmp_path):
    path = tmp_path / name
    write(path)
    by_number = load(path, axes(x, y))
    assert by_number.position(2) == Known({"x": 3.5, "y": 70.0})
    assert by_number.position(3) == Missing(Why.BEYOND)
    by_id = load(path, axes(x, y), ids)
    assert by_id.position(2) == Known({"x": 2.5, "y": 0.0})
    assert by_id.position(0) == Missing(Why.BEYOND)


@pytest.mark.parametrize(
    ("name", "write", "x", "said"),
    [
        ("p.npy", npy, "3", "NAME:COLUMN"),
        ("p.npy", npy, "x", "NAME:COLUMN"),
        ("p.npy", npy_fields, "c", "no field 'c', there are a, b, id"),
        ("p.npz", npz, "z", "no array 'z'"),
        ("p.npz", npz, "stage", "NAME:COLUMN"),
        ("p.npz", npz, "stage:2", "NAME:COLUMN"),
        ("p.h5", hdf5, "/entry/z", "no array '/entry/z'"),
        ("p.h5", hdf5, "/entry", "is a group"),
        ("p.csv", csv(","), "sz", "no single column 'sz', the first line has sx, image, sy"),
        ("p.mat", npy, "x", "ending"),
        ("absent.npy", None, "0", "absent.npy"),
        ("p.npy", lambda path: np.save(path, np.array(["a", "b"])), "0", "not a list of numbers"),
        ("p.npy", lambda path: np.save(path, np.ones(3, complex)), "0", "not a list of numbers"),
        ("p.npy", lambda path: np.save(path, np.array([{}], object), allow_pickle=True), "0", "Python objects"),
        ("p.npy", lambda path: path.write_bytes(b"\x93NUMPY"), "0", "p.npy"),
        ("p.npz", lambda path: path.write_bytes(b"PK\x03\x04"), "0", "p.npz"),
        ("p.h5", lambda path: path.write_bytes(b"nothing"), "0", "p.h5"),
        ("p.csv", lambda path: path.write_text("sx,sx\n1,2\n"), "sx", "no single column"),
        ("p.csv", lambda path: path.write_text("sx,sy\n1,two\n"), "sy", "two"),
        ("p.csv", lambda path: path.write_bytes(b"sx\n\xff\n"), "sx", "p.csv"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(name, write, x, said, tmp_path):
    path = tmp_path / name
    if write is not None:
        write(path)
    with pytest.raises(PositionFileError, match=name.replace(".", r"\.")) as caught:
        load(path, [AxisOf("x", (x,))])
    assert said in str(caught.value)


@pytest.mark.parametrize("ids", [[0.5, 1, 2], [np.nan, 1, 2], [2.0**60, 1, 2], [1, 1, 2]])
def test_numbers_that_are_no_image_ids(ids, tmp_path):
    np.savez(tmp_path / "p.npz", x=X, ids=np.array(ids))
    with pytest.raises(PositionFileError, match="image id"):
        load(tmp_path / "p.npz", [AxisOf("x", ("x",))], "ids")


def test_columns_of_different_lengths(tmp_path):
    np.savez(tmp_path / "p.npz", x=X, y=Y[:2])
    with pytest.raises(PositionFileError, match="different lengths"):
        load(tmp_path / "p.npz", axes("x", "y"))


def test_nothing_larger_than_the_limit_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.positions.files.MAX_BYTES", 16)
    for name, write, x, y, _ in FILES:
        write(tmp_path / name)
        with pytest.raises(PositionFileError, match="16"):
            load(tmp_path / name, axes(x, y))


def test_a_member_that_claims_more_than_it_holds(tmp_path):
    path = tmp_path / "p.npz"
    header = b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000,), }".ljust(
        118
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header)
    with pytest.raises(PositionFileError, match=r"p\.npz"):
        load(path, [AxisOf("x", ("x",))])


@pytest.mark.parametrize(("name", "write"), [("a.npy", npy), ("a.npz", packed), ("a.h5", hdf5)])
def test_a_damaged_file_is_said_and_never_ends_the_process(name, write, tmp_path):
    path, dice = tmp_path / name, random.Random(0)
    write(path)
    whole = path.read_bytes()
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(dice.choice((1, 8))):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            load(path, [AxisOf("y", (COLUMN_OF_Y[name],))])
        except PositionFileError:
            refused += 1
    assert refused


@pytest.mark.parametrize(
    ("pattern", "uid", "file"),
    [
        ("/data/{series_id:04d}.npy", "u", "/data/0007.npy"),
        ("/data/{source}/{series_uid}.npy", "a/../b", "/data/d/a_.._b.npy"),
        ("/data/{series_uid}.npy", "../../etc/passwd", "/data/.._.._etc_passwd.npy"),
        ("{series_uid}.npy", "/etc/passwd", "_etc_passwd.npy"),
        ("../{series_uid}.npy", "u", "../u.npy"),
        ("/{series_uid}.npy", "u", "/u.npy"),
        ("/data/current.npy", "u", "/data/current.npy"),
    ],
)
def test_the_file_of_a_series_is_in_the_folder_that_was_configured(pattern, uid, file):
    assert file_of(pattern, 7, uid, "d") == Path(file)


@pytest.mark.parametrize("uid", ["..", ".", "", "a\0b", "x" * 300, "\ud800", "a\nb"])
def test_a_unique_id_that_could_be_no_file_has_no_positions(uid):
    with pytest.raises(PositionFileError, match=r"says what is read"):
        file_of("/data/{series_uid}/positions.npy", 7, uid, "d")


def test_a_link_of_the_name_of_a_series_is_not_followed_out(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    (tmp_path / "secret.npy").touch()
    (folder / "u.npy").symlink_to(tmp_path / "secret.npy")
    with pytest.raises(PositionFileError, match="by a link"):
        file_of(f"{folder}/{{series_uid}}.npy", 7, "u", "d")
    assert file_of(f"{folder}/u.npy", 7, "u", "d") == folder / "u.npy"  # chosen by whoever configures
