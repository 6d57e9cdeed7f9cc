"""Files as an EIGER writes them: data files of so many images, and a master file that links to them.

`<name>_data_000001.h5` holds /entry/data/data [images, height, width], one chunk an image, bitshuffle and LZ4 (HDF5
filter 32008); `<name>_master.h5` links to each as /entry/data/data_000001. "A master file is created after arming"; a
data file is made available when it is full or when the series ends (EIGER2 User Manual 1.8.2, section 7.3): until
then it carries the suffix `.part`. No file is ever overwritten.
"""

from http import HTTPStatus
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from edge.confined import Escape, inside
from edge.simulate.refusal import Refused
from streams.codecs.compression import compress
from streams.messages import Acquisition, Compression

PART = ".part"


class SeriesWriter:
    """Writes one series; used by one thread."""

    def __init__(self, folder: Path, name: str, images_per_file: int, acquisition: Acquisition) -> None:
        """Create the master file.

        Raises:
            Refused: the name leads to another folder, files of that name are there already, or the folder cannot be
                written.
        """
        self._folder, self._name, self._per_file, self._acquisition = folder, name, images_per_file, acquisition
        self._files = 0
        self._data: h5py.File | None = None
        self._filled = 0
        try:
            master = inside(folder, f"{name}_master.h5")
        except Escape as error:
            raise Refused(HTTPStatus.BAD_REQUEST, f"{error}; change filewriter/config/name_pattern") from error
        there = sorted(folder.glob(f"{name}_master.h5")) + sorted(folder.glob(f"{name}_data_*"))
        if there:
            raise Refused(HTTPStatus.CONFLICT, f"{there[0]} exists; change filewriter/config/name_pattern or move it")
        try:
            self._master = h5py.File(master, "x")
        except OSError as error:
            raise Refused(HTTPStatus.CONFLICT, f"cannot write into {folder}: {error}") from error
        self._describe(self._master)

    def append(self, image: NDArray[Any]) -> None:
        """Take the next image [height, width].

        Raises:
            OSError: it could not be written.
        """
        if self._data is None:
            self._open()
        assert self._data is not None
        dataset = self._data["entry/data/data"]
        assert isinstance(dataset, h5py.Dataset)
        dataset.resize(self._filled + 1, axis=0)
        dataset.id.write_direct_chunk((self._filled, 0, 0), compress(image, Compression.BSLZ4))
        self._filled += 1
        if self._filled == self._per_file:
            self._finish()

    def close(self) -> None:
        """Finish the files.

        Raises:
            OSError: they could not be finished.
        """
        self._finish()
        self._master.close()

    def _open(self) -> None:
        self._files += 1
        self._filled = 0
        height, width = self._acquisition.shape
        self._data = h5py.File(self._folder / f"{self._data_name()}{PART}", "x")
        group = self._data.create_group("entry/data")
        group.parent.attrs["NX_class"], group.attrs["NX_class"] = "NXentry", "NXdata"
        group.create_dataset(
            "data",
            shape=(0, height, width),
            maxshape=(self._per_file, height, width),
            chunks=(1, height, width),
            dtype=np.dtype(self._acquisition.dtype).newbyteorder("<"),
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )

    def _finish(self) -> None:
        if self._data is None:
            return
        name = self._data_name()
        dataset = self._data["entry/data/data"]
        first = (self._files - 1) * self._per_file
        dataset.attrs["image_nr_low"], dataset.attrs["image_nr_high"] = first + 1, first + self._filled  # from 1
        self._data.close()
        self._data = None
        (self._folder / f"{name}{PART}").rename(self._folder / name)
        self._master[f"entry/data/data_{self._files:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
        self._master.flush()

    def _data_name(self) -> str:
        return f"{self._name}_data_{self._files:06d}.h5"

    def _describe(self, master: h5py.File) -> None:
        acquisition = self._acquisition
        entry = master.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry.create_group("data").attrs["NX_class"] = "NXdata"
        detector = entry.create_group("instrument/detector")
        detector.parent.attrs["NX_class"], detector.attrs["NX_class"] = "NXinstrument", "NXdetector"
        detector["description"] = "simulated detector"
        detector["frame_time"] = acquisition.frame_time_s
        detector["frame_time"].attrs["units"] = "s"
        specific = detector.create_group("detectorSpecific")
        specific["data_collection_date"] = acquisition.arm_date
        specific["series_id"] = acquisition.series_id
        specific["series_unique_id"] = acquisition.series_uid
        specific["nimages"] = acquisition.images
        master.flush()
