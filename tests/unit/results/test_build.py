"""A file built of any log equals a dictionary that was filled with the same results."""

import fcntl
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.results.build import build, remove_log
from edge.results.channel import MAX_CHANNELS, MAX_ROWS, Status
from edge.results.errors import ResultFileError
from edge.results.nexus import compare
from edge.results.reader import summarise_file
from edge.results.summary import summarise_log
from edge.results.survey import survey
from streams.codecs.results import DTYPES, ArraySpec, Heartbeat, SeriesEnded, describe
from tests.unit.results.notices import FACTS, ended, packed, result, started, write_log

IDS = st.integers(0, 40) | st.sampled_from([1000, 5000])


def opened(path: Path) -> h5py.File:
    return h5py.File(path, "r")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(IDS, st.sampled_from(["image", "thr/2", ".."]), st.integers(0, 99)), max_size=60),
    st.none() | st.integers(0, 60),
)
def test_every_row_is_what_a_dictionary_would_hold(entries, expected):
    model: dict[tuple[str, int], int] = {}
    records = []
    for image_id, channel, value in entries:
        array = np.array([value, image_id], np.int32)
        spec = (describe("value", array, "counts"),)
        records.append(packed(result(image_id, channel=channel, specs=spec, position={"x": value / 4}), [array]))
        model.setdefault((channel, image_id), value)
    end = ended(len(model), arrivals={"expected": None, "images": expected})
    with TemporaryDirectory() as folder:
        built = build(write_log(Path(folder) / "s.log", started(None), *records, end))
        assert (built.stored, built.verdict) == (len(model), "complete")
        with opened(built.file) as file:
            groups = {
                group.attrs["channel"]: group for group in file["entry/peaks"].values() if "signal" in group.attrs
            }
            assert set(groups) == {channel for channel, _ in model}
            for channel, group in groups.items():
                own = {image_id: value for (name, image_id), value in model.items() if name == channel}
                rows = max(max(own) + 1, expected or 0)
                assert group["image_id"][:].tolist() == list(range(rows))
                assert np.flatnonzero(group["status"][:]).tolist() == sorted(own)
                wanted = np.zeros((rows, 2), np.int32)
                where = np.full(rows, np.nan)
                for image_id, value in own.items():
                    wanted[image_id] = value, image_id
                    where[image_id] = value / 4
                np.testing.assert_array_equal(group["value"][:], wanted)
                np.testing.assert_array_equal(group["position_x"][:], where)
                holes = file["entry/account/without_result"][group.name.rpartition("/")[2]][:]
                absent = [image_id for start, stop in holes for image_id in range(start, stop)]
                assert absent == [image_id for image_id in range(rows) if image_id not in own]


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (1,), (3, 2), (0,), (2, 0)])
def test_every_dtype_and_shape_of_the_wire(tmp_path, dtype, shape):
    array = np.ones(shape, dtype)
    record = packed(result(2, array), [array])
    file = build(write_log(tmp_path / "s.log", started(), record, ended(1))).file
    with opened(file) as built:
        read = built["entry/peaks/image/a0"]
        assert read.shape == (3, *shape)
        assert read.dtype == dtype
        np.testing.assert_array_equal(read[2], array)
        if array.size:
            missing = np.asarray(read[0])
            assert np.isnan(missing).all() if missing.dtype.kind == "f" else not missing.any()


@pytest.mark.parametrize("image_id", [-1, MAX_ROWS, 2**40, 2**63 - 1, 2**64 - 1])
def test_an_impossible_id_takes_no_memory(tmp_path, image_id):
    log = write_log(tmp_path / "s.log", started(), result(3), result(image_id, received_ns=0), ended(2))
    built = build(log)
    assert (built.stored, built.verdict) == (1, "incomplete")
    assert built.file.stat().st_size < 200_000
    with opened(built.file) as file:
        assert file["entry/account/file/refused/no_room"][()] == 1


