"""Files of measured scans: every format, every number type, and files that are none."""

import bz2
import io
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from edge import scanarchives, scanformats
from edge.scanfiles import ScanFileError, open_scan
from tests.data import measured_data

COUNTS = np.random.default_rng(0).poisson(3, (5, 12, 16))
POSITIONS = np.arange(10.0).reshape(5, 2)
PROBE = (np.arange(3 * 12 * 16) * 1j).reshape(1, 1, 1, 3, 12, 16).astype(np.complex64)


def opened(path, **options):
    with open_scan(path, **options) as scan:
        return scan, list(scan)


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name.replace("__", "/")] = value
    return path


def refusal(path, **options):
    with pytest.raises(ScanFileError) as caught:
        opened(path, **options)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


def write(folder, kind, frames):
    if kind == "npz":
        return npz(folder / "scan.npz", data=frames)
    if kind == "bz2":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, data=frames)
        path = folder / "scan.npz.bz2"
        path.write_bytes(bz2.compress(buffer.getvalue()))
        return path
    if kind == "npy":
        np.save(folder / "scan.npy", frames)
        return folder / "scan.npy"
    if kind == "hdf5":
        return hdf5(folder / "scan.h5", entry__data__data=frames)
    tifffile.imwrite(folder / "scan.tif", frames, photometric="minisblack")
    return folder / "scan.tif"


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<u4", "i2", "<i4", "<f4"])
@pytest.mark.parametrize("kind", ["npz", "bz2", "npy", "hdf5", "tiff"])
def test_frames_of_every_format_and_type(tmp_path, kind, dtype):
    scan, frames = opened(write(tmp_path, kind, COUNTS.astype(dtype)))
    assert (scan.count, scan.shape, scan.origin) == (5, (12, 16), "centre")
    delivered = {"<f4": "uint8", "i2": "uint16", "<i4": "uint32"}.get(dtype, np.dtype(dtype).newbyteorder("=").name)
    assert scan.dtype == delivered and all(frame.dtype == delivered for frame in frames)
    np.testing.assert_array_equal(np.stack(frames), COUNTS)
    assert scan.positions is None and scan.probe is None


@pytest.mark.parametrize("kind", ["npz", "npy", "hdf5", "tiff"])
def test_a_single_image_is_a_scan_of_one(tmp_path, kind):
    frames = COUNTS[0].astype("u2")
    options = {"dataset": "data"} if kind == "npz" else {"dataset": "/entry/data/data"} if kind == "hdf5" else {}
    scan, (frame,) = opened(write(tmp_path, kind, frames), **options)
    assert scan.count == 1
    np.testing.assert_array_equal(frame, frames)


def test_tike_layout(tmp_path):
    arrays = {"data": COUNTS[np.newaxis].astype("f4"), "scan": POSITIONS[np.newaxis].astype("f4"), "probe": PROBE}
    scan, frames = opened(npz(tmp_path / "a.npz", **arrays))
    assert (scan.format, scan.dtype, scan.position_units) == ("npz", "uint8", "px")
    np.testing.assert_array_equal(np.stack(frames), COUNTS)
    np.testing.assert_array_equal(scan.positions, POSITIONS)
    assert scan.positions.dtype == np.float64
    np.testing.assert_array_equal(scan.probe, PROBE[0, 0, 0])
    assert scan.probe.dtype == np.complex64


def test_reciprocal_and_position(tmp_path):
    scan, frames = opened(npz(tmp_path / "a.npz", reciprocal=COUNTS.astype("i4"), position=POSITIONS))
    assert scan.position_units == "m" and scan.dtype == "uint32"
    np.testing.assert_array_equal(np.stack(frames), COUNTS)


@pytest.mark.parametrize(("stored", "wanted", "dtype"), [
    ([[0, 5], [-25536, 32767]], [[0, 5], [40000, 32767]], "uint16"),
    ([[0, 5], [-1, -32768]], [[0, 5], [65535, 32768]], "uint16"),
    ([[0, 5], [-1, 70000]], [[0, 5], [2**32 - 1, 70000]], "uint32"),  # never were 16 bits
])  # fmt: skip
def test_wrapped_counts_of_2idd_are_undone(tmp_path, stored, wanted, dtype):
    frames = np.array([stored] * 3, np.int32).repeat(4, 1).repeat(4, 2)
    scan, found = opened(npz(tmp_path / "a.npz", reciprocal=frames), origin="centre")
    assert scan.dtype == dtype
    np.testing.assert_array_equal(found[2][::4, ::4], wanted)
    scan, found = opened(npz(tmp_path / "b.npz", data=frames), origin="centre")
    assert scan.dtype == "uint32"  # elsewhere negative numbers are a detector's flags


