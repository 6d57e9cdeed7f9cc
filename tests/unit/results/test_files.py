import os
import threading
from collections import Counter
from pathlib import Path

import pytest

from edge.results import files, writer
from edge.results.errors import ResultFileError
from edge.results.files import ResultFiles
from edge.results.names import check_raw_pattern, raw_target, safe_name, series_stem, stem_of, timestamp
from edge.results.survey import survey
from edge.results.verdict import file_verdict
from streams.codecs.results import Heartbeat
from tests.unit.results.notices import SHA, ended, message, result, started


class NoBuilder:
    """Remembers what it should have built."""

    def __init__(self) -> None:
        self.put_paths: list[Path] = []

    def start(self) -> None:
        pass

    def put(self, path: Path) -> None:
        self.put_paths.append(path)

    def close(self, patience_s: float) -> None:
        self.patience_s = patience_s


@pytest.fixture
def builder(monkeypatch):
    made = NoBuilder()
    monkeypatch.setattr(files, "Builder", lambda: made)
    return made


def put_all(kept: ResultFiles, *notices) -> None:
    for notice in notices:
        kept.put(notice, message(notice))


def test_each_series_and_route_has_its_log(tmp_path, builder):
    with ResultFiles(tmp_path / "new" / "folder", "raw/{series_id:04d}.h5", {"peaks": SHA}) as kept:
        put_all(kept, started(), started(route="denoise"), started(series_uid="v", series_id=8))
        put_all(kept, result(1), result(2, route="denoise"), result(3, series_uid="v", series_id=8))
        put_all(kept, ended(1), ended(1, route="denoise"), ended(1, series_uid="v", series_id=8))
    assert not kept.not_logged
    found = [survey(path) for path in builder.put_paths]
    assert [(one.series.route, one.series.series_id) for one in found] == [("peaks", 7), ("denoise", 7), ("peaks", 8)]
    assert [one.facts["raw_frames"] for one in found] == [
        "raw/0007.h5::/entry/data",
        "raw/0007.h5::/entry/data",
        "raw/0008.h5::/entry/data",
    ]
    assert all(sum(channel.stored for channel in one.channels.values()) == 1 for one in found)


def test_a_late_announcement_is_the_same_series(tmp_path, builder):
    with ResultFiles(tmp_path) as kept:
        put_all(kept, started(None, announced=False), result(0), started(2), result(1), ended(2))
    (path,) = builder.put_paths
    found = survey(path)
    assert found.started is not None and found.started.announced


def test_a_series_that_never_ends_keeps_its_log(tmp_path, builder):
    with ResultFiles(tmp_path) as kept:
        put_all(kept, started(), result(0))
    assert builder.put_paths == []
    (path,) = tmp_path.glob("*.log")
    assert survey(path).channels["image"].stored == 1


def test_logs_without_a_file_are_announced(tmp_path, builder, caplog):
    (tmp_path / "a.log").touch()
    (tmp_path / "b.log").touch()
    (tmp_path / "b.h5").touch()
    with ResultFiles(tmp_path):
        pass
    assert "1 logs in" in caplog.text and "edge results --build" in caplog.text


def cost(*notices) -> int:
    return sum(files.ITEM_BYTES + sum(map(len, message(notice))) for notice in notices)


def test_what_no_disk_can_follow_is_published_only(tmp_path, builder, monkeypatch, caplog):
    end = message(ended(9))
    monkeypatch.setattr(files, "QUEUE_BYTES", cost(started(), result(0), result(0), result(0)))
    kept = ResultFiles(tmp_path)  # its thread does not run yet: nothing is taken
    put_all(kept, started(), *map(result, range(9)))
    kept.put(ended(9), end)  # an end is never left out
    with kept:
        pass
    assert kept.not_logged == {"peaks": 6}
    assert len([said for said in caplog.messages if "too slow" in said]) == 1
    found = survey(builder.put_paths[0])
    assert found.channels["image"].stored == 3
    assert found.ended is not None


def test_series_without_end_find_no_room_without_end(tmp_path, builder, monkeypatch):
    monkeypatch.setattr(files, "QUEUE_BYTES", cost(start := started(series_uid="00"), ended(0, series_uid="00"), start))
    kept = ResultFiles(tmp_path)  # its thread does not run yet: nothing is taken
    for number in range(100):
        uid = f"{number:02d}"
        put_all(kept, started(series_uid=uid), Heartbeat("peaks", "a", 1, 1), ended(0, series_uid=uid))
    assert kept._queue.qsize() == 4  # two starts, two ends
    with kept:
        pass
    assert [survey(path).series.series_uid for path in builder.put_paths] == ["00", "01"]
    assert not kept.not_logged  # no result was