def test_the_largest_id_takes_little_room(tmp_path):
    built = build(write_log(tmp_path / "s.log", started(), result(MAX_ROWS - 1), result(0), ended(2)))
    assert built.stored == 2
    assert built.file.stat().st_size < 3_000_000
    with opened(built.file) as file:
        data = file["entry/peaks/image"]
        assert data["a0"].shape == (MAX_ROWS, 2)
        assert data["a0"][MAX_ROWS - 1].tolist() == [(MAX_ROWS - 1) % 1000, -1.5]
        assert data["image_id"][MAX_ROWS - 1] == MAX_ROWS - 1


@pytest.mark.parametrize("expected", [2**40, -1])
def test_an_impossible_expectation_is_not_believed(tmp_path, expected):
    end = ended(1, arrivals={"expected": expected, "images": expected})
    with opened(build(write_log(tmp_path / "s.log", started(), result(3), end)).file) as file:
        assert len(file["entry/peaks/image/status"]) == 4


def test_a_result_of_another_kind_is_marked_and_never_misread(tmp_path):
    other = np.ones(5, np.float32)
    records = [result(0), packed(result(1, other), [other]), result(2, model_sha256="00"), result(3)]
    built = build(write_log(tmp_path / "s.log", started(), *records, ended(4)))
    assert (built.stored, built.verdict) == (2, "incomplete")
    with opened(built.file) as file:
        assert file["entry/peaks/image/status"][:].tolist() == [1, Status.MISFIT, Status.MISFIT, 1]


def test_what_belongs_to_another_series_is_left_out(tmp_path):
    strange = [result(1, series_uid="v"), result(1, source="w"), result(1, route="r"), Heartbeat("peaks", "a", 1, 2)]
    unreadable = packed(result(1)).replace(b"series_uid", b"series_uie")
    built = build(write_log(tmp_path / "s.log", started(), *strange, unreadable, result(0), ended(1)))
    found = survey(tmp_path / "s.log")
    assert found.refused == {"foreign": 4}
    assert found.damaged_bytes == len(unreadable)  # its checksum is no longer right
    assert (built.stored, built.verdict) == (1, "incomplete")


def test_channels_beyond_the_limit_are_counted(tmp_path):
    records = [result(0, channel=f"c{at}") for at in range(MAX_CHANNELS + 2)]
    found = survey(write_log(tmp_path / "s.log", started(), *records))
    assert (len(found.channels), found.refused) == (MAX_CHANNELS, {"no_room": 2})


def test_two_outputs_of_one_name_are_a_misfit(tmp_path):
    one = np.ones(2, np.float32)
    spec = describe("a", one, "1")
    found = survey(write_log(tmp_path / "s.log", packed(result(0, specs=(spec, spec)), [one, one])))
    assert found.refused == {"misfit": 1}


def test_an_output_of_an_absurd_shape_is_a_misfit(tmp_path):
    record = packed(result(0, specs=(ArraySpec("a", "float32", (0, 2**40)),)), [np.zeros(0, np.float32)])
    assert survey(write_log(tmp_path / "s.log", record)).refused == {"misfit": 1}


def again(published: int, verdict: str = "complete", *, received: int) -> SeriesEnded:
    """The end, as a second start of edge serve tells it that left out some of four images."""
    account = {"received": received, "unwanted": received - published, "published": published}
    return ended(published, verdict, origin="b", arrivals={"expected": 4, "images": 4}, account=account)


@pytest.mark.parametrize(
    ("records", "verdict"),
    [
        ([started(2), result(0), result(1), ended(2)], "complete"),
        ([started(2), result(0), result(0), result(1), ended(2)], "complete"),
        ([started(2), result(0), ended(2)], "incomplete"),  # published, but not logged
        ([started(2), result(0), ended(1, "incomplete")], "incomplete"),
        ([started(2), result(0), ended(1, "unknown")], "unknown"),
        ([started(2), result(0), result(1)], "unknown"),
        ([started(2), ended(0)], "complete"),
        # Started anew within the series: the images tell, not the accounts.
        ([started(2), result(0), result(1, origin="b"), ended(1, "incomplete", origin="b", arrivals={})], "complete"),
        ([started(3), result(0), result(1, origin="b"), ended(1, "complete", origin="b", arrivals={})], "incomplete"),
        ([started(None), result(0), result(1, origin="b"), ended(1, origin="b", arrivals={})], "incomplete"),
        # ... unless the last start went through all of them again: then its account tells, also of images left out
        ([started(4), result(0), result(2, origin="b"), again(2, received=4)], "complete"),
        ([started(4), result(0), result(2, origin="b"), again(2, received=3)], "incomplete"),
        ([started(4), result(0), result(2, origin="b"), again(3, received=4)], "incomplete"),
        ([started(4), result(0), result(2, origin="b"), again(2, "incomplete", received=4)], "incomplete"),
    ],
)
def test_the_verdict_claims_no_more_than_is_known(tmp_path, records, verdict):
    assert build(write_log(tmp_path / "s.log", *records)).verdict == verdict