def frame_cache(path, frames, **members):
    """As HEXRD writes it: the pixels of each frame above a threshold, as rows, columns and values."""
    found = {"shape": frames.shape[1:], "nframes": len(frames), "dtype": np.bytes_(frames.dtype.name), "omega": 1.5}
    for index, frame in enumerate(frames):
        rows, columns = np.nonzero(frame)
        found |= {f"{index}_row": rows.astype("u2"), f"{index}_col": columns.astype("u2")}
        found[f"{index}_data"] = frame[rows, columns]
    return npz(path, **(found | members))


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i4"])
def test_a_frame_cache_of_hexrd(tmp_path, dtype):
    frames = COUNTS.astype(dtype)
    frames[2] = 0  # nothing was above the threshold
    scan, found = opened(frame_cache(tmp_path / "a.npz", frames))
    assert (scan.format, scan.count, scan.shape, scan.origin) == ("hexrd", 5, (12, 16), "centre")
    assert scan.dtype == np.dtype(dtype).name.replace("int32", "uint32").replace("uu", "u")
    np.testing.assert_array_equal(np.stack(found), frames)


def test_a_frame_cache_is_never_taken_for_corner_centred(tmp_path):
    frames = np.zeros((3, 16, 16), "u2")
    frames[:, :3, :3] = 1000  # one bright reflection
    scan, found = opened(frame_cache(tmp_path / "a.npz", frames))
    assert scan.origin == "centre"
    np.testing.assert_array_equal(found[0], frames[0])
    scan, found = opened(frame_cache(tmp_path / "b.npz", frames), origin="corner")
    np.testing.assert_array_equal(found[0], np.fft.fftshift(frames[0]))  # but where it was asked for


def test_frames_of_a_cache_are_made_one_by_one(tmp_path):
    frames = np.zeros((3, 12, 16), "u2")
    path = frame_cache(tmp_path / "a.npz", frames, shape=(40_000, 50_000), nframes=3)
    with open_scan(path) as scan:  # all together 12 GB
        assert scan.shape == (40_000, 50_000)


@pytest.mark.parametrize(("members", "said"), [
    ({"nframes": 6}, "6 frames"),
    ({"nframes": 10**12}, "frames"),
    ({"nframes": 0}, "0 frames"),
    ({"shape": (12, 0)}, "[12, 0]"),
    ({"shape": (-12, 16)}, "[-12, 16]"),
    ({"shape": (1 << 20, 1 << 20)}, "expected frames"),
    ({"shape": (12, 16, 3)}, "2 values"),
    ({"dtype": np.bytes_("complex64")}, "complex64"),
    ({"dtype": np.bytes_("nonsense")}, "nonsense"),
    ({"0_row": np.array([12])}, "row"),
    ({"0_row": np.array([-1]), "0_col": np.array([0]), "0_data": np.array([1], "u2")}, "row outside of its 12"),
    ({"0_row": np.array([0]), "0_col": np.array([16]), "0_data": np.array([1], "u2")}, "column outside of its 16"),
    ({"0_row": np.array([0.5]), "0_col": np.array([0]), "0_data": np.array([1], "u2")}, "row outside"),
    ({"0_row": np.array([0]), "0_col": np.array([0]), "0_data": np.array([1.5])}, "1 counts"),
])  # fmt: skip
def test_a_broken_frame_cache_is_refused_in_words(tmp_path, members, said):
    assert said in refusal(frame_cache(tmp_path / "a.npz", COUNTS.astype("u2"), **members))


def test_cxi_translations_are_metres_in_x_y_z(tmp_path):
    translation = np.arange(15.0).reshape(5, 3)
    path = hdf5(
        tmp_path / "a.cxi",
        cxi_version=160,
        entry_1__instrument_1__detector_1__data=COUNTS.astype("i4"),
        entry_1__sample_1__geometry_1__translation=translation,
    )
    scan, frames = opened(path)
    assert (scan.format, scan.position_units) == ("cxi", "m")
    np.testing.assert_array_equal(scan.positions, translation[:, [1, 0]])
    np.testing.assert_array_equal(np.stack(frames), COUNTS)