def test_a_log_begins_with_a_result_where_its_start_found_no_room(tmp_path, builder, monkeypatch):
    monkeypatch.setattr(files, "QUEUE_BYTES", cost(result(5)))
    kept = ResultFiles(tmp_path, "{series_id}.h5", {"peaks": SHA})
    large = started(header={"flatfield": "0" * 1000})
    put_all(kept, large, result(5), result(6), ended(2))
    with kept:
        pass
    (path,) = builder.put_paths
    found = survey(path)
    assert found.started is None
    assert found.ended is not None
    assert found.channels["image"].stored == 1
    assert found.facts["raw_frames"] == "7.h5::/entry/data"
    assert kept.not_logged == {"peaks": 1}


def test_an_end_of_which_nothing_was_kept_makes_no_file(tmp_path, builder):
    with ResultFiles(tmp_path) as kept:
        put_all(kept, ended(1))
    assert builder.put_paths == []
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_looked_through_once(tmp_path, builder, monkeypatch):
    looked, glob = [], Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: looked.append(pattern) or glob(self, pattern))
    with ResultFiles(tmp_path) as kept:
        for uid in "uvw":
            put_all(kept, started(series_uid=uid), ended(0, series_uid=uid))
    assert len(builder.put_paths) == 3
    assert looked == ["*.log"]


def test_a_series_that_was_cut_off_goes_on_in_its_log(tmp_path, builder):
    for at in range(2):
        with ResultFiles(tmp_path) as kept:
            put_all(kept, started(published_ns=(at + 1) * 10**9), result(at))
    (path,) = tmp_path.glob("*.log")
    assert survey(path).channels["image"].stored == 2


def test_the_end_does_not_wait_for_a_disk_that_hangs(tmp_path, builder, monkeypatch, caplog):
    hanging, go, open_log = threading.Event(), threading.Event(), files.SeriesWriter

    def hangs(*arguments):
        hanging.set()
        assert go.wait(30)
        return open_log(*arguments)

    monkeypatch.setattr(files, "SeriesWriter", hangs)
    monkeypatch.setattr(files, "WRITE_PATIENCE_S", 0.01)
    with ResultFiles(tmp_path) as kept:
        put_all(kept, started(), *map(result, range(5)), ended(5))
        assert hanging.wait(30)
    assert not go.is_set()
    assert kept.not_logged == {"peaks": 5}
    assert "5 results were published but are in no log" in caplog.text
    assert builder.patience_s <= files.BUILD_PATIENCE_S
    go.set()
    kept._thread.join(30)
    assert not kept._thread.is_alive()


def test_two_threads_count_what_is_not_logged(tmp_path, builder, monkeypatch):
    monkeypatch.setattr(files, "QUEUE_BYTES", 0)
    kept = ResultFiles(tmp_path)
    here, others = threading.current_thread(), []

    class Interrupted(Counter):
        """While this thread has read and not yet written, another one has time to count."""

        def __getitem__(self, key):
            value = super().__getitem__(key)
            if threading.current_thread() is here:
                others.append(threading.Thread(target=put_all, args=(kept, result(1))))
                others[-1].start()
                others[-1].join(0.1)
            return value

    kept.not_logged = Interrupted()
    put_all(kept, result(0))
    for other in others:
        other.join(30)
    assert dict(kept.not_logged) == {"peaks": 1 + len(others)}


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(ResultFileError, match=r"results\.folder"):
        ResultFiles(tmp_path / "file")
    if os.geteuid() != 0:  # root may write anywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(ResultFileError, match="Permission denied"):
            ResultFiles(tmp_path / "closed")


@pytest.mark.parametrize("pattern", ["{serie}", "{", "{series_id", "{0}", "{}", "{series_id.real}", "{series_uid:d}"])
def test_a_pattern_that_cannot_be_filled_in_is_refused(tmp_path, pattern):
    with pytest.raises(ResultFileError, match=r"results\.raw_frames.*series_id"):
        ResultFiles(tmp_path, pattern)


@pytest.mark.parametrize(
    ("pattern", "target"),
    [
        ("/d/series_{series_id}_master.h5", "/d/series_7_master.h5::/entry/data"),
        ("../{source}_{series_id:06d}.nxs::/entry/instrument/data", "../det_000007.nxs::/entry/instrument/data"),
        ("{series_uid}.h5", ".._.._x_.h5::/entry/data"),
    ],
)
def test_patterns_are_filled_in(pattern, target):
    check_raw_pattern(pattern)
    assert raw_target(pattern, started(series_uid="../../x\0")) == target


def test_names_are_safe_and_differ_where_series_do():
    assert safe_name("a/b\0c", ["a_b_c"]) == "a_b_c_"
    assert [safe_name(name) for name in ("", ".", "..", "x" * 100)] == ["_", "_.", "_..", "x" * 64]
    stems = {
        series_stem(start, sha)
        for start in (started(), started(series_uid="v"), started(series_uid="\ud800"), started(source="det-"))
        for sha in (SHA, "00")
    }
    assert len(stems) == 8
    assert timestamp(1_795_347_901_999_999_999) == "20261122T114501Z"


