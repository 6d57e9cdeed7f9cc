"""Files, read back as users do."""

import h5py
import hdf5plugin  # noqa: F401  registers the filter
import numpy as np
import pytest

from edge.simulate.refusal import Refused
from edge.simulate.writer import SeriesWriter
from streams.messages import Acquisition

ACQUISITION = Acquisition(3, "uid", "2026-01-02T03:04:05Z", 100, (24, 36), "uint16")
IMAGES = np.random.default_rng(0).poisson(3, (5, 24, 36)).astype(np.uint16)


def write(folder, images=IMAGES, per_file=2, name="series_3"):
    writer = SeriesWriter(folder, name, per_file, ACQUISITION)
    for image in images:
        writer.append(image)
    return writer


def test_images_are_read_through_the_links_of_the_master_file(tmp_path):
    write(tmp_path).close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [*(f"series_3_data_00000{n}.h5" for n in (1, 2, 3)), "series_3_master.h5"]
    with h5py.File(tmp_path / "series_3_master.h5") as master:
        data = master["entry/data"]
        assert list(data) == ["data_000001", "data_000002", "data_000003"]
        assert isinstance(data.get("data_000001", getlink=True), h5py.ExternalLink)
        np.testing.assert_array_equal(np.concatenate([data[name][:] for name in data]), IMAGES)
        assert master["entry/instrument/detector/detectorSpecific/series_unique_id"][()] == b"uid"
        numbers = [(part.attrs["image_nr_low"], part.attrs["image_nr_high"]) for part in data.values()]
        assert numbers == [(1, 2), (3, 4), (5, 5)]


def test_an_images_chunk_is_bitshuffled_and_compressed(tmp_path):
    write(tmp_path).close()
    with h5py.File(tmp_path / "series_3_data_000001.h5") as file:
        dataset = file["entry/data/data"]
        assert dataset.chunks == (1, 24, 36) and dataset.dtype == np.dtype("<u2")
        assert dataset.id.get_create_plist().get_filter(0)[0] == 32008
        assert dataset.id.get_storage_size() < dataset.nbytes


def test_a_data_file_appears_when_it_is_full(tmp_path):
    writer = write(tmp_path, IMAGES[:3])
    assert (tmp_path / "series_3_data_000001.h5").exists() and not (tmp_path / "series_3_data_000002.h5").exists()
    writer.close()
    assert (tmp_path / "series_3_data_000002.h5").exists() and not list(tmp_path.glob("*.part"))


def test_a_series_without_images_is_a_master_file_without_links(tmp_path):
    write(tmp_path, []).close()
    with h5py.File(tmp_path / "series_3_master.h5") as master:
        assert list(master["entry/data"]) == []


@pytest.mark.parametrize("there", ["series_3_master.h5", "series_3_data_000002.h5", "series_3_data_000001.h5.part"])
def test_nothing_is_overwritten(tmp_path, there):
    (tmp_path / there).write_bytes(b"precious")
    with pytest.raises(Refused, match=f"{there} exists") as refused:
        write(tmp_path)
    assert refused.value.status == 409
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"]


def test_a_folder_that_is_gone(tmp_path):
    with pytest.raises(Refused, match="cannot write into"):
        write(tmp_path / "gone")


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "a\0b", "x" * 300])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    folder = tmp_path / "data"
    folder.mkdir()
    with pytest.raises(Refused, match="name_pattern"):
        SeriesWriter(folder, name, 10, ACQUISITION)
    assert [path.name for path in tmp_path.rglob("*")] == ["data"]


def test_a_link_is_not_written_through(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "s_master.h5").symlink_to(tmp_path / "elsewhere.h5")
    with pytest.raises(Refused, match="by a link"):
        SeriesWriter(folder, "s", 10, ACQUISITION)
    assert not (tmp_path / "elsewhere.h5").exists()