def test_damage_before_the_end_is_never_complete(tmp_path):
    built = build(write_log(tmp_path / "s.log", started(1), b"bad sector", result(0), ended(1)))
    assert built.verdict == "incomplete"


def test_names_from_the_wire_stay_in_their_place(tmp_path):
    array = np.ones(1, np.float32)
    names = ["../../x", "status", "image_id", "", "..", "a\0b", "published_time"]
    specs = tuple(ArraySpec(name, "float32", (1,), "m\0") for name in names)
    record = result(
        0,
        specs=specs,
        series_uid="\0",
        channel="../account",
        route="account",
        position={"/": 1.0},
        values={"status": 2.0},
    )
    start = started(route="account", series_uid="\0", user_data={"a": float("nan"), 3: b"\0"}, header={"x": "\0"})
    record = packed(record, [array] * len(names))
    log = write_log(tmp_path / "s.log", start, record)
    with opened(build(log).file) as file:
        assert set(file) == {"entry"}
        assert {"account", "account_", "instrument"} <= set(file["entry"])
        data = file["entry/account_/.._account"]
        assert len(data) == len(names) + 6  # outputs, a value, a position, image_id, status and two times
        assert all(data[name][0] == 1 for name in data if data[name].dtype == np.float32)


def test_a_file_names_what_viewers_need(tmp_path):
    facts = FACTS | {"raw_frames": "../raw/series_7_master.h5::/entry/data"}
    start = started(1, user_data={"position_units": {"x": "mm", "y": 3}})
    log = write_log(tmp_path / "s.log", start, result(0, position={"x": 0.5, "y": 2.0}), ended(1), facts=facts)
    with opened(build(log).file) as file:
        data = file
        while "default" in data.attrs:  # NeXus: follow `default` to what is to be plotted
            data = data[data.attrs["default"]]
        assert data.attrs["NX_class"] == "NXdata"
        signal = data[data.attrs["signal"]]
        assert len(data.attrs["axes"]) == signal.ndim
        assert data.attrs["axes"][0] in data
        assert signal.attrs["units"] == "counts"
        assert data["position_x"].attrs["units"] == "mm"
        assert "units" not in data["position_y"].attrs
        entry = file["entry"]
        assert (entry.attrs["NX_class"], entry["peaks"].attrs["NX_class"]) == ("NXentry", "NXprocess")
        assert entry["peaks/model_sha256"].asstr()[()] == "ab" * 32
        assert entry["start_time"].asstr()[()] == "1970-01-01T00:00:01+00:00"
        assert entry["account/latency/p50"][()] == 1.5
        link = entry["instrument/detector"].get("raw", getlink=True)
        assert (link.filename, link.path) == ("../raw/series_7_master.h5", "/entry/data")