@pytest.mark.parametrize("behind", ["", "-2", "-999"])
def test_the_stem_of_a_log_is_read_from_its_name(behind):
    for stem in (series_stem(started(source="a-1.b"), SHA), "det-series-7-peaks-12345678"):
        assert stem_of(f"20261122T114501Z-{stem}{behind}.log") == stem
    assert stem_of("notes.log") == ""


def test_a_recovered_series_that_has_its_file_is_not_written_again(tmp_path, builder):
    told = []
    with ResultFiles(tmp_path, models={"peaks": SHA}) as kept:
        put_all(kept, started(), result(0), ended(1))
    (log,) = builder.put_paths
    log.rename(log.with_suffix(".h5"))  # a complete file, whose log is removed
    with ResultFiles(tmp_path, models={"peaks": SHA}, logged=told.append, recovering=True) as kept:
        put_all(kept, started(), result(0), ended(1))
    assert not list(tmp_path.glob("*.log"))
    assert [one.series_uid for one in told] == [ended(1).series_uid]  # it is where it belongs


def test_a_recovered_series_whose_log_is_over_is_not_written_again(tmp_path, builder):
    with ResultFiles(tmp_path, models={"peaks": SHA}) as kept:
        put_all(kept, started(), result(0), result(1), ended(2))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with ResultFiles(tmp_path, models={"peaks": SHA}, recovering=True) as kept:
        put_all(kept, started(), result(0), result(1), ended(2))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_recovered_series_that_was_cut_off_goes_on_in_its_log(tmp_path, builder):
    with ResultFiles(tmp_path, models={"peaks": SHA}) as kept:
        put_all(kept, started(2), result(0))
    with ResultFiles(tmp_path, models={"peaks": SHA}, recovering=True) as kept:
        put_all(kept, started(2), result(0), result(1), ended(2))
    (path,) = builder.put_paths
    assert sum(channel.stored for channel in survey(path).channels.values()) == 2


@pytest.mark.parametrize(
    ("logged", "end"),
    [
        ([0], ended(2)),  # the disk was full for a while
        ([0], ended(1, account={"published": 1, "dropped": {"shutdown": 1}})),  # stopped when the detector was done
    ],
)
def test_a_recovered_series_that_lacks_results_gets_them(tmp_path, builder, logged, end):
    with ResultFiles(tmp_path, models={"peaks": SHA}) as kept:
        put_all(kept, started(2), *map(result, logged), end)
    with ResultFiles(tmp_path, models={"peaks": SHA}, recovering=True) as kept:
        again = {"origin": "b"}
        put_all(kept, started(2, **again), result(0, **again), result(1, **again), ended(2, **again))
    first, path = builder.put_paths
    assert first == path
    found = survey(path)
    assert found.channels["image"].stored == 2
    assert file_verdict(found) == "complete"
    before = path.read_bytes()
    with ResultFiles(tmp_path, models={"peaks": SHA}, recovering=True) as kept:
        put_all(kept, started(2), result(0), result(1), ended(2))
    assert path.read_bytes() == before  # nothing is lacking now


def test_results_of_an_earlier_start_do_not_stand_for_those_that_are_lacking(tmp_path, builder):
    with ResultFiles(tmp_path, models={"peaks": SHA}) as kept:
        put_all(kept, started(3), result(0), result(1))  # killed
    for origin, logged in (("b", [0, 1]), ("c", [0, 1, 2])):  # the disk was full for image 2 at first
        with ResultFiles(tmp_path, models={"peaks": SHA}, recovering=True) as kept:
            put_all(kept, started(3, origin=origin), *(result(at, origin=origin) for at in logged))
            put_all(kept, ended(3, origin=origin))
    assert survey(builder.put_paths[0]).channels["image"].stored == 3


def test_only_logs_of_series_that_come_again_are_read(tmp_path, builder, monkeypatch):
    with ResultFiles(tmp_path, models={"peaks": SHA}) as kept:
        put_all(kept, started(None), result(0), ended(1), started(None, series_uid="v"), ended(0, series_uid="v"))
    read: list[Path] = []
    monkeypatch.setattr(writer, "is_over", lambda path: bool(read.append(path)))
    with ResultFiles(tmp_path, models={"peaks": SHA}, recovering=True) as kept:
        put_all(kept, started(None, series_uid="v"))
    assert read == [builder.put_paths[1]]


def test_a_log_for_which_results_found_no_room_is_not_told_of(tmp_path, builder, monkeypatch):
    told = []
    monkeypatch.setattr(files, "QUEUE_BYTES", cost(started(), result(0)))
    kept = ResultFiles(tmp_path, models={"peaks": SHA}, logged=told.append)  # its thread does not run yet
    put_all(kept, started(), result(0), result(1), ended(2))
    with kept:
        pass
    assert builder.put_paths
    assert not told


def test_only_a_whole_log_is_told_of(tmp_path, builder):
    told = []
    with ResultFiles(tmp_path, models={"peaks": SHA}, logged=told.append) as kept:
        put_all(kept, started(), result(0))
        assert not told
        put_all(kept, ended(1))
    assert len(told) == 1