def test_dectris_master_file_with_linked_data_files(tmp_path):
    for number, part in enumerate((COUNTS[:3], COUNTS[3:]), 1):
        hdf5(tmp_path / f"data_{number}.h5", entry__data__data=part.astype("u2"))
    with h5py.File(tmp_path / "master.h5", "w") as file:
        for number in (1, 2):
            file[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(f"data_{number}.h5", "/entry/data/data")
    scan, frames = opened(tmp_path / "master.h5")
    assert scan.count == 5
    np.testing.assert_array_equal(np.stack(frames), COUNTS)
    (tmp_path / "data_2.h5").unlink()
    assert "data_000002 links to a file that is missing" in refusal(tmp_path / "master.h5")


def test_hdf5_is_read_frame_by_frame(tmp_path):
    path = tmp_path / "huge.h5"
    with h5py.File(path, "w") as file:  # 40 GB of frames of which one is stored
        data = file.create_dataset("data", (5000, 2000, 2000), "u2", chunks=(1, 2000, 2000))
        data[4321, 5, 7] = 9
    with open_scan(path, origin="centre") as scan:
        assert scan.count == 5000 and scan.frame(4321)[5, 7] == 9


def test_a_huge_file_of_floats_is_not_searched_for_its_maximum(tmp_path):
    path = tmp_path / "huge.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", (5000, 2000, 2000), "f4", chunks=(1, 2000, 2000))
        data[1, 0, 0] = 0.5
    with open_scan(path, origin="centre") as scan:
        assert scan.dtype == "uint32" and scan.frame(0).dtype == np.uint32
        with pytest.raises(ScanFileError, match="frame 1 holds fractions"):
            scan.frame(1)


def test_hdf5_compressed_with_the_detectors_filter(tmp_path):
    import hdf5plugin

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=COUNTS.astype("u4"), chunks=(1, 12, 16), **hdf5plugin.Bitshuffle())
    np.testing.assert_array_equal(np.stack(opened(tmp_path / "a.h5")[1]), COUNTS)


@pytest.mark.parametrize(
    ("top", "dtype"), [(255, "uint8"), (256, "uint16"), (65535, "uint16"), (65536, "uint32"), (2**24, "uint32")]
)
def test_floats_become_the_smallest_type_that_holds_them_all(tmp_path, top, dtype):
    counts = COUNTS.astype(np.float32)
    counts[3, 2, 1] = top
    scan, frames = opened(npz(tmp_path / "a.npz", data=counts))
    assert scan.dtype == dtype
    np.testing.assert_array_equal(np.stack(frames), counts)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, -1.0, 2.0**32])
def test_floats_that_are_no_counts(tmp_path, value):
    counts = COUNTS.astype(np.float64)
    counts[3, 2, 1] = value
    assert "frame 3 holds" in refusal(npz(tmp_path / "a.npz", data=counts))


def test_negative_flags_keep_their_bits(tmp_path):
    counts = COUNTS.astype("i4")
    counts[0, 0, :2] = -1, -2
    scan, frames = opened(npz(tmp_path / "a.npz", data=counts))
    assert frames[0][0, :2].tolist() == [2**32 - 1, 2**32 - 2]
    wide, wide_frames = opened(npz(tmp_path / "b.npz", data=counts.astype("i8")))
    assert scan.dtype == wide.dtype == "uint32"
    np.testing.assert_array_equal(np.stack(frames), np.stack(wide_frames))


def test_64_bit_integers_that_fit_and_that_do_not(tmp_path):
    assert opened(npz(tmp_path / "a.npz", data=COUNTS.astype("u8")))[0].dtype == "uint8"
    assert "expected counts that fit" in refusal(npz(tmp_path / "b.npz", data=COUNTS.astype("i8") + 2**32))
    mixed = COUNTS.astype("i8")
    mixed[0, 0, :2] = -1, 2**31
    assert "expected counts that fit" in refusal(npz(tmp_path / "c.npz", data=mixed))