def test_a_log_that_tells_nothing_is_a_clear_error(tmp_path):
    for content, text in ((b"", "no whole record"), (b"PK\3\4", "not a log"), (b"EDGEL", "no whole record")):
        (tmp_path / "s.log").write_bytes(content)
        with pytest.raises(ResultFileError, match=text):
            build(tmp_path / "s.log")
    with pytest.raises(ResultFileError, match=r"cannot read .*No such file"):
        build(tmp_path / "none.log")
    with pytest.raises(ResultFileError, match=r"name its log, s\.log"):
        build(tmp_path / "s.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["s.log"]


def test_a_failed_build_leaves_the_earlier_file(tmp_path, monkeypatch):
    log = write_log(tmp_path / "s.log", started(1), result(0), ended(1))
    before = build(log).file.read_bytes()

    def differs(*_):
        raise OSError("reads back differently")

    (tmp_path / ".s.h5.1.part").touch()
    (tmp_path / ".s.h5.2.part").touch()
    os.utime(tmp_path / ".s.h5.1.part", (0, 0))  # of a builder that was killed long ago
    monkeypatch.setattr("edge.results.build.compare", differs)
    with pytest.raises(ResultFileError, match="reads back differently"):
        build(log)
    assert [path.name for path in tmp_path.glob(".*")] == [".s.h5.2.part"]
    assert (tmp_path / "s.h5").read_bytes() == before


def test_reading_back_notices_a_wrong_value(tmp_path):
    log = write_log(tmp_path / "s.log", started(3), *map(result, range(3)), ended(3))
    file = build(log).file
    found = survey(log)
    with h5py.File(file, "r+") as built:
        compare(built, found)
        built["entry/peaks/image/a0"][1, 1] = 1.0
        with pytest.raises(OSError, match=r"a0 reads back differently"):
            compare(built, found)


def test_a_log_that_grew_or_is_being_written_is_not_removed(tmp_path):
    log = write_log(tmp_path / "s.log", started(1), result(0), ended(1))
    size = log.stat().st_size
    assert not remove_log(log, size - 1)
    with log.open("r+b") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert not remove_log(log, size)
    assert remove_log(log, size)
    assert not log.exists()


PULSE = 20_000_000_000


@pytest.mark.parametrize(
    ("begin", "ids", "first"),
    [
        ([started(None, first_image=PULSE)], [PULSE, PULSE + 1, PULSE + 5], PULSE),
        ([started(None, first_image=PULSE)], [PULSE + 3, PULSE + 5], PULSE),
        ([started(None, first_image=PULSE)], [PULSE + 3, PULSE - 2], PULSE - 2),  # overtook the first one
        ([], [PULSE + 3, PULSE + 1, PULSE + 5], PULSE + 1),  # the start is not in the log
        ([], [41, 42], 0),
        ([started(None, first_image=40)], [41, 42], 40),
        ([started(None)], [41, 42], 0),
    ],
)
def test_rows_count_from_the_first_image_of_the_series(tmp_path, begin, ids, first):
    """Pulse ids of accelerators count for years."""
    end = ended(len(ids), first_image=first, arrivals={"expected": None, "images": None})
    built = build(write_log(tmp_path / "s.log", *begin, *map(result, ids), end))
    assert (built.stored, built.verdict) == (len(ids), "complete")
    with opened(built.file) as file:
        group = file["entry/peaks/image"]
        rows = list(range(first, max(ids) + 1))
        assert group["image_id"][:].tolist() == rows
        assert [rows[row] for row in np.flatnonzero(group["status"][:])] == sorted(ids)
        for image_id in ids:
            np.testing.assert_array_equal(group["a0"][image_id - first], [image_id % 1000, -1.5])
        absent = [one for start, stop in file["entry/account/without_result/image"][:] for one in range(start, stop)]
        assert absent == [image_id for image_id in rows if image_id not in ids]
    summary = summarise_file(built.file)
    assert summary.channels == summarise_log(tmp_path / "s.log").channels
    assert (summary.channels[0].rows, summary.channels[0].stored) == (len(rows), len(ids))


def test_an_image_too_far_from_the_first_stays_in_the_log(tmp_path):
    records = [started(None, first_image=PULSE), *map(result, [PULSE, PULSE + MAX_ROWS, 3])]
    built = build(write_log(tmp_path / "s.log", *records, ended(3)))
    assert (built.stored, built.verdict) == (1, "incomplete")
    assert survey(tmp_path / "s.log").refused == {"no_room": 2}


def test_every_expected_image_has_its_row(tmp_path):
    records = [started(5, first_image=PULSE), result(PULSE + 1)]
    end = ended(1, "incomplete", first_image=PULSE, arrivals={"expected": 5, "images": 5})
    with opened(build(write_log(tmp_path / "s.log", *records, end)).file) as file:
        assert file["entry/peaks/image/image_id"][:].tolist() == list(range(PULSE, PULSE + 5))
        assert file["entry/account/without_result/image"][:].tolist() == [[PULSE, PULSE + 1], [PULSE + 2, PULSE + 5]]