def spot(shape=(5, 12, 16)):
    """A beam in the middle of each frame, over a background."""
    row, col = np.indices(shape[1:])
    image = 1000 * np.exp(-((row - shape[1] // 2) ** 2 + (col - shape[2] // 2) ** 2) / 6)
    return np.broadcast_to(image.astype("u2") + 1, shape).copy()


@pytest.mark.parametrize("shape", [(5, 12, 16), (5, 13, 17), (1, 12, 17)])
@pytest.mark.parametrize("origin", ["auto", "corner"])
def test_corner_centred_frames_are_shifted(tmp_path, shape, origin):
    centred = spot(shape)
    path = npz(tmp_path / "a.npz", data=np.fft.ifftshift(centred, axes=(1, 2)))
    scan, frames = opened(path, origin=origin)
    assert scan.origin == "corner"
    np.testing.assert_array_equal(np.stack(frames), centred)
    scan, frames = opened(path, origin="centre")
    assert scan.origin == "centre" and frames[0][0, 0] == centred.max()


@pytest.mark.parametrize(("value", "pixels"), [(1, 3), (65535, 3), (60000, 1)])
def test_neither_background_nor_flagged_corners_nor_a_hot_pixel_look_corner_centred(tmp_path, value, pixels):
    frames = np.ones((5, 12, 16), "u2")
    frames[:, :pixels, :pixels] = value
    assert opened(npz(tmp_path / "a.npz", data=frames))[0].origin == "centre"


def test_dataset_chooses_among_several_stacks(tmp_path):
    path = npz(tmp_path / "a.npz", raw=COUNTS.astype("u1"), target=COUNTS.astype("u1") + 1)
    assert "several stacks (raw, target)" in refusal(path)
    np.testing.assert_array_equal(np.stack(opened(path, dataset="target")[1]), COUNTS + 1)
    assert "no dataset 'x'; expected one of raw, target" in refusal(path, dataset="x")
    path = hdf5(tmp_path / "a.h5", g__raw=COUNTS.astype("u1"), g__target=COUNTS.astype("u1") + 1)
    assert "several stacks (g/raw, g/target)" in refusal(path)
    np.testing.assert_array_equal(np.stack(opened(path, dataset="/g/target")[1]), COUNTS + 1)


@pytest.mark.parametrize("name", ["a.npy", "a.tif"])
def test_dataset_where_there_are_none(tmp_path, name):
    write(tmp_path, name[2:].replace("tif", "tiff"), COUNTS.astype("u1")).rename(tmp_path / name)
    assert "expected no --dataset" in refusal(tmp_path / name, dataset="x")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "holds nothing; expected frames"),
        ({"a": np.zeros(5), "b": np.zeros((5, 5))}, "holds a, b; expected frames"),
        ({"data": np.zeros((5, 4, 4), complex)}, "expected frames"),
        ({"data": np.zeros((0, 4, 4), "u1")}, "expected frames"),
        ({"data": np.zeros((2, 5, 4, 4), "u1")}, "expected frames"),
        ({"data": COUNTS, "scan": POSITIONS[:4]}, "positions are float64[4, 2]; expected [5, 2]"),
        ({"data": COUNTS, "scan": POSITIONS * np.nan}, "positions hold NaN"),
        ({"data": COUNTS, "probe": np.zeros(5)}, "the probe is"),
    ],
)
def test_archives_that_hold_no_scan(tmp_path, arrays, words):
    assert words in refusal(npz(tmp_path / "a.npz", **arrays))


class Touches:
    """Leaves a trace where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_nothing_is_unpickled(tmp_path, name):
    evil = np.array([[[Touches(tmp_path / "trace")]]], dtype=object)
    save = np.save if name == "a.npy" else np.savez
    save(tmp_path / name, **({"arr": evil} if save is np.save else {"data": evil}))
    refusal(tmp_path / name)
    if name == "a.npz":
        refusal(tmp_path / name, dataset="data")
    assert not (tmp_path / "trace").exists()
    pickle.loads(pickle.dumps(evil))
    assert (tmp_path / "trace").exists()  # it would have left one


@pytest.mark.parametrize("name", ["a.npz", "a.npz.bz2", "a.npy", "a.h5", "a.cxi", "a.tif"])
@pytest.mark.parametrize("content", [b"", b"no scan at all", bytes(4096)])
def test_files_of_another_kind(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "kept"),
    # A TIFF file whose last pages are gone is a shorter TIFF file.
    [
        (kind, kept)
        for kind in ("npz", "bz2", "npy", "hdf5", "tiff")
        for kept in (0.3, 0.6, 0.95)
        if (kind, kept) != ("tiff", 0.95)
    ],
)
def test_files_cut_short(tmp_path, kind, kept):
    path = write(tmp_path, kind, COUNTS.astype("u4"))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    refusal(path)


def test_an_archive_that_lies_about_its_size(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<u2", "fortran_order": False, "shape": (5, 1000, 1000)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("data.npy", buffer.getvalue() + b"few")
    assert "cut short" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", ["npz", "bz2"])
def test_what_must_be_loaded_whole_has_a_limit(tmp_path, kind, monkeypatch):
    for module in (scanarchives, scanformats):
        monkeypatch.setattr(module, "MAX_LOADED_BYTES", 1000)
    assert "expected" in refusal(write(tmp_path, kind, COUNTS.astype("u4")))


def test_no_file_no_folder_and_no_known_ending(tmp_path):
    assert "there is no such file" in refusal(tmp_path / "a.npz")
    (tmp_path / "b.npz").mkdir()
    refusal(tmp_path / "b.npz")
    (tmp_path / "c.txt").write_text("x")
    assert "expected one of .npz.bz2, .npz, .npy, .h5" in refusal(tmp_path / "c.txt")


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_outside_the_scan(tmp_path, index):
    with open_scan(npz(tmp_path / "a.npz", data=COUNTS.astype("u1"))) as scan, pytest.raises(IndexError):
        scan.frame(index)


def test_measured_siemens_star():
    path = measured_data("siemens_star/siemens-star-small.npz.bz2")
    with bz2.open(path) as packed:
        stored = np.load(io.BytesIO(packed.read()))
    with open_scan(path) as scan:
        assert (scan.count, scan.shape, scan.dtype, scan.origin) == (516, (128, 128), "uint16", "corner")
        assert scan.position_units == "px" and scan.probe is not None and scan.probe.shape == (1, 128, 128)
        for index in (0, 200, 515):
            np.testing.assert_array_equal(scan.frame(index), np.fft.fftshift(stored["data"][0, index]))
        np.testing.assert_array_equal(scan.positions, stored["scan"][0])


def test_measured_near_field_cxi():
    path = measured_data("ptycho_cxi/PETRAIII_P25_Near_Field_Ptycho.cxi")
    with open_scan(path) as scan, h5py.File(path) as file:
        assert (scan.format, scan.count, scan.shape, scan.dtype) == ("cxi", 200, (100, 100), "uint32")
        stored = file["entry_1/instrument_1/detector_1/data"][()]
        np.testing.assert_array_equal(np.stack(list(scan)), stored)
        translation = file["entry_1/sample_1/geometry_1/translation"][()]
        np.testing.assert_array_equal(scan.positions, translation[:, [1, 0]].astype(float))


def test_measured_frames_of_2idd_and_a_tiff_that_holds_phases():
    path = measured_data("ptychonn_2idd/frames.npz")
    with open_scan(path) as scan, np.load(path) as stored:
        assert (scan.count, scan.shape, scan.position_units) == (20, (512, 512), "m")
        np.testing.assert_array_equal(np.stack(list(scan)), stored["reciprocal"])
    assert "fractions" in refusal(measured_data("ptychonn_2idd/gold_phase.tiff"))


def test_measured_powder_keeps_its_gap_flags():
    path = measured_data("powder_ceria/ceria_pilatus2m.hdf5")
    with open_scan(path) as scan, h5py.File(path) as file:
        stored = file["imageseries/images"][0]
        assert stored.min() < 0 and scan.origin == "centre"
        np.testing.assert_array_equal(scan.frame(0), stored.view(np.uint32))


@pytest.mark.parametrize(("name", "shape"), [("ruby_ff1", (3888, 3072)), ("ruby_ff1_panel00", (1944, 1536))])
def test_measured_frame_caches_of_hexrd(name, shape):
    path = measured_data(f"ruby_hedm/{name}.npz")
    with open_scan(path) as scan, np.load(path) as stored:
        assert (scan.format, scan.count, scan.shape, scan.dtype) == ("hexrd", 1440, shape, "uint16")
        for index in (0, 77, 1439):
            frame = scan.frame(index)
            where = stored[f"{index}_row"], stored[f"{index}_col"]
            np.testing.assert_array_equal(frame[where], stored[f"{index}_data"])
            assert np.count_nonzero(frame) == np.count_nonzero(stored[f"{index}_data"]) > 0
